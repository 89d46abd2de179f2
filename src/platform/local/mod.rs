//! The local engine: one worker process for each session.

mod paths;
mod rewrite;

pub(crate) use paths::path_relations;
pub(crate) use rewrite::{Rewritten, rewrite};
