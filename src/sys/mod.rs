//! Everything that differs by operating system, and what we ask of it: processes, folders of our own.

pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod machine;
pub(crate) mod processes;
pub(crate) mod scratch;
pub(crate) mod spawn;
