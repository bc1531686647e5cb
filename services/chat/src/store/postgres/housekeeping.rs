//! What is let go: what is too old, and everything of an owner who leaves. Each call does one part of
//! its work, small enough for other writes to pass in between, and says whether it is done. Owners
//! are visited one after the other, because nothing sees the rows of two.

use std::sync::{Mutex, PoisonError};

use errand_changelog::UserId;
use errand_storage::{
    Error, Postgres as Database,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use super::one;
use crate::store::Ages;

/// Rows that one part takes away at most, of each table.
const PART: i64 = 500;
/// Turns whose events one part takes away at most.
const TURNS: i64 = 50;
/// Owners that one part visits at most.
const OWNERS: i64 = 100;

const ERASE: &str = "SELECT chat.erase_v2($1, $2, $3) AS is_done";

const TIDY: &str = "SELECT next, is_end FROM chat.tidy_v1($1, $2, $3, $4, $5, $6)";

/// Lets go of a part, from the owner on where the part before it stopped.
pub(super) async fn tidy(database: &Database, place: &Mutex<Uuid>, ages: Ages) -> Result<bool, Error> {
    let after = *place.lock().unwrap_or_else(PoisonError::into_inner);
    let statement = Statement::new("tidy", TIDY)
        .bind(after)
        .bind(OWNERS)
        .bind(PART)
        .bind(TURNS)
        .bind(Time(ages.answered))
        .bind(Time(ages.changed));
    let row = one(database.write(statement).await?)?;
    let (next, is_end): (Uuid, bool) = (row.try_get("next")?, row.try_get("is_end")?);
    *place.lock().unwrap_or_else(PoisonError::into_inner) = if is_end { Uuid::nil() } else { next };
    Ok(is_end)
}

/// Leaves a tombstone, and takes away a part of everything else.
pub(super) async fn erase(database: &Database, owner: UserId, now: Timestamp) -> Result<bool, Error> {
    let statement = Statement::new("erase", ERASE).bind(*owner.as_uuid()).bind(Time(now)).bind(PART);
    Ok(one(database.write(statement).await?)?.try_get("is_done")?)
}
