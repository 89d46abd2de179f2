//! The leaf everybody may import: ids, errors, tables, events, the registry of secrets.
//!
//! No I/O, no async, no platform's name lives here.

mod error;
mod event;
mod ids;
mod secrets;
mod statement;
mod table;
mod tables;

pub use error::{Code, Details, Error, Result, Retry};
pub use event::{End, Event, Image, Progress, Stream};
pub use ids::{OwnerId, SessionId, SessionName, StatementId, Tag, TargetName};
pub use secrets::{KnownSecret, SecretRegistry};
pub use statement::{Format, Page, SessionInfo, SessionPhase, StatementState, StatementView};
pub use table::{Batch, Cell, Column, shown};
pub use tables::{
    DEFAULT_DATABASE, TableColumn, TableDetail, TableInfo, TableKind, TableName, TablesPage,
    TablesQuery, WriteMode, Written,
};
