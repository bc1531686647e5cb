//! Where it is kept: the machinery below every service's store.
//!
//! [`sqlite`] runs one database file with one writer thread, group commit and a few readers;
//! [`migrate`] brings a file to the schema that a service expects. This crate knows no service and
//! no gRPC: statements, tables and what they mean belong to the services' own stores.

pub mod migrate;
pub mod sqlite;

mod error;

pub use error::Error;
pub use migrate::Migration;
pub use sqlite::{Disk, Outcome, Sqlite};
