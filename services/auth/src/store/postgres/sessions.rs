//! Sessions: rows of `sessions` and `session_owners`.

use errand_changelog::{Origin, UserId};
use errand_storage::{
    Postgres as Engine,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{Result, accounts, bounded, check_owner, from, inconsistent, only, time};
use crate::{
    domain::{
        account::{Account, PasswordHash},
        session::{self, Ending, Session},
    },
    store::{Held, Opening},
};

pub(super) async fn owner_of_session(engine: &Engine, id: Uuid) -> Result<Option<UserId>> {
    let statement = Statement::new("owner_of_session", "SELECT owner FROM auth.session_owners WHERE id = $1");
    let rows = engine.read(statement.bind(id)).await?;
    let owner: Option<Uuid> = rows.first().map(|row| row.try_get("owner")).transpose()?;
    Ok(owner.map(UserId::from))
}

pub(super) async fn open(
    engine: &Engine,
    owner: UserId,
    opening: &Opening,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<Account>> {
    let session = &opening.held.session;
    let statement = Statement::new(
        "open_session",
        "SELECT * FROM auth.open_session_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(*owner.as_uuid())
    .bind(opening.verified.as_str())
    .bind(opening.upgraded.as_ref().map(PasswordHash::as_str))
    .bind(bounded(session::MOST))
    .bind(Ending::Crowded.as_str())
    .bind(session.id)
    .bind(opening.held.secret_hash.to_vec())
    .bind(&session.user_agent)
    .bind(&session.ip_address)
    .bind(Time(session.create_time))
    .bind(Time(session.expire_time))
    .bind(Time(now));
    let rows = engine.write(from(statement, origin)).await?;
    rows.first().map(|row| accounts::decode(row, owner)).transpose()
}

pub(super) async fn session(engine: &Engine, owner: UserId, id: Uuid) -> Result<Option<(Held, Account)>> {
    let statement = Statement::new(
        "get_session",
        "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
         SELECT s.owner AS session_owner, s.id, s.generation, s.secret_hash, s.user_agent, s.ip_address,
             s.create_time AS session_create_time, s.refresh_time, s.expire_time, u.*
         FROM me CROSS JOIN LATERAL (
             SELECT owner, id, generation, secret_hash, user_agent, ip_address, create_time, refresh_time, expire_time
             FROM auth.sessions WHERE owner = me.owner AND id = $2 OFFSET 0) s
         LEFT JOIN LATERAL (
             SELECT owner, email, display_name, time_zone, version, create_time, update_time, disable_time
             FROM auth.users WHERE owner = me.owner OFFSET 0) u ON true",
    );
    let rows = engine.read(statement.bind(owner.to_string()).bind(id)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    // The foreign key promises an account for each session.
    let found: [Option<Uuid>; 2] = [row.try_get("session_owner")?, row.try_get("owner")?];
    if found != [Some(*owner.as_uuid()); 2] {
        return Err(inconsistent("sessions", "owner", owner));
    }
    let secret_hash: Vec<u8> = row.try_get("secret_hash")?;
    let secret_hash = secret_hash.try_into().map_err(|_| inconsistent("sessions", "secret_hash", owner))?;
    let session = decode(row, "session_create_time", owner)?;
    Ok(Some((Held { session, secret_hash }, accounts::decode(row, owner)?)))
}

pub(super) async fn rotate(engine: &Engine, owner: UserId, next: &Held) -> Result<bool> {
    let statement = Statement::new("rotate_session", "SELECT auth.rotate_v1($1, $2, $3, $4, $5, $6) AS rotated")
        .bind(*owner.as_uuid())
        .bind(next.session.id)
        .bind(i64::from(next.session.generation))
        .bind(next.secret_hash.to_vec())
        .bind(Time(next.session.refresh_time))
        .bind(Time(next.session.expire_time));
    let rows = engine.write(statement).await?;
    Ok(only(&rows)?.try_get("rotated")?)
}

pub(super) async fn end(
    engine: &Engine,
    owner: UserId,
    id: Uuid,
    ending: Ending,
    origin: &Origin,
    now: Timestamp,
) -> Result<bool> {
    let statement = Statement::new("end_session", "SELECT auth.end_session_v1($1, $2, $3, $4, $5, $6, $7) AS ended")
        .bind(*owner.as_uuid())
        .bind(id)
        .bind(ending.as_str())
        .bind(Time(now));
    let rows = engine.write(from(statement, origin)).await?;
    Ok(only(&rows)?.try_get("ended")?)
}

pub(super) async fn list(
    engine: &Engine,
    owner: UserId,
    after: Option<Uuid>,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Session>> {
    // Ids are made in order of time, so the newest is the greatest.
    let statement = Statement::new(
        "list_sessions",
        "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
         SELECT t.* FROM me CROSS JOIN LATERAL (
             SELECT owner, id, generation, user_agent, ip_address, create_time, refresh_time, expire_time
             FROM auth.sessions WHERE owner = me.owner AND id < $2 AND expire_time > $3
             ORDER BY id DESC LIMIT $4 OFFSET 0) t",
    );
    let statement =
        statement.bind(owner.to_string()).bind(after.unwrap_or(Uuid::max())).bind(Time(now)).bind(bounded(limit));
    let rows = engine.read(statement).await?;
    let session = |row: &PgRow| {
        check_owner(row, owner, "sessions")?;
        decode(row, "create_time", owner)
    };
    rows.iter().map(session).collect()
}

fn decode(row: &PgRow, create_time: &str, owner: UserId) -> Result<Session> {
    let generation: i64 = row.try_get("generation")?;
    Ok(Session {
        id: row.try_get("id")?,
        generation: u32::try_from(generation).map_err(|_| inconsistent("sessions", "generation", owner))?,
        user_agent: row.try_get("user_agent")?,
        ip_address: row.try_get("ip_address")?,
        create_time: time(row, create_time)?,
        refresh_time: time(row, "refresh_time")?,
        expire_time: time(row, "expire_time")?,
    })
}
