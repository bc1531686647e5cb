//! The SQLite file, read on one snapshot.

use std::{collections::BTreeSet, path::Path};

use rusqlite::{Connection, OpenFlags, Row, ToSql};
use uuid::Uuid;

use super::{Column, Error, Sum, Table, value};
use crate::{Schema, migrate};

/// A SQLite file that is only read, from beginning to end as it was at the beginning.
pub(super) struct Source {
    connection: Connection,
}

/// A row as PostgreSQL reads it.
pub(super) type Texts = Vec<Option<String>>;

impl Source {
    pub(super) fn open(path: &Path, schema: &Schema) -> Result<Self, Error> {
        if !path.exists() {
            return Err(migrate::missing(schema.sqlite).into());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(crate::Error::from)?;
        connection.execute_batch("PRAGMA query_only = ON; BEGIN").map_err(crate::Error::from)?;
        migrate::check(&connection, schema.sqlite)?;
        let source = Self { connection };
        // What nobody listed would be left behind.
        let listed = |table: &String| schema.tables.contains(&table.as_str()) || table == "_migrations";
        match source.tables()?.into_iter().find(|table| !listed(table)) {
            Some(table) => Err(Error::NoPlace(format!("table {table}"))),
            None => Ok(source),
        }
    }

    fn tables(&self) -> Result<Vec<String>, Error> {
        self.all("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'", &[], |row| {
            row.get(0)
        })
    }

    /// The columns of a table that hold something, the generated ones left out.
    pub(super) fn columns(&self, table: &str) -> Result<Vec<String>, Error> {
        self.all("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0", &[&table], |row| row.get(0))
    }

    /// Everybody who owns a row of any table.
    pub(super) fn owners(&self, tables: &[Table]) -> Result<BTreeSet<Uuid>, Error> {
        let mut owners = BTreeSet::new();
        for table in tables.iter().filter(|table| table.owned) {
            owners.extend(
                self.all::<Uuid>(&format!("SELECT DISTINCT owner FROM \"{}\"", table.name), &[], |row| row.get(0))?,
            );
        }
        Ok(owners)
    }

    /// The sum of what an owner has in all tables.
    pub(super) fn sum(&self, tables: &[Table], owner: Uuid) -> Result<Sum, Error> {
        let mut sum = Sum::default();
        for table in tables.iter().filter(|table| table.owned) {
            sum = sum.and(self.sum_of(table, Some(owner))?);
        }
        Ok(sum)
    }

    pub(super) fn sum_of(&self, table: &Table, owner: Option<Uuid>) -> Result<Sum, Error> {
        let mut sum = Sum::default();
        self.each(table, owner, |row| {
            let values: Texts = spelled(table, row, value::Kind::common)?;
            sum.add(value::hash(table.name, &values));
            Ok(())
        })?;
        Ok(sum)
    }

    /// The rows of an owner, or all of a table without owners, in portions.
    pub(super) fn portions(&self, table: &Table, owner: Option<Uuid>, size: usize) -> Result<Vec<Vec<Texts>>, Error> {
        let mut portions = Vec::new();
        let mut portion = Vec::new();
        self.each(table, owner, |row| {
            portion.push(spelled(table, row, value::Kind::text)?);
            if portion.len() == size {
                portions.push(std::mem::take(&mut portion));
            }
            Ok(())
        })?;
        portions.extend(Some(portion).filter(|portion| !portion.is_empty()));
        Ok(portions)
    }

    fn each(
        &self,
        table: &Table,
        owner: Option<Uuid>,
        mut work: impl FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let columns: Vec<_> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let whose = if owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
        let sql = format!("SELECT {} FROM \"{}\" WHERE {whose}", columns.join(", "), table.name);
        let mut statement = self.connection.prepare_cached(&sql).map_err(crate::Error::from)?;
        let mut rows = statement.query([owner]).map_err(crate::Error::from)?;
        while let Some(row) = rows.next().map_err(crate::Error::from)? {
            work(row)?;
        }
        Ok(())
    }

    fn all<T>(
        &self,
        sql: &str,
        values: &[&dyn ToSql],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare(sql)?;
            statement.query_map(values, read)?.collect()
        };
        rows().map_err(|error| crate::Error::from(error).into())
    }
}

fn spelled(
    table: &Table,
    row: &Row<'_>,
    spell: impl Fn(value::Kind, rusqlite::types::ValueRef<'_>) -> Result<Option<String>, String>,
) -> Result<Texts, Error> {
    let one = |(index, column): (usize, &Column)| {
        let value = row.get_ref(index).map_err(crate::Error::from)?;
        spell(column.kind, value).map_err(|why| Error::Value {
            table: table.name.to_owned(),
            column: column.name.clone(),
            why,
        })
    };
    table.columns.iter().enumerate().map(one).collect()
}
