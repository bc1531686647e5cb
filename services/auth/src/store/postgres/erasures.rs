//! Services that still hold data of a user who is gone: rows of `erasures`.

use errand_changelog::UserId;
use errand_storage::{
    Postgres as Engine,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Result, bounded, inconsistent};
use crate::{domain::erasure::Erasure, store::Claimed};

/// Tries after which the pause grows no longer.
const LAST_PAUSE: u32 = 6;

pub(super) async fn claim(engine: &Engine, now: Timestamp, limit: usize) -> Result<Claimed> {
    let next_time = |tries| {
        let erasure = Erasure { owner: UserId::from(Uuid::nil()), service: String::new(), tries };
        Time(erasure.next_time(now))
    };
    let next_times: Vec<_> = (0..=LAST_PAUSE).map(next_time).collect();
    let statement = Statement::new("claim_erasures", "SELECT * FROM auth.claim_erasures_v1($1, $2, $3)")
        .bind(Time(now))
        .bind(bounded(limit))
        .bind(next_times);
    let mut claimed = Claimed { due: Vec::new(), next: None };
    for row in engine.write(statement).await? {
        let Some(owner) = row.try_get::<Option<Uuid>, _>("owner")?.map(UserId::from) else {
            claimed.next = row.try_get::<Option<Time>, _>("next_time")?.map(|time| time.0);
            continue;
        };
        let tries: i64 = row.try_get("tries")?;
        let tries = u32::try_from(tries).map_err(|_| inconsistent("erasures", "tries", owner))?;
        claimed.due.push(Erasure { owner, service: row.try_get("service")?, tries });
    }
    Ok(claimed)
}

pub(super) async fn finish(engine: &Engine, owner: UserId, service: &str) -> Result<()> {
    let statement = Statement::new("finish_erasure", "DELETE FROM auth.erasures WHERE owner = $1 AND service = $2");
    engine.write(statement.bind(*owner.as_uuid()).bind(service)).await?;
    Ok(())
}
