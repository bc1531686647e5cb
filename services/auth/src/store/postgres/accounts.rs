//! Accounts: rows of `users` and `emails`.

use errand_changelog::{Origin, UserId};
use errand_storage::{
    Postgres as Engine,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{Result, check_owner, from, inconsistent, only, record, time};
use crate::{
    domain::{
        account::{Account, PasswordHash},
        session::Ending,
    },
    store::{Before, Beginning, Committed, Costs, Error},
};

pub(super) async fn owner_of_email(engine: &Engine, key: &str) -> Result<Option<UserId>> {
    let statement = Statement::new("owner_of_email", "SELECT owner FROM auth.emails WHERE key = $1");
    let rows = engine.read(statement.bind(key)).await?;
    let owner: Option<Uuid> = rows.first().map(|row| row.try_get("owner")).transpose()?;
    Ok(owner.map(UserId::from))
}

pub(super) async fn account(engine: &Engine, owner: UserId, request: Option<&str>) -> Result<Before> {
    let statement = Statement::new(
        "get_account",
        "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
         SELECT u.*, r.owner AS request_owner, r.method, r.fingerprint, r.answer FROM me
         LEFT JOIN LATERAL (
             SELECT owner, email, display_name, time_zone, version, create_time, update_time, disable_time
             FROM auth.users WHERE owner = me.owner OFFSET 0) u ON true
         LEFT JOIN LATERAL (
             SELECT owner, method, fingerprint, answer
             FROM auth.requests WHERE owner = me.owner AND request_id = $2 OFFSET 0) r ON true",
    );
    let rows = engine.read(statement.bind(owner.to_string()).bind(request)).await?;
    let row = only(&rows)?;
    let account = match row.try_get::<Option<Uuid>, _>("owner")? {
        Some(_) => Some(decode(row, owner)?),
        None => None,
    };
    let asked: Option<Uuid> = row.try_get("request_owner")?;
    if asked.is_some_and(|found| found != *owner.as_uuid()) {
        return Err(inconsistent("requests", "owner", owner));
    }
    Ok(Before { account, record: record(row, owner)? })
}

pub(super) async fn credential(engine: &Engine, owner: UserId) -> Result<Option<(Account, PasswordHash)>> {
    let statement = Statement::new(
        "get_credential",
        "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
         SELECT t.* FROM me CROSS JOIN LATERAL (
             SELECT owner, email, password_hash, display_name, time_zone, version, create_time, update_time,
                 disable_time
             FROM auth.users WHERE owner = me.owner OFFSET 0) t",
    );
    let rows = engine.read(statement.bind(owner.to_string())).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((decode(row, owner)?, PasswordHash::new(row.try_get("password_hash")?))))
}

pub(super) async fn sign_up(
    engine: &Engine,
    owner: UserId,
    beginning: &Beginning,
    origin: &Origin,
) -> Result<Option<Account>> {
    let account = &beginning.account;
    let held = beginning.held.as_ref();
    let session = held.map(|held| &held.session);
    let statement = Statement::new(
        "sign_up",
        "SELECT auth.sign_up_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19)
             AS version",
    )
    .bind(*owner.as_uuid())
    .bind(&beginning.email_key)
    .bind(&beginning.imported)
    .bind(&account.email)
    .bind(beginning.password.as_str())
    .bind(&account.display_name)
    .bind(&account.time_zone)
    .bind(Time(account.create_time))
    .bind(Time(account.update_time))
    .bind(beginning.kind())
    .bind(session.map(|session| session.id))
    .bind(held.map(|held| held.secret_hash.to_vec()))
    .bind(session.map(|session| &session.user_agent))
    .bind(session.map(|session| &session.ip_address))
    .bind(session.map(|session| Time(session.create_time)))
    .bind(session.map(|session| Time(session.expire_time)));
    let rows = engine.write(from(statement, origin)).await?;
    let version: Option<i64> = only(&rows)?.try_get("version")?;
    Ok(version.map(|version| Account { id: owner, version, ..account.clone() }))
}

pub(super) async fn update(
    engine: &Engine,
    owner: UserId,
    after: Account,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed> {
    let request = origin.request.as_ref();
    let statement =
        Statement::new("update_account", "SELECT * FROM auth.update_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
            .bind(*owner.as_uuid())
            .bind(after.version)
            .bind(&after.display_name)
            .bind(&after.time_zone)
            .bind(Time(after.update_time))
            .bind(Time(now));
    let statement = from(statement, origin)
        .bind(request.map(|request| request.method))
        .bind(request.map(|request| request.fingerprint.as_bytes().to_vec()));
    let rows = engine.write(statement).await?;
    let row = only(&rows)?;
    check_owner(row, owner, "requests")?;
    match row.try_get::<String, _>("code")?.as_str() {
        "done" => Ok(Committed::Done(Account { id: owner, version: row.try_get("version")?, ..after })),
        "stale" => Ok(Committed::Stale),
        "known" => record(row, owner)?.map(Committed::Known).ok_or_else(|| inconsistent("requests", "answer", owner)),
        code => Err(Error::Engine(format!("the door answers {code}"))),
    }
}

/// Puts a hash in the place of the verified one, or of any when none was, and ends every session but one.
pub(super) async fn replace_password(
    engine: &Engine,
    owner: UserId,
    (verified, hash): (Option<&PasswordHash>, &PasswordHash),
    stays: Uuid,
    (kind, ending): (&str, Ending),
    origin: &Origin,
    now: Timestamp,
) -> Result<bool> {
    let statement = Statement::new(
        "change_password",
        "SELECT auth.change_password_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS changed",
    )
    .bind(*owner.as_uuid())
    .bind(verified.map(PasswordHash::as_str))
    .bind(hash.as_str())
    .bind(stays)
    .bind(kind)
    .bind(ending.as_str())
    .bind(Time(now));
    let rows = engine.write(from(statement, origin)).await?;
    Ok(only(&rows)?.try_get("changed")?)
}

pub(super) async fn costs(engine: &Engine) -> Result<Costs> {
    let statement = Statement::new(
        "count_imported",
        "SELECT imported, count(*) AS number, (SELECT count(*) FROM auth.emails) AS accounts
         FROM auth.emails WHERE imported IS NOT NULL GROUP BY imported ORDER BY imported",
    );
    let mut costs = Costs::default();
    for row in engine.read(statement).await? {
        costs.accounts = row.try_get::<i64, _>("accounts")?.unsigned_abs();
        costs.imported.push((row.try_get("imported")?, row.try_get::<i64, _>("number")?.unsigned_abs()));
    }
    Ok(costs)
}

pub(super) async fn close(
    engine: &Engine,
    owner: UserId,
    verified: &PasswordHash,
    services: &[&'static str],
    now: Timestamp,
) -> Result<bool> {
    let statement = Statement::new("close_account", "SELECT auth.close_account_v1($1, $2, $3, $4) AS closed")
        .bind(*owner.as_uuid())
        .bind(verified.as_str())
        .bind(services)
        .bind(Time(now));
    let rows = engine.write(statement).await?;
    Ok(only(&rows)?.try_get("closed")?)
}

/// The account in a row that has its columns.
pub(super) fn decode(row: &PgRow, owner: UserId) -> Result<Account> {
    check_owner(row, owner, "users")?;
    let version = row.try_get("version")?;
    if version < 1 {
        return Err(inconsistent("users", "version", owner));
    }
    let disable_time: Option<Time> = row.try_get("disable_time")?;
    Ok(Account {
        id: owner,
        email: row.try_get("email")?,
        display_name: row.try_get("display_name")?,
        time_zone: row.try_get("time_zone")?,
        version,
        create_time: time(row, "create_time")?,
        update_time: time(row, "update_time")?,
        disable_time: disable_time.map(|time| time.0),
    })
}
