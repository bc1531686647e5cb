//! Where a service keeps its data, and what it keeps there.

use std::path::PathBuf;

use crate::{Migration, postgres};

/// Where a service keeps its data.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(postgres::Settings),
}

/// What a service keeps, for migrations and for the commands that look at a database as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The schema in PostgreSQL and the name of the SQLite file.
    pub name: &'static str,
    /// The steps of the SQLite file.
    pub sqlite: &'static [Migration],
    /// The steps of the PostgreSQL schema.
    pub postgres: &'static [Migration],
    /// All tables, each after those that its foreign keys name.
    pub tables: &'static [&'static str],
    /// Tables without row level security; who lists them says why.
    pub exempt: &'static [&'static str],
}
