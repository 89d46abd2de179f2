//! Spark for AI assistants: an MCP server with leased, ephemeral, always-deleted Spark sessions.
//!
//! The map (arrows point down only; a test walks `src/` and keeps them):
//!
//! ```text
//! cli, app → mcp → gate, service → policy, sql, lease → platform → spark_connect, python → config → model, sys
//! ```

pub mod cli;

pub mod app;
mod config;
mod gate;
mod lease;
pub mod mcp;
pub mod model;
mod platform;
mod python;
mod service;
mod spark_connect;
mod sql;
mod sys;
