//! What owners set.

use errand_changelog::{Origin, UserId};
use errand_storage::{
    Error, Postgres as Database,
    postgres::{Statement, Time},
};
use sqlx::Row;

use super::{Door, Postgres, check_owner, door, inconsistent, json, parsed, time};
use crate::{
    domain::rules::Settings,
    store::{NewSettings, Set},
};

const UPDATE: &str =
    "SELECT code, head, method, fingerprint, answer FROM chat.update_settings_v1($1, $2, $3, $4, $5, $6, $7, $8)";

const GET: &str = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
    SELECT t.* FROM me CROSS JOIN LATERAL (
        SELECT s.owner, s.rules, s.version, s.update_time FROM chat.settings s WHERE s.owner = me.owner OFFSET 0
    ) t";

// === impl Postgres ===

impl Postgres {
    /// Sets the owner's rules.
    pub(super) async fn set(&self, owner: UserId, new: &NewSettings, origin: &Origin) -> Result<Set, Error> {
        let statement = door("update_settings", UPDATE, owner, origin)
            .bind(new.expected)
            .bind(json(&new.rules)?)
            .bind(Time(new.now));
        match self.pass(owner, origin, statement).await? {
            Door::Done(answer) | Door::Replayed(answer) => Ok(Set::Done(
                serde_json::from_slice(&answer).map_err(|_| inconsistent("requests", "answer", "settings"))?,
            )),
            Door::Reused => Ok(Set::Reused),
            Door::Refused(refusal) => match refusal.code.as_str() {
                "erased" => Ok(Set::Erased),
                "stale" => Ok(Set::Stale),
                _ => Err(refusal.unexpected()),
            },
        }
    }
}

pub(super) async fn get(database: &Database, owner: UserId) -> Result<Settings, Error> {
    let rows = database.read(Statement::new("get_settings", GET).bind(owner.to_string())).await?;
    let Some(row) = rows.first() else { return Ok(Settings::default()) };
    check_owner("settings", owner, row.try_get("owner")?, "settings")?;
    let rules: String = row.try_get("rules")?;
    Ok(Settings {
        rules: parsed("settings", "rules", "settings", &rules)?,
        version: row.try_get("version")?,
        updated: Some(time(row, "update_time")?),
    })
}
