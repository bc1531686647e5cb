//! Signing keys: rows of `signing_keys`. They belong to nobody, so nothing here takes an owner.

use errand_storage::{
    Postgres as Engine,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};

use super::{Result, only, time};
use crate::store::SealedKey;

pub(super) async fn all(engine: &Engine) -> Result<Vec<SealedKey>> {
    let statement = Statement::new(
        "list_signing_keys",
        "SELECT kid, create_time, not_before, not_after, sealed FROM auth.signing_keys ORDER BY not_before, kid",
    );
    let key = |row: &PgRow| {
        Ok(SealedKey {
            kid: row.try_get("kid")?,
            create_time: time(row, "create_time")?,
            not_before: time(row, "not_before")?,
            not_after: row.try_get::<Option<Time>, _>("not_after")?.map(|time| time.0),
            sealed: row.try_get("sealed")?,
        })
    };
    engine.read(statement).await?.iter().map(key).collect()
}

pub(super) async fn add(engine: &Engine, key: &SealedKey, others_end: Timestamp, newest: Option<&str>) -> Result<bool> {
    let statement =
        Statement::new("add_signing_key", "SELECT auth.add_signing_key_v1($1, $2, $3, $4, $5, $6, $7) AS added")
            .bind(newest)
            .bind(&key.kid)
            .bind(Time(key.create_time))
            .bind(Time(key.not_before))
            .bind(key.not_after.map(Time))
            .bind(&key.sealed)
            .bind(Time(others_end));
    let rows = engine.write(statement).await?;
    Ok(only(&rows)?.try_get("added")?)
}
