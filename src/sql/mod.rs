//! Pure: what a text does, how a name is quoted, and which names a view may have. No I/O, no clock, no platform.

mod classify;
mod commands;
mod depth;
mod lex;
mod name;
mod quote;
mod rules;
mod tree;

pub(crate) use classify::{Verdict, classify};
pub(crate) use name::check_name;
pub(crate) use quote::{parts, quote};
pub(crate) use rules::is_file_relation;
