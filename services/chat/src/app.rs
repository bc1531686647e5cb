//! What the service decides: opening and reading conversations, and bringing what a user says to
//! its answer.

use std::sync::Arc;

use errand_changelog::{Actor, Origin, Request, Seq, UserId};
use errand_chassis::{
    clock::Clock,
    page_token::{PageTokens, page_size},
};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::{
    domain::{
        conversation::{Content, Conversation},
        turn::{Ending, Event, Turn, ending},
    },
    error::Error,
    runner::{End, NoSlot, Runner, Running, Slot, Why},
    store::{Begun, Created, NewConversation, NewTurn, Place, Store},
};

pub(crate) use crate::{store::Said, task_tools::Voice};

/// How much a page of messages holds at most before it ends early, in bytes: well below the
/// largest message.
const PAGE_BYTES: usize = 1024 * 1024;

/// How many turns that wait in a conversation are finished before a new one begins. There is one
/// at most, unless others write at the same moment.
const TRIES: usize = 3;

/// The decisions of the service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    store: Arc<dyn Store>,
    runner: Runner,
    clock: Arc<dyn Clock>,
    pages: PageTokens,
}

/// What a user says.
#[derive(Debug, Clone)]
pub(crate) struct Say {
    /// The conversation to say it in; a new one when there is none.
    pub(crate) conversation: Option<Uuid>,
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

/// Which page of a list.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The path of the rpc.
    pub(crate) method: &'static str,
    /// How many, as the caller said it.
    pub(crate) size: i32,
    /// The token of the page before; empty for the first.
    pub(crate) token: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed<T> {
    /// What it holds.
    pub(crate) items: Vec<T>,
    /// The token of the next page; empty when this is the last.
    pub(crate) next: String,
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
    pub(crate) fn new(store: Arc<dyn Store>, runner: Runner, clock: Arc<dyn Clock>, pages: PageTokens) -> Self {
        Self { store, runner, clock, pages }
    }

    /// Opens a conversation.
    ///
    /// # Errors
    /// [`Error::RequestReused`], or the store's.
    pub(crate) async fn create_conversation(
        &self,
        owner: UserId,
        title: String,
        request: Option<Request>,
        validate_only: bool,
    ) -> Result<Conversation, Error> {
        let title = title.trim().to_owned();
        let (id, now) = (self.clock.id(), self.clock.now());
        if validate_only {
            return Ok(Conversation { id, seq: 0, title, version: 0, created: now, updated: now });
        }
        let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        match self.store.create_conversation(owner, NewConversation { id, title, now }, by_user(request)).await? {
            Created::Opened(conversation) => Ok(conversation),
            Created::Reused => Err(Error::RequestReused(name)),
        }
    }

    /// The conversation of this id.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], or the store's.
    pub(crate) async fn conversation(&self, owner: UserId, id: Uuid) -> Result<Conversation, Error> {
        self.store.conversation(owner, id).await?.ok_or(Error::ConversationNotFound(id))
    }

    /// A page of conversations, newest first.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID, or the store's.
    pub(crate) async fn conversations(&self, owner: UserId, wanted: &Wanted) -> Result<Listed<Conversation>, Error> {
        let after = self.position(owner, wanted, &[], |bytes| Some(Seq::from_be_bytes(bytes.try_into().ok()?)))?;
        let page = self.store.conversations(owner, after, page_size(wanted.size)).await?;
        let next = match page.items.last() {
            Some(last) if page.more => self.pages.seal(owner, wanted.method, &[], &last.seq.to_be_bytes()),
            _ => String::new(),
        };
        Ok(Listed { items: page.items, next })
    }

    /// A page of the messages of a conversation, oldest first.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], PAGE_TOKEN_INVALID, or the store's.
    pub(crate) async fn messages(&self, owner: UserId, id: Uuid, wanted: &Wanted) -> Result<Listed<Said>, Error> {
        let arguments = id.as_bytes();
        let after =
            self.position(owner, wanted, arguments, |bytes| Some(Seq::from_be_bytes(bytes.try_into().ok()?)))?;
        let page = self
            .store
            .messages(owner, id, after, page_size(wanted.size), PAGE_BYTES)
            .await?
            .ok_or(Error::ConversationNotFound(id))?;
        let next = match page.items.last() {
            Some(last) if page.more => self.pages.seal(owner, wanted.method, arguments, &last.seq.to_be_bytes()),
            _ => String::new(),
        };
        Ok(Listed { items: page.items, next })
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
        let conversation = say.conversation;
        let (content, time_zone, request) = checked(say)?;
        for _ in 0..TRIES {
            let new = NewTurn {
                id: self.clock.id(),
                place: conversation.map_or_else(|| Place::New(self.clock.id()), Place::Existing),
                message: self.clock.id(),
                content: content.clone(),
                time_zone: time_zone.clone(),
                lease: self.runner.lease(),
                now: self.clock.now(),
            };
            match self.start(owner, voice, new, request.clone()).await? {
                Started::Running(turn, running) => return self.answer(owner, turn, Some(running)).await,
                Started::Replayed(turn) => {
                    let running = self.take_up(owner, voice, turn).await?;
                    return self.answer(owner, turn, running).await;
                }
                Started::Busy(turn) if self.runner.running(turn).is_some() => break,
                Started::Busy(turn) => {
                    if let Some(running) = self.take_up(owner, voice, turn).await? {
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
        let begun = tokio::spawn(async move {
            let (turn, place) = (new.id, new.place);
            let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
            Ok(match store.start_turn(owner, new, by_user(request)).await? {
                Begun::New => Started::Running(turn, runner.wake(slot, owner, turn, voice)),
                Begun::Replayed(turn) => Started::Replayed(turn),
                Begun::Busy(turn) => Started::Busy(turn),
                Begun::Reused => return Err(Error::RequestReused(name)),
                Begun::ConversationUnknown => {
                    let (Place::Existing(id) | Place::New(id)) = place;
                    return Err(Error::ConversationNotFound(id));
                }
            })
        });
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
        let slot = self.slot()?;
        self.runner.resume(slot, owner, turn, voice.clone()).await.map_err(|why| parked(turn, found.conversation, why))
    }

    /// Waits for the end of a turn and reads its answer.
    async fn answer(&self, owner: UserId, id: Uuid, running: Option<Running>) -> Result<Answered, Error> {
        let end = match running {
            Some(running) => running.end().await,
            None => End::Over,
        };
        let turn = self.turn(owner, id).await?;
        match ending(&turn.events) {
            Some(Ending::Replied(text)) => {
                Ok(Answered { conversation: turn.conversation, turn: id, text: text.to_owned(), events: turn.events })
            }
            Some(Ending::Failed(reason)) => Err(Error::TurnFailed { turn: id, reason: reason.to_owned() }),
            None => Err(over(id, turn.conversation, end).err().unwrap_or(Error::TurnInProgress(turn.conversation))),
        }
    }

    /// A turn that must be there, because the store has just named it.
    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Turn, Error> {
        self.store.turn(owner, id).await?.ok_or_else(|| Error::Lost(format!("turn {id} is gone")))
    }

    fn slot(&self) -> Result<Slot, Error> {
        self.runner.slot().map_err(|none| match none {
            NoSlot::Full => Error::Overloaded,
            NoSlot::Closing => Error::ShuttingDown,
        })
    }

    fn position<T>(
        &self,
        owner: UserId,
        wanted: &Wanted,
        arguments: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if wanted.token.is_empty() {
            return Ok(None);
        }
        let position = self.pages.open(owner, wanted.method, arguments, &wanted.token)?;
        read(&position).map(Some).ok_or(Error::PageToken)
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
