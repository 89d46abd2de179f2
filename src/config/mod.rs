//! Typed settings with units and defaults, and where each value came from.
//!
//! Order: defaults < file < environment (`SPARKLEASE__SECTION__KEY`) < flags. What a setting means and may be is in
//! `settings.rs` alone; loading, the schema and `config show` are made from it. Nothing here reads the process
//! environment but [`Environment::of_process`], so that tests need not change it.

mod load;
mod paths;
mod schema;
mod secret;
pub(crate) mod secrets;
mod settings;
mod show;
mod units;

pub(crate) use load::{Flags, Loaded, load};
pub(crate) use paths::{Environment, Paths, create_private_folder};
pub(crate) use schema::schema;
pub(crate) use secrets::Private;
pub(crate) use settings::{Access, Auth, LOCAL, Limits, LogFormat, Platform, Settings, Target};
pub(crate) use show::rows;
