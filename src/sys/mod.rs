//! Everything that differs by operating system.
