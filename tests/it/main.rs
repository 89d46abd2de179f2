//! The built binary, driven from outside: real MCP clients over a child process's stdin and stdout, a real engine
//! behind it, and the process table looked at afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that is wrong about its world ends there"
)]

mod bad_input;
mod cli;
mod clients;
mod common;
mod engine_gaps;
mod faults;
mod guard;
mod livy;
mod secrets;
mod sessions;
mod stdout;
mod tables;
mod vanish;
mod write;
