//! A better title for a conversation than the start of its first message, once a model has answered in it.
//!
//! It is made after the turn, so that nothing waits for it, and it is not important: where there is no room, no budget or
//! no answer, the draft stays.

use errand_changelog::UserId;
use uuid::Uuid;

use super::{Inner, is_set, spans};
use crate::{
    domain::{conversation::Role, title, usage},
    model::Step,
    store::{Error, NewTitle, Reach},
};

/// How many are made at once.
pub(super) const ALL: u32 = 16;
pub(super) const AT_ONCE: usize = ALL as usize;

/// A title is asked for after each of so many exchanges, until there is one.
const EXCHANGES: usize = 3;

impl Inner {
    /// Makes a title for the conversation of a turn that is over, if there is none but a draft.
    pub(super) async fn entitle(&self, owner: UserId, turn: Uuid) {
        if !self.model.makes_titles() {
            return;
        }
        let Ok(_room) = self.titles.try_acquire() else { return };
        let making = async {
            if let Err(error) = self.make_title(owner, turn).await {
                tracing::debug!(turn.id = %turn, error = %error, "no title was made");
            }
        };
        tokio::select! {
            biased;
            () = is_set(self.closing.subscribe()) => {}
            () = making => {}
        }
    }

    async fn make_title(&self, owner: UserId, id: Uuid) -> Result<(), Error> {
        let Some(conversation) = self.store.follow(owner, id, usize::MAX).await?.map(|turn| turn.conversation) else {
            return Ok(());
        };
        let now = self.clock.now();
        let Some(draft) = self.store.draft(owner, conversation, self.budget, now).await? else { return Ok(()) };
        let reach = Reach { messages: 2 * EXCHANGES + 1, turns: 1, bytes: 0 };
        let history = self.store.history(owner, conversation, reach).await?;
        // What the planner has answered, alone or in the place of a model, has cost nothing, and neither does its title.
        let is_models = history.turns.iter().any(|(turn, events)| *turn == id && usage::spent(events).is_some());
        let (first, rest) = match history.messages.split_first() {
            Some((first, rest)) if is_models && rest.len() < 2 * EXCHANGES => (first, rest),
            _ => return Ok(()),
        };
        let Some(answer) = rest.iter().find(|message| message.role == Role::Assistant) else { return Ok(()) };
        let (title, spent) = match spans::chat(&*self.model, self.model.title(&first.content, &answer.content)).await {
            Ok(answer) => match answer.step {
                Step::Reply(text) => (title::made(&text), answer.usage),
                Step::Call(_) => (None, answer.usage),
            },
            Err(failure) => {
                tracing::debug!(turn.id = %id, error = %failure, "the model gave no title");
                (None, failure.usage)
            }
        };
        if title.is_none() && spent.is_none() {
            return Ok(());
        }
        let now = self.clock.now();
        self.store.entitle(owner, NewTitle { conversation, turn: id, draft, title, spent, now }).await
    }
}
