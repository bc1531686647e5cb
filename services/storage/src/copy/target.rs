//! The PostgreSQL schema, written owner by owner.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _,
    postgres::{PgConnection, PgRow},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Column, Error, Sum, Table, said,
    source::{Source, Texts},
    value::{Kind, hash},
};
use crate::{
    Schema,
    postgres::{CONNECT, Settings, refused},
};

/// Rows of one INSERT.
const PORTION: usize = 1000;

/// A schema that is copied into.
pub(super) struct Target<'s> {
    connection: PgConnection,
    schema: &'s Schema,
}

type Found<T> = Result<T, sqlx::Error>;

impl<'s> Target<'s> {
    pub(super) async fn open(settings: &Settings, schema: &'s Schema) -> Result<Self, Error> {
        let options = settings.past_the_pooler().options()?.application_name("errand-copy");
        let connection = match timeout(CONNECT, options.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(refused(&error).into()),
            Err(_) => return Err(crate::Error::Unavailable.into()),
        };
        let mut target = Self { connection, schema };
        let name = schema.name;
        let lock = format!("SELECT pg_try_advisory_lock(hashtextextended('errand copy {name}', 0))");
        target.run("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
        match target.one::<bool>(&lock).await? {
            true => Ok(target),
            false => Err(Error::Running),
        }
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// What there is to copy: all columns of the file, into columns of the same names.
    pub(super) async fn tables(&mut self, source: &Source) -> Result<Vec<Table>, Error> {
        let mut tables = Vec::new();
        // Which log this is, is no content.
        for name in self.schema.tables.iter().filter(|name| **name != "log") {
            let sql =
                "SELECT attname::text, typname::text, attnotnull AND NOT atthasdef AND attgenerated = '' AS needed
                       FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type ON pg_type.oid = atttypid
                       WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
            let qualified = format!("{}.{name}", self.schema.name);
            let rows = sqlx::query(sql).bind(&qualified).fetch_all(&mut self.connection).await.map_err(store)?;
            let there: Vec<(String, String, bool)> = rows.iter().map(column).collect::<Found<_>>().map_err(store)?;
            let mut columns = Vec::new();
            for name in source.columns(name)? {
                let kind = there.iter().find(|(there, ..)| *there == name).and_then(|(_, kind, _)| Kind::of(kind));
                let kind = kind.ok_or_else(|| Error::NoPlace(format!("column {qualified}.{name}")))?;
                columns.push(Column { name, kind });
            }
            let lacks = |(name, _, needed): &&(String, String, bool)| {
                *needed && !columns.iter().any(|column| column.name == *name)
            };
            if let Some((name, ..)) = there.iter().find(lacks) {
                return Err(Error::NoPlace(format!("column {qualified}.{name}")));
            }
            let owned = columns.iter().any(|column| column.name == "owner");
            tables.push(Table { name, columns, owned });
        }
        Ok(tables)
    }

    /// Refuses what holds anything else than an earlier part of this copy; answers what that brought.
    pub(super) async fn begin(
        &mut self,
        tables: &[Table],
        owners: &BTreeSet<Uuid>,
    ) -> Result<BTreeMap<Uuid, Sum>, Error> {
        let name = self.schema.name;
        let begun = self.one::<bool>(&format!("SELECT to_regclass('{name}._copy') IS NOT NULL")).await?;
        for table in tables {
            let qualified = format!("{name}.\"{}\"", table.name);
            let exempt = self.schema.exempt.contains(&table.name);
            // What row level security hides shows in the size of its file.
            let sql = match (begun, exempt) {
                (false, false) => format!("SELECT pg_relation_size('{qualified}') > 0"),
                (true, false) => continue,
                (true, true) if table.owned => {
                    format!(
                        "SELECT EXISTS (SELECT FROM {qualified} WHERE owner NOT IN (SELECT owner FROM {name}._copy))"
                    )
                }
                (_, true) => format!("SELECT EXISTS (SELECT FROM {qualified})"),
            };
            if self.one::<bool>(&sql).await? {
                return Err(Error::NotEmpty { table: format!("{name}.{}", table.name) });
            }
        }
        if !begun {
            // Nobody but its owner has anything to do with it.
            let sql = format!(
                "BEGIN; CREATE TABLE {name}._copy (owner uuid PRIMARY KEY, rows bigint NOT NULL, hashes uuid NOT NULL);
                 ALTER TABLE {name}._copy ENABLE ROW LEVEL SECURITY; COMMIT"
            );
            self.run(&sql).await?;
            return Ok(BTreeMap::new());
        }
        let sql = format!("SELECT owner, rows, hashes FROM {name}._copy");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connection).await.map_err(store)?;
        let mut remembered = BTreeMap::new();
        for row in &rows {
            let (owner, sum) = remembrance(row).map_err(store)?;
            if owners.contains(&owner) {
                remembered.insert(owner, sum);
            } else {
                // The file has lost this owner since.
                self.remove(tables, owner).await?;
            }
        }
        Ok(remembered)
    }

    /// Copies an owner who is not there.
    pub(super) async fn insert(&mut self, source: &Source, tables: &[Table], owner: Uuid) -> Result<(), Error> {
        self.in_transaction(source, tables, owner, false).await
    }

    /// Copies an owner who was copied before and has changed since.
    pub(super) async fn replace(&mut self, source: &Source, tables: &[Table], owner: Uuid) -> Result<(), Error> {
        self.in_transaction(source, tables, owner, true).await
    }

    /// Copies what belongs to nobody, gives the log its own epoch, and forgets how it went.
    pub(super) async fn finish(&mut self, source: &Source, tables: &[Table]) -> Result<u64, Error> {
        let name = self.schema.name;
        let mut transaction = self.connection.begin().await.map_err(store)?;
        let mut rows = 0;
        for table in tables.iter().filter(|table| !table.owned) {
            rows += transfer(&mut transaction, name, source, table, None).await?.rows;
        }
        if self.schema.tables.contains(&"log") {
            let sql = format!("UPDATE {name}.log SET epoch = gen_random_uuid()");
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map_err(store)?;
        }
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}._copy")))).await.map_err(store)?;
        transaction.commit().await.map_err(store)?;
        // What was learnt about empty tables is wrong now.
        for table in tables {
            self.run(&format!("ANALYZE {name}.\"{}\"", table.name)).await?;
        }
        Ok(rows)
    }

    async fn in_transaction(
        &mut self,
        source: &Source,
        tables: &[Table],
        owner: Uuid,
        again: bool,
    ) -> Result<(), Error> {
        let name = self.schema.name;
        let mut transaction = self.connection.begin().await.map_err(store)?;
        act_for(&mut transaction, owner).await?;
        if again {
            clear(&mut transaction, name, tables, owner).await?;
        }
        let mut sum = Sum::default();
        for table in tables.iter().filter(|table| table.owned) {
            sum = sum.and(transfer(&mut transaction, name, source, table, Some(owner)).await?);
        }
        let sql = format!("INSERT INTO {name}._copy (owner, rows, hashes) VALUES ($1, $2, $3)");
        sqlx::query(AssertSqlSafe(sql))
            .bind(owner)
            .bind(i64::try_from(sum.rows).unwrap_or(i64::MAX))
            .bind(Uuid::from_u128(sum.hashes))
            .execute(&mut *transaction)
            .await
            .map_err(store)?;
        transaction.commit().await.map_err(store)
    }

    async fn remove(&mut self, tables: &[Table], owner: Uuid) -> Result<(), Error> {
        let name = self.schema.name;
        let mut transaction = self.connection.begin().await.map_err(store)?;
        act_for(&mut transaction, owner).await?;
        clear(&mut transaction, name, tables, owner).await?;
        transaction.commit().await.map_err(store)
    }

    async fn run(&mut self, sql: &str) -> Result<(), Error> {
        let done = self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
        done.map(drop).map_err(store)
    }

    async fn one<T>(&mut self, sql: &str) -> Result<T, Error>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.connection).await.map_err(store)?;
        row.try_get(0).map_err(store)
    }
}

fn store(error: sqlx::Error) -> Error {
    Error::Storage(error.into())
}

fn column(row: &PgRow) -> Found<(String, String, bool)> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

fn remembrance(row: &PgRow) -> Found<(Uuid, Sum)> {
    let (owner, rows, hashes): (Uuid, i64, Uuid) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok((owner, Sum { rows: u64::try_from(rows).unwrap_or(0), hashes: hashes.as_u128() }))
}

/// Row level security is forced on the owner of the tables, too.
async fn act_for(connection: &mut PgConnection, owner: Uuid) -> Result<(), Error> {
    let sql = "SELECT set_config('errand.owner', $1, true)";
    sqlx::query(sql).bind(owner.to_string()).execute(connection).await.map(drop).map_err(store)
}

async fn clear(connection: &mut PgConnection, name: &str, tables: &[Table], owner: Uuid) -> Result<(), Error> {
    let owned = tables.iter().filter(|table| table.owned).map(|table| table.name);
    for table in owned.rev().chain(["_copy"]) {
        let sql = format!("DELETE FROM {name}.\"{table}\" WHERE owner = $1");
        sqlx::query(AssertSqlSafe(sql)).bind(owner).execute(&mut *connection).await.map_err(store)?;
    }
    Ok(())
}

/// Writes the rows of one table and reads them back.
async fn transfer(
    connection: &mut PgConnection,
    name: &str,
    source: &Source,
    table: &Table,
    owner: Option<Uuid>,
) -> Result<Sum, Error> {
    let insert = insert_into(name, table);
    for portion in source.portions(table, owner, PORTION)? {
        let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
        for values in by_column(table, portion) {
            query = query.bind(values);
        }
        query.execute(&mut *connection).await.map_err(store)?;
    }
    let expected = source.sum_of(table, owner)?;
    let found = read_back(connection, name, table, owner).await?;
    match found == expected {
        true => Ok(found),
        false => Err(Error::Differs { table: format!("{name}.{}", table.name), owner: said(owner) }),
    }
}

fn insert_into(name: &str, table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let casts: Vec<_> =
        table.columns.iter().enumerate().map(|(index, column)| format!("c{index}::{}", column.kind.cast())).collect();
    let arrays: Vec<_> = (1..=columns.len()).map(|index| format!("${index}::text[]")).collect();
    let names: Vec<_> = (0..columns.len()).map(|index| format!("c{index}")).collect();
    format!(
        "INSERT INTO {name}.\"{}\" ({}) SELECT {} FROM unnest({}) AS rows ({})",
        table.name,
        columns.join(", "),
        casts.join(", "),
        arrays.join(", "),
        names.join(", ")
    )
}

fn by_column(table: &Table, rows: Vec<Texts>) -> Vec<Vec<Option<String>>> {
    let mut columns: Vec<Vec<Option<String>>> = table.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns
}

async fn read_back(
    connection: &mut PgConnection,
    name: &str,
    table: &Table,
    owner: Option<Uuid>,
) -> Result<Sum, Error> {
    let columns: Vec<_> =
        table.columns.iter().map(|column| column.kind.spelled(&format!("\"{}\"", column.name))).collect();
    let whose = if owner.is_some() { "owner = $1" } else { "$1::uuid IS NULL" };
    let sql = format!("SELECT {} FROM {name}.\"{}\" WHERE {whose}", columns.join(", "), table.name);
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(owner).fetch_all(connection).await.map_err(store)?;
    let mut sum = Sum::default();
    for row in rows {
        let mut values = Texts::new();
        for (index, column) in table.columns.iter().enumerate() {
            let value: Option<String> = row.try_get(index).map_err(store)?;
            let spelled = value.map(|value| column.kind.spell(value)).transpose();
            values.push(spelled.map_err(|why| Error::Value {
                table: table.name.to_owned(),
                column: column.name.clone(),
                why,
            })?);
        }
        sum.add(hash(table.name, &values));
    }
    Ok(sum)
}
