//! The face to assistants: the only place with `rmcp` types.

mod client;
mod lines;
mod progress;
mod prompts;
mod resources;
mod roots;
mod server;
mod stdio;
mod tools;

pub(crate) use client::{Called, Client};
pub(crate) use server::{Defaults, Server};
pub(crate) use stdio::{serve_stdio, stdio};
