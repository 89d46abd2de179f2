//! Tables that stay.

mod catalogue;
