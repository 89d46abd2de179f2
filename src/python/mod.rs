//! The private Python environment and the worker process.

mod envelope;
pub(crate) mod harness;
pub(crate) mod install;
mod pipes;
mod text;
mod worker;

pub(crate) use envelope::{Envelope, Status};
pub(crate) use worker::{Cell, CellEvent, Exit, Launch, View, Worker, lost};
