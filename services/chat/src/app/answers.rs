//! Answering a question of the assistant, and taking a turn back, by their ids.
//!
//! Both are things that the user could say: they are said in the user's name, and go the way of every
//! message from there on. What an id adds is that they can not be meant for anything else.

use errand_changelog::{Request, UserId};
use serde_json::Value;
use uuid::Uuid;

use super::{Answered, App, Say, Voice, parked};
use crate::{
    domain::{
        approval::{self, Approval, Verdict},
        conversation::Role,
        fault::Fault,
        turn::{Event, Turn, runs},
        undo,
    },
    error::Error,
    runner::Why,
    store::Reach,
    task_tools::Finished,
};

/// What a user answers to a question.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// The turn that asked.
    pub(crate) turn: Uuid,
    /// What was asked.
    pub(crate) hash: String,
    /// Yes or no.
    pub(crate) is_yes: bool,
    /// The IANA time zone of the user.
    pub(crate) time_zone: String,
    /// Makes it safe to repeat.
    pub(crate) request: Option<Request>,
}

/// What taking a turn back did, or would do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Undone {
    /// The conversation of the turn.
    pub(crate) conversation: Uuid,
    /// The turn that took it back; none in a preview.
    pub(crate) turn: Option<Uuid>,
    /// The same in words.
    pub(crate) text: String,
    /// What the task service answered.
    pub(crate) result: Value,
}

impl App {
    /// Checks an answer to a question, and changes nothing.
    ///
    /// # Errors
    /// As [`App::decide`], as far as it can be told without doing it.
    pub(crate) async fn check_decision(&self, owner: UserId, decision: &Decision) -> Result<(Uuid, Approval), Error> {
        let asked = self.turn(owner, decision.turn).await?;
        let approval = question(&asked, decision)?.clone();
        if self.clock.now() >= approval.expires {
            return Err(Error::ApprovalExpired);
        }
        let reach = Reach { messages: 1, turns: 0, bytes: 0 };
        let history = self.store.history(owner, asked.conversation, reach).await?;
        match history.messages.last() {
            Some(last) if last.turn == decision.turn && last.role == Role::Assistant => {
                Ok((asked.conversation, approval))
            }
            _ => Err(Error::ApprovalEnded),
        }
    }

    /// Answers a question, and waits until that is carried out.
    ///
    /// # Errors
    /// [`Error::TurnNotFound`], [`Error::ApprovalNotFound`], [`Error::ApprovalMismatch`],
    /// [`Error::ApprovalExpired`], [`Error::ApprovalEnded`], and everything of [`App::send`].
    pub(crate) async fn decide(&self, owner: UserId, voice: &Voice, decision: Decision) -> Result<Answered, Error> {
        let asked = self.turn(owner, decision.turn).await?;
        question(&asked, &decision)?;
        let say = Say {
            conversation: Some(asked.conversation),
            after: Some(decision.turn),
            content: approval::words_for(decision.is_yes).to_owned(),
            time_zone: (decision.time_zone, false),
            request: decision.request,
        };
        let answered = self.send(owner, voice, say).await?;
        // Not before: a request that is repeated later was in time when it was made.
        match answered.events.get(1) {
            Some(Event::Answered { verdict: Verdict::Expired, .. }) => Err(Error::ApprovalExpired),
            _ => Ok(answered),
        }
    }

    /// Says what taking a turn back would do, and does nothing.
    ///
    /// # Errors
    /// [`Error::TurnNotFound`], [`Error::NotUndone`], [`Error::TokenRanOut`], or the store's.
    pub(crate) async fn preview_undo(&self, owner: UserId, voice: &Voice, id: Uuid) -> Result<Undone, Error> {
        let turn = self.turn(owner, id).await?;
        match self.tools.preview(voice, id, &undo::call(id)).await {
            Finished::Outcome(Ok(result)) => {
                let text = undo::foretold(&result);
                Ok(Undone { conversation: turn.conversation, turn: None, text, result })
            }
            Finished::Outcome(Err(failure)) => Err(Error::NotUndone { turn: id, failure }),
            Finished::TokenRefused => Err(parked(id, turn.conversation, Why::TokenRefused)),
        }
    }

    /// Takes a turn back, in a turn of its own.
    ///
    /// # Errors
    /// As [`App::preview_undo`], [`Error::TurnFailed`] when the tasks could not be reached after all, and
    /// everything of [`App::send`].
    pub(crate) async fn undo(
        &self,
        owner: UserId,
        voice: &Voice,
        id: Uuid,
        time_zone: String,
        request: Option<Request>,
    ) -> Result<Undone, Error> {
        // What can not be taken back is refused, not said in the conversation.
        let Undone { conversation, .. } = self.preview_undo(owner, voice, id).await?;
        let say = Say {
            conversation: Some(conversation),
            after: None,
            content: undo::words_for(id),
            time_zone: (time_zone, false),
            request,
        };
        let Answered { turn, text, events, .. } = self.send(owner, voice, say).await?;
        match runs(&events).first().and_then(|run| run.outcome) {
            Some(Ok(result)) => Ok(Undone { conversation, turn: Some(turn), text, result: result.clone() }),
            Some(Err(failure)) => {
                Err(Error::TurnFailed { turn, reason: failure.reason.clone(), fault: Fault::Unavailable })
            }
            None => Err(Error::TurnFailed { turn, reason: "it was stopped".to_owned(), fault: Fault::Unavailable }),
        }
    }
}

/// The question that a turn asked, if it is the one that is answered.
fn question<'a>(asked: &'a Turn, decision: &Decision) -> Result<&'a Approval, Error> {
    let approval = approval::question(&asked.events).ok_or(Error::ApprovalNotFound(asked.id))?;
    if approval.hash == decision.hash { Ok(approval) } else { Err(Error::ApprovalMismatch(asked.id)) }
}
