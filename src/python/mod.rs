//! The private Python environment, the worker process, and the harness wherever it runs.

mod envelope;
pub(crate) mod harness;
pub(crate) mod install;
mod pipes;
mod text;
mod worker;

pub(crate) use envelope::{About, Envelope, Language, Status, sql_error};
pub(crate) use worker::{Cell, CellEvent, Exit, Launch, MAX_FIGURES, View, Worker, lost};
