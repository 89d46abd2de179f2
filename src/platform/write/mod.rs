//! What every platform needs of a write: values of rows and files by types, whether they fit a table, and what is said
//! when they do not. Nothing here asks an engine; only [`file`] touches the disk.

pub(super) mod check;
mod decode;
pub(super) mod file;
mod infer;
pub(super) mod plan;
mod quotes;
pub(super) mod rows;
pub(super) mod said;
mod time;
pub(super) mod wanted;

use crate::model::{Error, Result};

/// The disk's work, off the threads that wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::internal("a task on the disk panicked")))
}
