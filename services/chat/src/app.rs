//! What the service decides: bringing what a user says to its answer. Answering a question, taking a
//! turn back, following one, stopping one, conversations, settings and housekeeping are in rooms of their own.

mod answers;
mod budget;
mod conversations;
mod follow;
mod housekeeping;
mod settings;

use std::{sync::Arc, time::Duration};

use errand_changelog::{Actor, Origin, Request, UserId};
use errand_chassis::{clock::Clock, drain::Drain, page_token::PageTokens, trace};
use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{
    domain::{
        conversation::Content,
        turn::{Ending, Event, Turn, ending},
        usage::left_of_day,
    },
    error::Error,
    runner::{End, NoSlot, Runner, Running, Slot, Why},
    store::{Begun, NewTurn, Place, Store},
    task_tools::TaskTools,
};

pub(crate) use self::{
    answers::{Decision, Undone},
    conversations::{Change, Wanted},
    follow::{Follower, Next},
};
pub(crate) use crate::{
    runner::live::Words,
    store::Said,
    task_tools::{Voice, classify},
};

/// How many turns that wait in a conversation are finished before a new one begins. There is one
/// at most, unless others write at the same moment.
const TRIES: usize = 3;

/// How often to ask whether a turn that another process works on is let go of.
const PAUSE: Duration = Duration::from_secs(2);

/// The decisions of the service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    store: Arc<dyn Store>,
    runner: Runner,
    tools: TaskTools,
    clock: Arc<dyn Clock>,
    pages: PageTokens,
    drain: Drain,
    /// How many tokens of the model a user may spend on a day.
    budget: Option<u64>,
}

/// What a user says.
#[derive(Debug, Clone)]
pub(crate) struct Say {
    /// The conversation to say it in; a new one when there is none.
    pub(crate) conversation: Option<Uuid>,
    /// The turn whose answer it is said to, where it means nothing after anything else.
    pub(crate) after: Option<Uuid>,
    /// What to say.
    pub(crate) content: String,
    /// The IANA time zone to read it in, and whether it was asked for in this call.
    pub(crate) time_zone: (String, bool),
    /// Makes it safe to repeat.
    pub(crate) request: Option<Request>,
}

/// What the assistant answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    /// The conversation that it was said in.
    pub(crate) conversation: Uuid,
    /// The turn that answered.
    pub(crate) turn: Uuid,
    /// The answer.
    pub(crate) text: String,
    /// What happened in the turn.
    pub(crate) events: Vec<Event>,
}

/// A turn that is under way or over.
enum Started {
    Running(Uuid, Running),
    Replayed(Uuid),
    Busy(Uuid),
}

impl App {
    /// The service over a store and a runner of its turns.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        runner: Runner,
        tools: TaskTools,
        clock: Arc<dyn Clock>,
        pages: PageTokens,
        drain: Drain,
        budget: Option<u64>,
    ) -> Self {
        Self { store, runner, tools, clock, pages, drain, budget }
    }

    /// Checks what a user would say, and changes nothing.
    ///
    /// # Errors
    /// As [`App::send`], as far as it can be told without doing it.
    pub(crate) async fn check(&self, owner: UserId, say: Say) -> Result<Option<Uuid>, Error> {
        let conversation = say.conversation;
        checked(say)?;
        if let Some(id) = conversation {
            self.conversation(owner, id).await?;
        }
        Ok(conversation)
    }

    /// Brings what a user says to its answer. A turn of the conversation that waits for its user is
    /// finished first. Who stops waiting does not stop the turn.
    ///
    /// # Errors
    /// Everything in [`Error`].
    pub(crate) async fn send(&self, owner: UserId, voice: &Voice, say: Say) -> Result<Answered, Error> {
        let (turn, running) = self.begin(owner, voice, say).await?;
        self.answer(owner, voice, turn, running).await
    }

    /// Begins the turn that answers what a user says, or finds the one that the request began before.
    async fn begin(&self, owner: UserId, voice: &Voice, say: Say) -> Result<(Uuid, Option<Running>), Error> {
        let (conversation, after) = (say.conversation, say.after);
        let (content, time_zone, request) = checked(say)?;
        let budget = self.budget_for(owner, conversation, after, content.as_str()).await?;
        for _ in 0..TRIES {
            let new = NewTurn {
                id: self.clock.id(),
                place: match (conversation, after) {
                    (None, _) => Place::New(self.clock.id()),
                    (Some(id), None) => Place::Existing(id),
                    (Some(conversation), Some(turn)) => Place::After { conversation, turn },
                },
                message: self.clock.id(),
                content: content.clone(),
                time_zone: time_zone.clone(),
                lease: self.runner.lease(),
                budget,
                now: self.clock.now(),
            };
            match self.start(owner, voice, new, request.clone()).await? {
                Started::Running(turn, running) => return Ok((turn, Some(running))),
                Started::Replayed(turn) => return Ok((turn, unless_held(self.take_up(owner, voice, turn).await)?)),
                Started::Busy(turn) if self.runner.running(turn).is_some() => break,
                Started::Busy(turn) => {
                    if let Some(mut running) = self.take_up(owner, voice, turn).await? {
                        over(turn, conversation.unwrap_or_default(), running.end().await)?;
                    }
                }
            }
        }
        Err(Error::TurnInProgress(conversation.unwrap_or_default()))
    }

    /// Begins a turn and sets the runner to work, both or neither: in a task of its own, so that a
    /// client that goes away in between leaves nothing half done.
    async fn start(
        &self,
        owner: UserId,
        voice: &Voice,
        new: NewTurn,
        request: Option<Request>,
    ) -> Result<Started, Error> {
        let slot = self.slot()?;
        let (store, runner, voice) = (self.store.clone(), self.runner.clone(), voice.clone());
        let begin = async move {
            let (turn, place, left) = (new.id, new.place, left_of_day(new.now));
            let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
            Ok(match store.start_turn(owner, new, by_user(request)).await? {
                Begun::New => Started::Running(turn, runner.wake(slot, owner, turn, voice)),
                Begun::Replayed(turn) => Started::Replayed(turn),
                Begun::Busy(turn) => Started::Busy(turn),
                Begun::Spent => return Err(Error::BudgetSpent { left }),
                Begun::Reused => return Err(Error::RequestReused(name)),
                Begun::Erased => return Err(Error::Erased),
                Begun::Moved => return Err(Error::ApprovalEnded),
                Begun::ConversationUnknown => return Err(Error::ConversationNotFound(place.conversation())),
            })
        };
        let begun = tokio::spawn(trace::carry(begin));
        begun.await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))
    }

    /// Sets the runner to work on a turn that waits. Nothing when it is over.
    async fn take_up(&self, owner: UserId, voice: &Voice, turn: Uuid) -> Result<Option<Running>, Error> {
        if let Some(running) = self.runner.running(turn) {
            return Ok(Some(running));
        }
        let found = self.turn(owner, turn).await?;
        if ending(&found.events).is_some() {
            return Ok(None);
        }
        self.take_over(owner, voice, turn, found.conversation).await
    }

    /// Waits for the end of a turn, whoever works on it, and reads its answer.
    async fn answer(
        &self,
        owner: UserId,
        voice: &Voice,
        id: Uuid,
        mut running: Option<Running>,
    ) -> Result<Answered, Error> {
        loop {
            let end = match &mut running {
                Some(running) => running.end().await,
                None => End::Parked(Why::Lost),
            };
            let turn = self.turn(owner, id).await?;
            match (ending(&turn.events), end) {
                (Some(Ending::Replied(text)), _) => {
                    let (conversation, text) = (turn.conversation, text.to_owned());
                    return Ok(Answered { conversation, turn: id, text, events: turn.events });
                }
                (Some(Ending::Failed(reason, fault)), _) => {
                    return Err(Error::TurnFailed { turn: id, reason: reason.to_owned(), fault });
                }
                (None, End::Over | End::Parked(Why::Lost)) => {
                    running = self.join(owner, voice, id, turn.conversation).await?;
                }
                (None, End::Parked(why)) => return Err(parked(id, turn.conversation, why)),
            }
        }
    }

    /// Waits until a turn that another process works on is over, or is ours, because whoever worked
    /// on it has let go of it or is gone.
    async fn join(
        &self,
        owner: UserId,
        voice: &Voice,
        turn: Uuid,
        conversation: Uuid,
    ) -> Result<Option<Running>, Error> {
        let mut listener = self.store.hints().subscribe(owner);
        loop {
            match self.take_over(owner, voice, turn, conversation).await {
                Err(Error::TurnInProgress(_) | Error::Overloaded) => {}
                running => return running,
            }
            let again = Instant::now() + PAUSE;
            loop {
                let followed = self.store.follow(owner, turn, usize::MAX).await?.ok_or(Error::TurnNotFound(turn))?;
                if !followed.is_open {
                    return Ok(None);
                }
                tokio::select! {
                    biased;
                    () = self.drain.begun() => return Err(Error::ShuttingDown),
                    _ = listener.newer_than(followed.head) => {}
                    () = sleep_until(again) => break,
                }
            }
        }
    }

    /// Sets the runner to work on a turn that was open a moment ago. Nothing when it is over.
    async fn take_over(
        &self,
        owner: UserId,
        voice: &Voice,
        turn: Uuid,
        conversation: Uuid,
    ) -> Result<Option<Running>, Error> {
        if let Some(running) = self.runner.running(turn) {
            return Ok(Some(running));
        }
        let slot = self.slot()?;
        self.runner.resume(slot, owner, turn, voice.clone()).await.map_err(|why| parked(turn, conversation, why))
    }

    /// The turn of this id, unless it is gone with its conversation.
    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Turn, Error> {
        self.store.turn(owner, id).await?.ok_or(Error::TurnNotFound(id))
    }

    fn slot(&self) -> Result<Slot, Error> {
        self.runner.slot().map_err(|none| match none {
            NoSlot::Full => Error::Overloaded,
            NoSlot::Closing => Error::ShuttingDown,
        })
    }
}

/// The rules that the contract can not say.
fn checked(say: Say) -> Result<(Content, String, Option<Request>), Error> {
    let content = Content::parse(say.content)?;
    let (time_zone, is_asked_for) = say.time_zone;
    if is_asked_for && TimeZone::get(&time_zone).is_err() {
        return Err(Error::TimeZoneUnknown(time_zone));
    }
    Ok((content, time_zone, say.request))
}

fn by_user(request: Option<Request>) -> Origin {
    Origin { actor: Actor::User, turn: None, request }
}

/// Nothing, too, when another process is at work on the turn.
fn unless_held(running: Result<Option<Running>, Error>) -> Result<Option<Running>, Error> {
    match running {
        Err(Error::TurnInProgress(_)) => Ok(None),
        running => running,
    }
}

fn over(turn: Uuid, conversation: Uuid, end: End) -> Result<(), Error> {
    match end {
        End::Over => Ok(()),
        End::Parked(why) => Err(parked(turn, conversation, why)),
    }
}

fn parked(turn: Uuid, conversation: Uuid, why: Why) -> Error {
    match why {
        Why::TokenRefused => Error::TokenRanOut(turn),
        Why::Lost => Error::TurnInProgress(conversation),
        Why::Closing => Error::ShuttingDown,
        Why::Store(error) => Error::Store(error),
    }
}

#[cfg(test)]
mod tests;
