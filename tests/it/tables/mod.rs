//! Tables that stay.

mod catalogue;
mod list;
