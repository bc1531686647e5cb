//! Brings a PostgreSQL schema to what a service expects.
//!
//! Each step is one transaction together with its row in `_migrations`, under an advisory lock: a
//! crash leaves a whole number of steps behind and the next run goes on; two runs at once wait for
//! each other. Steps that were applied are compared by checksum: a shipped migration is never edited.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _,
    postgres::{PgConnection, PgRow},
};
use tokio::time::timeout;

use super::{Settings, connection::refused};
use crate::{
    Error, Migration, Schema,
    migrate::{Step, checksum, newest},
};

/// How long the server may take to let us in.
const CONNECT: Duration = Duration::from_secs(5);

/// What is applied. Who may read tables of this schema by default may not write this one.
const BOOKKEEPING: &str = "
CREATE TABLE {schema}._migrations (
    version integer NOT NULL PRIMARY KEY,
    name text NOT NULL,
    checksum bytea NOT NULL,
    time timestamptz NOT NULL DEFAULT now()
);
DO $$
DECLARE
    other name;
BEGIN
    FOR other IN
        SELECT DISTINCT pg_get_userbyid(entry.grantee)
        FROM pg_class, aclexplode(relacl) entry
        WHERE pg_class.oid = '{schema}._migrations'::regclass
          AND entry.grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE ALL ON {schema}._migrations FROM %I', other);
        EXECUTE format('GRANT SELECT ON {schema}._migrations TO %I', other);
    END LOOP;
END
$$;";

/// A step may take its time, and waiting for others is patient; but when this program is gone nobody shall wait
/// for what it left running. Not every platform can look for that.
const PATIENT: &str = "
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;
DO $$
BEGIN
    PERFORM set_config('client_connection_check_interval', '1s', true);
EXCEPTION WHEN OTHERS THEN
    NULL;
END
$$;";

/// A step that was applied.
struct Applied {
    version: u32,
    /// Hexadecimal.
    checksum: String,
}

/// Applies the steps that the schema does not have yet, making the schema when there is none.
/// Answers their versions.
pub async fn up(settings: &Settings, schema: &Schema) -> Result<Vec<u32>, Error> {
    let mut connection = connect(settings).await?;
    let mut applied = Vec::new();
    for migration in schema.postgres {
        if step(&mut connection, migration, schema).await? {
            applied.push(migration.version);
        }
    }
    let _ = connection.close().await;
    Ok(applied)
}

/// Says which of the steps the schema has.
pub async fn status(settings: &Settings, schema: &Schema) -> Result<Vec<Step>, Error> {
    let mut connection = connect(settings).await?;
    let found = found(&mut connection, schema).await?;
    let version = version(&found);
    let _ = connection.close().await;
    let step = |migration: &Migration| Step {
        version: migration.version,
        name: migration.name,
        applied: migration.version <= version,
    };
    Ok(schema.postgres.iter().map(step).collect())
}

/// Says which steps [`up`] would apply.
pub async fn plan(settings: &Settings, schema: &Schema) -> Result<Vec<Migration>, Error> {
    let steps = status(settings, schema).await?;
    Ok(schema.postgres.iter().zip(steps).filter(|(_, step)| !step.applied).map(|(migration, _)| *migration).collect())
}

/// Refuses a schema that is not at exactly the steps that this program knows.
pub(crate) async fn check(connection: &mut PgConnection, schema: &Schema) -> Result<(), Error> {
    let known = newest(schema.postgres);
    let found = found(connection, schema).await?;
    match version(&found) {
        found if found > known => Err(Error::NewerSchema { found, known }),
        found if found < known => Err(Error::BehindSchema { found, known }),
        _ => schema.postgres.iter().try_for_each(|migration| unchanged(&found, migration)),
    }
}

async fn connect(settings: &Settings) -> Result<PgConnection, Error> {
    let options = match settings.direct()? {
        Some(direct) => direct,
        // One transaction per step is all that is needed, and a pooler gives that.
        None => settings.options()?,
    };
    let options = options.application_name("errand-migrate").statement_cache_capacity(0);
    match timeout(CONNECT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(Error::Unavailable),
    }
}

async fn step(connection: &mut PgConnection, migration: &Migration, schema: &Schema) -> Result<bool, Error> {
    let name = schema.name;
    let mut transaction = connection.begin().await?;
    run(&mut transaction, PATIENT.to_owned()).await?;
    // The lock is taken before anything is looked at.
    run(&mut transaction, format!("SELECT pg_advisory_xact_lock(hashtextextended('errand migrate {name}', 0))"))
        .await?;
    run(&mut transaction, "SET LOCAL lock_timeout = '30s'".to_owned()).await?;
    prepare(&mut transaction, schema).await?;
    let applied = found(&mut transaction, schema).await?;
    let (found, known) = (version(&applied), newest(schema.postgres));
    if found > known {
        return Err(Error::NewerSchema { found, known });
    }
    if migration.version <= found {
        unchanged(&applied, migration)?;
        return Ok(false);
    }
    run(&mut transaction, migration.sql.to_owned()).await?;
    let record = format!("INSERT INTO {name}._migrations (version, name, checksum) VALUES ($1, $2, $3)");
    sqlx::query(AssertSqlSafe(record))
        .persistent(false)
        .bind(i32::try_from(migration.version).map_err(|error| Error::Engine(error.to_string()))?)
        .bind(migration.name)
        .bind(checksum(migration).as_slice())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Makes the schema, where the role may, and the table of what is applied.
async fn prepare(connection: &mut PgConnection, schema: &Schema) -> Result<(), Error> {
    let name = schema.name;
    let there = format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '{name}'");
    if rows(connection, there).await?.is_empty() {
        run(connection, format!("CREATE SCHEMA {name}")).await?;
    }
    let there = format!("SELECT 1 WHERE to_regclass('{name}._migrations') IS NOT NULL");
    if rows(connection, there).await?.is_empty() {
        run(connection, BOOKKEEPING.replace("{schema}", name)).await?;
    }
    Ok(())
}

async fn found(connection: &mut PgConnection, schema: &Schema) -> Result<Vec<Applied>, Error> {
    let name = schema.name;
    let there = format!("SELECT 1 WHERE to_regclass('{name}._migrations') IS NOT NULL");
    if rows(connection, there).await?.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version::text, encode(checksum, 'hex') FROM {name}._migrations ORDER BY version");
    rows(connection, sql).await?.iter().map(applied).collect()
}

fn applied(row: &PgRow) -> Result<Applied, Error> {
    let version: String = row.try_get(0)?;
    let version = version.parse().map_err(|_| Error::Engine(format!("{version} is no version")))?;
    Ok(Applied { version, checksum: row.try_get(1)? })
}

fn version(applied: &[Applied]) -> u32 {
    applied.iter().map(|step| step.version).max().unwrap_or(0)
}

fn unchanged(applied: &[Applied], migration: &Migration) -> Result<(), Error> {
    let expected: String = checksum(migration).iter().map(|byte| format!("{byte:02x}")).collect();
    let same = applied.iter().any(|step| step.version == migration.version && step.checksum == expected);
    if same { Ok(()) } else { Err(Error::ChangedMigration { version: migration.version }) }
}

/// Runs statements that stand in this program, or in the migrations that it was built with.
async fn run(connection: &mut PgConnection, sql: String) -> Result<(), Error> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(())
}

async fn rows(connection: &mut PgConnection, sql: String) -> Result<Vec<PgRow>, Error> {
    Ok(connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?)
}
