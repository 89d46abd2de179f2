//! Spark for AI assistants: an MCP server with leased, ephemeral, always-deleted Spark sessions.
//!
//! The map (imports point down only; `arrows` keeps them):
//!
//! ```text
//! cli, app → mcp → gate, service → lease → ledger → platform → spark_connect, python, sql → config → sys → model
//! ```
//!
//! `gate` is the one exit: what a client, a terminal or a log sees is built there. `sql` and `lease::core` are pure.
//! What a call goes through, and what must always hold, is in `ARCHITECTURE.md`.

pub mod cli;

pub mod app;
#[cfg(test)]
mod arrows;
mod config;
mod gate;
mod lease;
mod ledger;
pub mod mcp;
pub mod model;
mod platform;
mod python;
mod service;
mod spark_connect;
mod sql;
mod sys;
