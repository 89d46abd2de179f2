//! The private Python environment and the worker process.

pub(crate) mod install;
