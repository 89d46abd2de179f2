//! Everything that differs by operating system.

pub(crate) mod disk;
