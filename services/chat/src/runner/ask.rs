//! Asking the model what comes next.

use std::time::Duration;

use errand_changelog::UserId;
use tokio::sync::watch;

use super::{Inner, Why, is_set, live, spans, transcript::transcript};
use crate::{
    domain::{
        approval,
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

/// How far back the model reads.
const REACH: Reach = Reach { messages: 50, turns: 5, bytes: 1024 * 1024 };

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
        let transcript = transcript(&history, turn);
        let live = self.running().get(&turn.id).map(|running| running.live.clone());
        if let Some(live) = &live {
            live::begin(live, turn.events.len());
        }
        let mut say = |piece: &str| {
            if let Some(live) = &live {
                live::write(live, piece);
            }
        };
        let next = spans::chat(&*self.model, self.model.next(&transcript, &mut say));
        let answer = tokio::select! {
            biased;
            () = is_set(cancelled.subscribe()) => None,
            answer = tokio::time::timeout(PATIENCE, next) => Some(answer),
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

const fn kind(error: &ModelError) -> Fault {
    match error {
        ModelError::NothingToAnswer | ModelError::Unavailable(_) => Fault::Unavailable,
        ModelError::TimedOut(_) => Fault::TimedOut,
        ModelError::Busy(_) => Fault::Busy,
    }
}
