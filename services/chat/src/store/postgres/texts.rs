//! What models have written of answers that are not whole yet.

use errand_changelog::UserId;
use errand_storage::{Error, Postgres as Database, postgres::Statement};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::{check_owner, count, inconsistent, one};
use crate::store::Text;

const KEEP: &str = "SELECT chat.keep_text_v1($1, $2, $3, $4, $5, $6) AS is_kept";

/// Keeps a text, while the turn stands before its step and is the holder's to work on.
pub(super) async fn keep(
    database: &Database,
    owner: UserId,
    turn: Uuid,
    holder: Uuid,
    text: &Text,
) -> Result<bool, Error> {
    let statement = Statement::new("keep_text", KEEP)
        .bind(*owner.as_uuid())
        .bind(turn)
        .bind(holder)
        .bind(count(text.step))
        .bind(text.id)
        .bind(text.content.as_str());
    Ok(one(database.write(statement).await?)?.try_get("is_kept")?)
}

/// What a row of a turn holds of a text.
pub(super) fn of(row: &PgRow, owner: UserId, turn: Uuid) -> Result<Option<Text>, Error> {
    let Some(id) = row.try_get::<Option<Uuid>, _>("text_id")? else { return Ok(None) };
    let key = turn.to_string();
    check_owner("texts", owner, row.try_get("text_owner")?, &key)?;
    let step: i64 = row.try_get("text_step")?;
    let step = usize::try_from(step).map_err(|_| inconsistent("texts", "step", &key))?;
    Ok(Some(Text { step, id, content: row.try_get("text")? }))
}
