//! What is let go: what is too old, and everything of an owner who leaves. Each function of the
//! database does one part of its work, small enough for other writes to pass in between, and says
//! whether it is done.

use errand_changelog::UserId;
use errand_storage::{Error, Postgres, postgres::Statement};
use jiff::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;

use super::tasks;
use crate::store::Ages;

/// Rows that one part takes away at most, of each table.
const PART: i64 = 500;
/// Owners that one look at who is untidy goes by.
const OWNERS: i64 = 1000;

/// The next owners with something older than `ages`, and where to go on. While another replica looks,
/// nobody is untidy.
pub(super) async fn untidy(
    db: &Postgres,
    after: Option<UserId>,
    ages: &Ages,
) -> Result<(Vec<UserId>, Option<UserId>), Error> {
    let statement = Statement::new("untidy_owners", "SELECT owner, untidy FROM task.untidy_v1($1, $2, $3, $4, $5)")
        .bind(after.as_ref().map(UserId::as_uuid))
        .bind(OWNERS)
        .bind(tasks::time(ages.deleted))
        .bind(tasks::time(ages.changed))
        .bind(tasks::time(ages.answered));
    let rows = db.read(statement).await?;
    let (mut untidy, mut last) = (Vec::new(), None);
    for row in &rows {
        let owner = UserId::from(row.try_get::<Uuid, _>("owner")?);
        last = Some(owner);
        if row.try_get("untidy")? {
            untidy.push(owner);
        }
    }
    Ok((untidy, last.filter(|_| i64::try_from(rows.len()) == Ok(OWNERS))))
}

/// Moves the mark over changes of `before` or earlier, and lets go of those that are not the newest
/// of a live task.
pub(super) async fn compact(db: &Postgres, owner: UserId, before: Timestamp) -> Result<bool, Error> {
    let statement = Statement::new("compact", "SELECT task.compact_v1($1, $2, $3) AS all_gone");
    part(db, statement, owner, before).await
}

/// Lets go of answers of `before` or earlier.
pub(super) async fn forget(db: &Postgres, owner: UserId, before: Timestamp) -> Result<bool, Error> {
    let statement = Statement::new("forget", "SELECT task.forget_v1($1, $2, $3) AS all_gone");
    part(db, statement, owner, before).await
}

/// Leaves a tombstone, and takes away a part of everything else.
pub(super) async fn erase(db: &Postgres, owner: UserId, now: Timestamp) -> Result<bool, Error> {
    let statement = Statement::new("erase", "SELECT task.erase_v1($1, $2, $3) AS all_gone");
    part(db, statement, owner, now).await
}

async fn part(db: &Postgres, statement: Statement, owner: UserId, time: Timestamp) -> Result<bool, Error> {
    let rows = db.write(statement.bind(owner.as_uuid()).bind(tasks::time(time)).bind(PART)).await?;
    let row = rows.first().ok_or_else(|| Error::Engine("a write has no outcome".to_owned()))?;
    Ok(row.try_get("all_gone")?)
}
