//! Moves what a service keeps from a SQLite file to a PostgreSQL schema.
//!
//! Owner by owner, each in one transaction that ends with reading back what was written, so that forced row level
//! security holds and a copy that was interrupted goes on where it was. What was copied is remembered in `_copy`
//! until the end; a target that holds anything else is refused. The SQLite file is only read. The copy is another
//! log than the original, so it gets an epoch of its own.

mod source;
mod target;
mod value;

use std::path::Path;

use uuid::Uuid;

use crate::{
    Schema,
    postgres::{Settings, migrate},
};
use source::Source;
use target::Target;

/// Why nothing more was copied. What was copied before stays, and the next run goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One of the databases.
    #[error(transparent)]
    Storage(#[from] crate::Error),
    /// The target holds something that this copy did not bring.
    #[error("{table} holds rows, or once did, that are not from this copy: copy into a fresh database")]
    NotEmpty {
        /// The first such table.
        table: String,
    },
    /// Another copy into this schema is running.
    #[error("another copy is running")]
    Running,
    /// The engines do not have the same tables and columns.
    #[error("{0} has no place on the other side")]
    NoPlace(String),
    /// What was read back is not what was written; it was taken back.
    #[error("{table} of {owner} differs after copying")]
    Differs {
        /// Where.
        table: String,
        /// Whose.
        owner: String,
    },
    /// A value that can not be stored there.
    #[error("{table}.{column}: {why}")]
    Value {
        /// Where.
        table: String,
        /// Which column.
        column: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What a copy came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Owners whose rows are there now.
    pub owners: u64,
    /// Those of them that an earlier, interrupted copy had brought.
    pub before: u64,
    /// All rows that are there now.
    pub rows: u64,
}

/// How many rows, and the sum of their hashes: equal sets have equal sums, whatever their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    rows: u64,
    hashes: u128,
}

impl Sum {
    fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.hashes = self.hashes.wrapping_add(hash);
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, hashes: self.hashes.wrapping_add(other.hashes) }
    }
}

/// A column that both sides have.
#[derive(Debug)]
struct Column {
    name: String,
    kind: value::Kind,
}

/// A table and what is copied of it.
#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: Vec<Column>,
    /// Whether its rows belong to owners.
    owned: bool,
}

/// Copies everything of `from` to the schema at `to`, whose URL is that of the role that owns the schema.
/// `progress` is told how many owners of how many are there.
pub async fn copy(
    from: &Path,
    to: &Settings,
    schema: &Schema,
    mut progress: impl FnMut(u64, u64),
) -> Result<Copied, Error> {
    let source = Source::open(from, schema)?;
    let mut target = Target::open(to, schema).await?;
    migrate::check(target.connection(), schema).await?;
    let tables = target.tables(&source).await?;
    let owners = source.owners(&tables)?;
    let remembered = target.begin(&tables, &owners).await?;
    let mut copied = Copied::default();
    let all = owners.len() as u64;
    for owner in owners {
        let sum = source.sum(&tables, owner)?;
        match remembered.get(&owner) {
            Some(before) if *before == sum => copied.before += 1,
            // The file was written to since.
            Some(_) => target.replace(&source, &tables, owner).await?,
            None => target.insert(&source, &tables, owner).await?,
        }
        copied.owners += 1;
        copied.rows += sum.rows;
        progress(copied.owners, all);
    }
    copied.rows += target.finish(&source, &tables).await?;
    Ok(copied)
}

/// Whose rows: for messages, by no name.
fn said(owner: Option<Uuid>) -> String {
    owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string())
}
