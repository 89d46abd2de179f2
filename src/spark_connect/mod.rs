//! Client of the Spark Connect protocol: a plan in, a stream of messages out; reattachable, released, interruptible.
//!
//! Knows nothing of targets, leases or workers. The protos are Apache Spark 4.2.0's, vendored in `proto/`.

mod client;
mod error;
mod intervals;
mod operation;
mod plan;
mod rows;
mod schema;
mod types;
mod write;

pub(crate) use client::Client;
pub(crate) use operation::{Message, Outcome};
pub(crate) use plan::{FileFormat, Plan, Relation};
pub(crate) use rows::{Decoder, RowCap, cells, weight};
pub(crate) use schema::{Field, Type, fields_of_json, schema_json};
pub(crate) use write::{Destination, Output, Save, SaveMode};

#[allow(
    unreachable_pub,
    missing_docs,
    dead_code,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from the protos"
)]
mod proto {
    tonic::include_proto!("spark.connect");
}
