//! What operators do to an account that is not theirs: rows of `users` and the sessions that end with it.

use errand_changelog::{Origin, UserId};
use errand_storage::{
    Postgres as Engine,
    postgres::{Statement, Time},
};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{Result, accounts, bounded, from, only};
use crate::{
    domain::{
        account::{Account, PasswordHash},
        session::Ending,
    },
    store::{DISABLE, ENABLE, RESET_PASSWORD},
};

pub(super) async fn list(engine: &Engine, after: &str, limit: usize) -> Result<Vec<Account>> {
    let statement = Statement::new("list_accounts", "SELECT * FROM auth.list_accounts_v1($1, $2)");
    let account = |row: &PgRow| {
        let owner: Uuid = row.try_get("owner")?;
        accounts::decode(row, UserId::from(owner))
    };
    engine.read(statement.bind(after).bind(bounded(limit))).await?.iter().map(account).collect()
}

pub(super) async fn reset_password(
    engine: &Engine,
    owner: UserId,
    hash: &PasswordHash,
    origin: &Origin,
    now: Timestamp,
) -> Result<bool> {
    let how = (RESET_PASSWORD, Ending::PasswordReset);
    accounts::replace_password(engine, owner, (None, hash), Uuid::nil(), how, origin, now).await
}

pub(super) async fn set_disabled(
    engine: &Engine,
    owner: UserId,
    disabled: bool,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<bool>> {
    let statement =
        Statement::new("set_disabled", "SELECT auth.set_disabled_v1($1, $2, $3, $4, $5, $6, $7, $8) AS changed")
            .bind(*owner.as_uuid())
            .bind(disabled.then_some(Time(now)))
            .bind(if disabled { DISABLE } else { ENABLE })
            .bind(Ending::Disabled.as_str())
            .bind(Time(now));
    let rows = engine.write(from(statement, origin)).await?;
    Ok(only(&rows)?.try_get("changed")?)
}
