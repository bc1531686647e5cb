//! Where it is kept: the machinery below every service's store.
//!
//! [`sqlite`] runs one database file with one writer thread, group commit and a few readers;
//! [`migrate`] brings a file to the schema that a service expects. [`postgres`] is the same for a
//! PostgreSQL server: connections, statements that are repeated or cancelled, hints between
//! replicas, migrations. [`inspect`] looks at a live schema, [`copy`] moves from one engine to the
//! other. This crate knows no service and no gRPC: statements, tables and what they
//! mean belong to the services' own stores.

pub mod copy;
pub mod inspect;
pub mod migrate;
pub mod postgres;
pub mod sqlite;

mod error;
mod ready;
mod schema;

pub use error::Error;
pub use migrate::Migration;
pub use postgres::Postgres;
pub use ready::Ready;
pub use schema::{Place, Schema};
pub use sqlite::{Disk, Outcome, Sqlite};
