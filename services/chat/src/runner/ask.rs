//! Asking the model what comes next.

use std::{convert::Infallible, time::Duration};

use errand_changelog::UserId;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Inner, Why, is_set,
    live::{self, Live},
    spans,
    transcript::transcript,
};
use crate::{
    domain::{
        approval,
        conversation::{EXCHANGES, WITH_CALLS},
        fault::{self, Fault},
        turn::{self, Event, Turn},
        usage::Usage,
    },
    model::{Failure, ModelError, Step},
    store::Reach,
    task_tools::classify,
};

/// How long a model may take that keeps no time itself.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often a text that is being written is kept.
pub(crate) const KEPT_EVERY: Duration = Duration::from_millis(500);

/// How far back the model reads.
const REACH: Reach = Reach { messages: 2 * EXCHANGES, turns: WITH_CALLS, bytes: 1024 * 1024 };

impl Inner {
    pub(super) async fn ask(
        &self,
        owner: UserId,
        turn: &Turn,
        cancelled: &watch::Sender<bool>,
    ) -> Result<Vec<Event>, Why> {
        let history = self.store.history(owner, turn.conversation, REACH).await.map_err(Why::Store)?;
        let said = history.messages.last().map_or("", |message| &message.content);
        if turn.events.len() == 1
            && let Some(event) = self.own_word(owner, turn, &history, said).await?
        {
            return Ok(vec![event]);
        }
        let undoable = history.last_turn.filter(|_| approval::asks_to_undo(said));
        let left = self.budget.map(|budget| history.spending.left_of(budget, self.clock.now()));
        let transcript = transcript(&history, turn, left);
        let live = self.running().get(&turn.id).map(|running| running.live.clone());
        if let Some(live) = &live {
            live::begin(live, turn.events.len(), self.clock.id());
        }
        let mut say = |piece: &str| match &live {
            Some(live) if piece.is_empty() => live::begin_anew(live, self.clock.id()),
            Some(live) => live::write(live, piece),
            None => {}
        };
        let next = spans::chat(&*self.model, self.model.next(&transcript, &mut say));
        let answer = tokio::select! {
            biased;
            () = is_set(cancelled.subscribe()) => None,
            answer = tokio::time::timeout(PATIENCE, next) => Some(answer),
            never = self.keep_text(owner, turn.id, live.as_deref()) => match never {},
        };
        let late = || Err(ModelError::TimedOut("it kept no time".to_owned()).into());
        Ok(match answer.map(|answer| answer.unwrap_or_else(|_| late())) {
            Some(Ok(answer)) => {
                let answered = match answer.step {
                    Step::Reply(text) => turn::said(&text),
                    Step::Call(calls) => turn::asked(&turn.events, calls, undoable, classify),
                };
                [answered].into_iter().chain(answer.usage.map(Event::Spent)).collect()
            }
            Some(Err(Failure { error, usage })) => {
                tracing::warn!(turn.id = %turn.id, error = %error, "the model gave no answer");
                // Nothing comes after a failure.
                let failed = fault::failed(&error.to_string(), kind(&error));
                usage.map(Event::Spent).into_iter().chain([failed]).collect()
            }
            // What it has cost by then nobody says: it is counted for.
            None => {
                let written = live.map_or(0, |live| live.borrow().length());
                let spent = self.model.length(&transcript).map(|read| Event::Spent(Usage::of_bytes(read, written)));
                spent.into_iter().chain([Event::Cancelled]).collect()
            }
        })
    }
}

impl Inner {
    /// Keeps what is being written now and then, for who follows the turn in another process.
    async fn keep_text(&self, owner: UserId, turn: Uuid, live: Option<&watch::Sender<Live>>) -> Infallible {
        let mut kept = (Uuid::nil(), 0);
        while let Some(live) = live {
            tokio::time::sleep(KEPT_EVERY).await;
            let Some(text) = live.borrow().beyond(kept) else { continue };
            let is_kept = (text.id, text.content.len());
            match self.store.keep_text(owner, turn, self.holder, text).await {
                Ok(true) => kept = is_kept,
                // The turn is another's: whoever has it keeps its own.
                Ok(false) => break,
                Err(error) => {
                    tracing::debug!(turn.id = %turn, error = %error, "a text being written was not kept");
                }
            }
        }
        std::future::pending().await
    }
}

const fn kind(error: &ModelError) -> Fault {
    match error {
        ModelError::NothingToAnswer | ModelError::Unavailable(_) => Fault::Unavailable,
        ModelError::TimedOut(_) => Fault::TimedOut,
        ModelError::Busy(_) => Fault::Busy,
    }
}
