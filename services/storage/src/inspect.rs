//! Looks at what a service keeps, on PostgreSQL with the role that the service uses, and says what is not as it
//! should be.
//!
//! Nothing is changed. What is true is asked of the catalogue, and of the tables themselves: a table under row
//! level security must show nothing to who names no owner.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _,
    postgres::{PgConnection, PgRow},
};
use tokio::time::timeout;

use crate::{
    Error, Schema,
    postgres::{CONNECT, Settings, migrate, refused},
};

/// The oldest server that the statements are written for.
const OLDEST_SERVER: u32 = 150_000;
/// Tokens are believed that much before and after their time, so clocks may not differ by more.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a schema, a role, a table.
    pub subject: String,
    /// What was looked at.
    pub check: &'static str,
    /// Whether it is as it should be.
    pub verdict: Verdict,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is; the words say how.
    Good(String),
    /// It is not yet: waiting or migrating helps.
    NotReady(String),
    /// Somebody has to change it.
    Wrong(String),
}

/// Looks at the schema of one service. `others` are the schemas of the other services; `now` is the clock of this
/// program.
pub async fn inspect(
    settings: &Settings,
    schema: &Schema,
    others: &[&str],
    now: impl Fn() -> Timestamp + Send,
) -> Vec<Finding> {
    let mut inspection = Inspection { schema, findings: Vec::new() };
    let mut connection = match connect(settings).await {
        Ok(connection) => connection,
        Err(error) => {
            inspection.add(schema.name, "reachable", absent(&error));
            return inspection.findings;
        }
    };
    if let Err(error) = inspection.all(&mut connection, others, now).await {
        inspection.add(schema.name, "readable", Verdict::Wrong(error.to_string()));
    }
    if settings.direct_url.is_some() {
        let verdict = match connect(&settings.past_the_pooler()).await {
            Ok(_) => Verdict::Good("reachable".to_owned()),
            Err(error) => absent(&error),
        };
        inspection.add(schema.name, "direct connection", verdict);
    }
    inspection.findings
}

/// Looks at the SQLite file of one service.
#[must_use]
pub fn inspect_file(path: &Path, schema: &Schema) -> Vec<Finding> {
    let mut inspection = Inspection { schema, findings: Vec::new() };
    let looked = || -> Result<String, Error> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        crate::migrate::check(&connection, schema.sqlite)?;
        Ok(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?)
    };
    let missing = || Err(crate::migrate::missing(schema.sqlite));
    let (check, verdict) = match if path.exists() { looked() } else { missing() } {
        Ok(said) if said == "ok" => ("file", Verdict::Good("whole, and at the version of this program".to_owned())),
        Ok(said) => ("file", Verdict::Wrong(said)),
        Err(error @ (Error::BehindSchema { .. } | Error::Busy)) => ("migrations", Verdict::NotReady(error.to_string())),
        Err(error) => ("file", Verdict::Wrong(error.to_string())),
    };
    inspection.add(schema.name, check, verdict);
    inspection.findings
}

async fn connect(settings: &Settings) -> Result<PgConnection, Error> {
    let options = settings.options()?.application_name("errand-doctor").statement_cache_capacity(0);
    match timeout(CONNECT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(Error::Unavailable),
    }
}

fn absent(error: &Error) -> Verdict {
    match error {
        Error::Engine(why) => Verdict::Wrong(why.clone()),
        error => Verdict::NotReady(error.to_string()),
    }
}

struct Inspection<'s> {
    schema: &'s Schema,
    findings: Vec<Finding>,
}

// === impl Inspection ===

impl Inspection<'_> {
    async fn all(
        &mut self,
        connection: &mut PgConnection,
        others: &[&str],
        now: impl Fn() -> Timestamp + Send,
    ) -> Result<(), Error> {
        let role = one(connection, "SELECT current_user").await?;
        self.server(connection).await?;
        self.clock(connection, now).await?;
        self.role(connection, &role).await?;
        for other in others.iter().filter(|other| **other != self.schema.name) {
            self.foreign(connection, &role, other).await?;
        }
        if !self.migrations(connection).await? {
            return Ok(());
        }
        self.own(connection, &role).await?;
        self.tables(connection).await
    }

    fn add(&mut self, subject: impl Into<String>, check: &'static str, verdict: Verdict) {
        self.findings.push(Finding { subject: subject.into(), check, verdict });
    }

    /// Adds a finding from the list of what is wrong.
    fn judge(&mut self, subject: &str, check: &'static str, good: &str, faults: &[String]) {
        let verdict = match faults {
            [] => Verdict::Good(good.to_owned()),
            faults => Verdict::Wrong(faults.join(", ")),
        };
        self.add(subject, check, verdict);
    }

    async fn server(&mut self, connection: &mut PgConnection) -> Result<(), Error> {
        let number: u32 = one(connection, "SELECT current_setting('server_version_num')").await?.parse().unwrap_or(0);
        let version = one(connection, "SELECT current_setting('server_version')").await?;
        let faults = (number < OLDEST_SERVER).then(|| format!("{version} is older than 15"));
        self.judge(self.schema.name, "server", &version, faults.as_slice());
        let standby = one(connection, "SELECT pg_is_in_recovery()::text").await? == "true";
        if standby {
            self.add(self.schema.name, "server", Verdict::NotReady("a standby, which takes no writes".to_owned()));
        }
        Ok(())
    }

    async fn clock(&mut self, connection: &mut PgConnection, now: impl Fn() -> Timestamp) -> Result<(), Error> {
        let before = now();
        let micros = one(connection, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text").await?;
        let after = now();
        let server = micros.parse().ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let Some(server) = server else { return Err(Error::Engine(format!("{micros} is no time"))) };
        // It was asked at some moment between the two.
        let skew = match () {
            () if server < before => server.duration_since(before),
            () if server > after => server.duration_since(after),
            () => SignedDuration::ZERO,
        };
        let faults = (skew.abs() > LEEWAY).then(|| format!("the server's clock is {skew:#} from this one"));
        self.judge(self.schema.name, "clock", &format!("within {:#}", skew.abs()), faults.as_slice());
        Ok(())
    }

    async fn role(&mut self, connection: &mut PgConnection, role: &str) -> Result<(), Error> {
        // What the role is, and what it could become by SET ROLE.
        let sql = "SELECT DISTINCT may FROM pg_catalog.pg_roles, unnest(ARRAY[
                       CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
                       CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
                       CASE WHEN rolreplication THEN 'REPLICATION' END
                   ]) may
                   WHERE may IS NOT NULL AND pg_has_role(current_user, oid, 'MEMBER')";
        let faults: Vec<_> = column(connection, sql).await?.into_iter().map(|may| format!("is {may}")).collect();
        self.judge(role, "role", "no superuser, no BYPASSRLS", &faults);
        Ok(())
    }

    async fn foreign(&mut self, connection: &mut PgConnection, role: &str, other: &str) -> Result<(), Error> {
        let sql = format!(
            "SELECT lower(may) || ' on schema {other}' FROM pg_catalog.pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) may
             WHERE nspname = '{other}' AND has_schema_privilege(oid, may)
             UNION ALL
             SELECT lower(may) || ' on {other}.' || relname
             FROM pg_catalog.pg_class,
                  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) may
             WHERE relnamespace = to_regnamespace('{other}') AND relkind IN ('r', 'p', 'v', 'm', 'f')
               AND has_table_privilege(oid, may)"
        );
        let faults: Vec<_> =
            column(connection, &sql).await?.into_iter().map(|right| format!("{role} has {right}")).collect();
        self.judge(other, "other schemas", &format!("{role} has no right"), &faults);
        Ok(())
    }

    /// Whether the schema is at the version of this program, so that its tables can be judged.
    async fn migrations(&mut self, connection: &mut PgConnection) -> Result<bool, Error> {
        let version = crate::migrate::newest(self.schema.postgres);
        let checked = migrate::check(connection, self.schema).await;
        let good = checked.is_ok();
        let verdict = match checked {
            Ok(()) => Verdict::Good(format!("version {version}")),
            Err(error @ Error::BehindSchema { .. }) => Verdict::NotReady(error.to_string()),
            Err(error) => Verdict::Wrong(error.to_string()),
        };
        self.add(self.schema.name, "migrations", verdict);
        Ok(good)
    }

    async fn own(&mut self, connection: &mut PgConnection, role: &str) -> Result<(), Error> {
        let name = self.schema.name;
        let sql = format!(
            "SELECT 'owns ' || what FROM (
                 SELECT nspowner AS owner, 'schema {name}' AS what FROM pg_catalog.pg_namespace WHERE nspname = '{name}'
                 UNION ALL SELECT relowner, '{name}.' || relname FROM pg_catalog.pg_class
                 WHERE relnamespace = to_regnamespace('{name}') AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                 UNION ALL SELECT proowner, '{name}.' || proname FROM pg_catalog.pg_proc
                 WHERE pronamespace = to_regnamespace('{name}')
             ) things WHERE pg_has_role(current_user, owner, 'MEMBER')
             UNION ALL
             SELECT 'may create in schema {name}' WHERE has_schema_privilege('{name}', 'CREATE')
             UNION ALL
             SELECT 'may ' || lower(may) || ' {name}._migrations' FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) may
             WHERE has_table_privilege('{name}._migrations', may)
             UNION ALL
             SELECT 'may ' || lower(may) || ' {name}.' || relname
             FROM pg_catalog.pg_class, unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) may
             WHERE relnamespace = to_regnamespace('{name}') AND relkind IN ('r', 'p') AND relname <> '_migrations'
               AND has_table_privilege(oid, may)
             UNION ALL
             SELECT 'may not ' || lower(may) || ' {name}.' || relname
             FROM pg_catalog.pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) may
             WHERE relnamespace = to_regnamespace('{name}') AND relkind IN ('r', 'p') AND relname <> '_migrations'
               AND NOT has_table_privilege(oid, may)
             UNION ALL
             SELECT 'may not execute {name}.' || proname FROM pg_catalog.pg_proc
             WHERE pronamespace = to_regnamespace('{name}') AND NOT has_function_privilege(oid, 'EXECUTE')
             UNION ALL
             SELECT 'runs {name}.' || proname || ' with the rights of its owner' FROM pg_catalog.pg_proc
             WHERE pronamespace = to_regnamespace('{name}') AND prosecdef"
        );
        let faults: Vec<_> =
            column(connection, &sql).await?.into_iter().map(|right| format!("{role} {right}")).collect();
        self.judge(name, "own schema", &format!("{role} may use it and owns nothing"), &faults);
        Ok(())
    }

    async fn tables(&mut self, connection: &mut PgConnection) -> Result<(), Error> {
        let name = self.schema.name;
        // A command without a policy is refused; a policy that does not ask for the owner shows everything.
        let sql = format!(
            "SELECT relname::text, concat_ws(', ',
                 CASE WHEN NOT relrowsecurity THEN 'row level security is switched off' END,
                 CASE WHEN relrowsecurity AND NOT relforcerowsecurity THEN 'row level security is not forced' END,
                 CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = pg_class.oid) THEN 'no policy' END,
                 (SELECT string_agg('policy ' || polname || ' does not ask for the owner', ', ')
                  FROM pg_catalog.pg_policy
                  WHERE polrelid = pg_class.oid AND polpermissive
                    AND (coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), ''))
                        NOT LIKE '%owner = %current_setting(''errand.owner''%')
             )
             FROM pg_catalog.pg_class
             WHERE relnamespace = to_regnamespace('{name}') AND relkind IN ('r', 'p') AND relname <> '_migrations'
             ORDER BY relname"
        );
        let mut missing: Vec<&str> = self.schema.tables.to_vec();
        for row in rows(connection, &sql).await? {
            let (table, faults): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            missing.retain(|expected| *expected != table);
            let subject = format!("{name}.{table}");
            if self.schema.exempt.contains(&table.as_str()) {
                self.add(subject, "row level security", Verdict::Good("exempt: asked without an owner".to_owned()));
                continue;
            }
            let mut faults: Vec<String> = Some(faults).filter(|faults| !faults.is_empty()).into_iter().collect();
            let shows = format!("SELECT EXISTS (SELECT FROM {name}.\"{table}\")::text");
            if one(connection, &shows).await? == "true" {
                faults.push("it shows rows to who names no owner".to_owned());
            }
            self.judge(&subject, "row level security", "forced, and shows nothing without an owner", &faults);
        }
        for table in missing {
            self.add(
                format!("{name}.{table}"),
                "row level security",
                Verdict::Wrong("there is no such table".to_owned()),
            );
        }
        Ok(())
    }
}

async fn one(connection: &mut PgConnection, sql: &str) -> Result<String, Error> {
    let rows = rows(connection, sql).await?;
    let row = rows.first().ok_or_else(|| Error::Engine("no row".to_owned()))?;
    Ok(row.try_get(0)?)
}

async fn column(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, Error> {
    rows(connection, sql).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// In the simple protocol, whose values are text, and which any pooler passes on.
async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>, Error> {
    Ok(connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?)
}
