//! The private Python environment and the worker process.
