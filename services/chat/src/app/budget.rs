//! What may be said when the tokens of a day are spent: everything that no model reads.

use errand_changelog::UserId;
use uuid::Uuid;

use super::App;
use crate::{
    domain::{
        approval,
        conversation::Role,
        undo::{self, Wanted},
    },
    error::Error,
    store::Reach,
};

impl App {
    /// How much may have been spent before these words; nothing when no model will read them, which costs nothing.
    pub(super) async fn budget_for(
        &self,
        owner: UserId,
        conversation: Option<Uuid>,
        after: Option<Uuid>,
        said: &str,
    ) -> Result<Option<u64>, Error> {
        let Some(budget) = self.budget.filter(|_| after.is_none()) else { return Ok(None) };
        let (undoes, answers) = (undo::wanted(said), approval::answers(said));
        let Some(conversation) = conversation.filter(|_| undoes.is_some() || answers) else { return Ok(Some(budget)) };
        let reach = Reach { messages: 1, turns: 1, bytes: 0 };
        let history = self.store.history(owner, conversation, reach).await?;
        let is_own_word = match undoes {
            Some(Wanted::Turn(_)) => true,
            Some(Wanted::Last) => history.last_turn.is_some(),
            None => history.turns.last().is_some_and(|(turn, events)| {
                history.messages.last().is_some_and(|last| last.turn == *turn && last.role == Role::Assistant)
                    && approval::question(events).is_some()
            }),
        };
        Ok((!is_own_word).then_some(budget))
    }
}
