//! Titles that are made for conversations, in the place of the start of what was said first.

use errand_changelog::{Seq, UserId};
use errand_storage::{
    Error, Postgres as Database,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use super::{BY_ASSISTANT, Postgres, check_owner, one};
use crate::{domain::usage, store::NewTitle};

const DRAFT: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT t.* FROM me CROSS JOIN LATERAL (
        SELECT c.owner, c.drafted FROM chat.conversations c
        WHERE c.owner = me.owner AND c.id = $2 AND c.drafted = c.version OFFSET 0
    ) t
    WHERE NOT EXISTS (
        SELECT FROM chat.heads h WHERE h.owner = me.owner AND h.spent_day = $4 AND h.spent_tokens >= $3
    )";

const ENTITLE: &str = "SELECT chat.entitle_v2($1, $2, $3, $4, $5, $6, $7, $8, $9) AS head";

// === impl Postgres ===

impl Postgres {
    /// Gives a conversation a title in the place of the draft, if that is still its title.
    pub(super) async fn entitle_draft(&self, owner: UserId, new: &NewTitle) -> Result<(), Error> {
        let statement = Statement::new("entitle", ENTITLE)
            .bind(*owner.as_uuid())
            .bind(new.conversation)
            .bind(new.turn)
            .bind(BY_ASSISTANT)
            .bind(new.draft)
            .bind(new.title.as_deref())
            .bind(usage::counted(new.spent))
            .bind(usage::day(new.now))
            .bind(Time(new.now));
        let head: Option<Seq> = one(self.database.write(statement).await?)?.try_get("head")?;
        if let Some(head) = head {
            self.tell(owner, head);
        }
        Ok(())
    }
}

/// Whether a better title than the draft may be made, and for which version.
pub(super) async fn draft(
    database: &Database,
    owner: UserId,
    conversation: Uuid,
    budget: Option<u64>,
    now: Timestamp,
) -> Result<Option<Seq>, Error> {
    let statement = Statement::new("draft", DRAFT)
        .bind(owner.to_string())
        .bind(conversation)
        .bind(budget.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)))
        .bind(usage::day(now));
    let rows = database.read(statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    check_owner("conversations", owner, row.try_get("owner")?, &conversation.to_string())?;
    Ok(Some(row.try_get("drafted")?))
}

/// The reads, to be explained.
#[cfg(test)]
pub(super) fn reads(owner: UserId, id: Uuid) -> Vec<(&'static str, Statement)> {
    let explain = Statement::new("explain", super::explained(DRAFT)).bind(owner.to_string());
    vec![(DRAFT, explain.bind(id).bind(1_i64).bind(1_i64))]
}
