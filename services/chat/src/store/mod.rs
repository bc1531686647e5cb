//! What is kept of conversations and turns, as a trait that every engine serves.
//!
//! Each method is one transaction and takes the owner first. The rules are decided before, in
//! `domain`; a store compares, appends to the log and stores. Which engine it is only `lib.rs`
//! knows.

pub mod postgres;
pub mod sqlite;

#[cfg(test)]
pub(crate) mod conformance;

use std::fmt;

use async_trait::async_trait;
use errand_changelog::{Hints, Origin, Seq, UserId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::domain::{
    conversation::{Content, Conversation, Message},
    rules::{Rules, Settings},
    turn::{Event, Turn},
    usage::{Spending, Usage},
};

/// Why the store could not do it.
pub use errand_storage::Error;

/// How long a runner is believed to be at work after it last said so.
pub const LEASE: SignedDuration = SignedDuration::from_secs(10);

/// Where conversations and turns are kept.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens a conversation.
    async fn create_conversation(&self, owner: UserId, new: NewConversation, origin: Origin) -> Result<Created, Error>;

    /// The conversation of this id.
    async fn conversation(&self, owner: UserId, id: Uuid) -> Result<Option<Conversation>, Error>;

    /// Conversations, newest first, after this place.
    async fn conversations(&self, owner: UserId, after: Option<Seq>, size: usize) -> Result<Page<Conversation>, Error>;

    /// The messages of a conversation, oldest first, after this place; nothing when there is no
    /// such conversation. A page ends early when what it holds grows beyond `bytes`.
    async fn messages(
        &self,
        owner: UserId,
        conversation: Uuid,
        after: Option<Seq>,
        size: usize,
        bytes: usize,
    ) -> Result<Option<Page<Said>>, Error>;

    /// Begins a turn: the message, the turn with its first event and the request record, or none.
    async fn start_turn(&self, owner: UserId, new: NewTurn, origin: Origin) -> Result<Begun, Error>;

    /// The turn of this id with its events.
    async fn turn(&self, owner: UserId, id: Uuid) -> Result<Option<Turn>, Error>;

    /// Stores what happened next in a turn, and the assistant's message when that is a reply.
    /// If it was not the first to store these steps, nothing was stored.
    async fn append(&self, owner: UserId, turn: Uuid, new: NewEvents) -> Result<Appended, Error>;

    /// The events of a turn from this step on, and how far the owner's log goes.
    async fn follow(&self, owner: UserId, turn: Uuid, from: usize) -> Result<Option<Followed>, Error>;

    /// Keeps the user's wish that a turn stops. Whoever works on it is to be told, too.
    async fn cancel_turn(&self, owner: UserId, turn: Uuid, now: Timestamp, origin: Origin) -> Result<Cancel, Error>;

    /// Changes the title of a conversation.
    async fn update_conversation(&self, owner: UserId, id: Uuid, edit: Edit, origin: Origin) -> Result<Updated, Error>;

    /// The version of a conversation whose title is the start of its first message, where a better one may be made;
    /// nothing when one was given, or when the owner has spent `budget`.
    async fn draft(
        &self,
        owner: UserId,
        conversation: Uuid,
        budget: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<Seq>, Error>;

    /// Gives a conversation a title in the place of a draft, if it still has that, and counts what that has cost.
    async fn entitle(&self, owner: UserId, new: NewTitle) -> Result<(), Error>;

    /// Takes away a conversation, everything that was said in it, and what the log holds of it.
    async fn delete_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
        origin: Origin,
    ) -> Result<Deleted, Error>;

    /// What the owner has set.
    async fn settings(&self, owner: UserId) -> Result<Settings, Error>;

    /// Sets the owner's rules.
    async fn update_settings(&self, owner: UserId, new: NewSettings, origin: Origin) -> Result<Set, Error>;

    /// Takes away a part of everything that the owner has, and leaves a tombstone. Answers whether
    /// nothing is left.
    async fn erase(&self, owner: UserId, now: Timestamp) -> Result<bool, Error>;

    /// Lets go of a part of what is older than these ages, of all owners. Answers whether nothing is
    /// left of it.
    async fn tidy(&self, ages: Ages) -> Result<bool, Error>;

    /// Wakes who follows a log.
    fn hints(&self) -> &Hints;

    /// What was said last in a conversation, oldest first, with the events of its newest turns.
    async fn history(&self, owner: UserId, conversation: Uuid, reach: Reach) -> Result<History, Error>;

    /// Takes the lease of a turn unless another runner has it.
    async fn take_lease(&self, owner: UserId, turn: Uuid, lease: Lease, now: Timestamp) -> Result<Taken, Error>;

    /// Keeps a lease for longer, if it is still one's own.
    async fn renew_lease(&self, owner: UserId, turn: Uuid, lease: Lease) -> Result<Renewed, Error>;

    /// Keeps what the holder's model has written so far of an answer, for who follows the turn in another process.
    /// Answers whether it was: not once the turn has gone on, or is another's.
    async fn keep_text(&self, owner: UserId, turn: Uuid, holder: Uuid, text: Text) -> Result<bool, Error>;

    /// Gives a lease back, so that the next runner need not wait.
    async fn release_lease(&self, owner: UserId, turn: Uuid, holder: Uuid) -> Result<(), Error>;

    /// Finishes what was begun and closes.
    async fn close(&self);
}

/// A conversation to be opened.
#[derive(Debug, Clone)]
pub struct NewConversation {
    /// Its id.
    pub id: Uuid,
    /// Its title, which may be empty.
    pub title: String,
    /// When.
    pub now: Timestamp,
}

/// What came of opening a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was opened, now or by the first of these requests.
    Opened(Conversation),
    /// The owner was erased.
    Erased,
    /// The request id belongs to another request.
    Reused,
}

/// A turn to begin.
#[derive(Debug, Clone)]
pub struct NewTurn {
    /// Its id.
    pub id: Uuid,
    /// Where it is said.
    pub place: Place,
    /// The id of the user's message.
    pub message: Uuid,
    /// What the user says.
    pub content: Content,
    /// The IANA time zone to read it in.
    pub time_zone: String,
    /// Who will work on it.
    pub lease: Lease,
    /// How many tokens the owner may have spent today; nothing when that does not matter.
    pub budget: Option<u64>,
    /// When.
    pub now: Timestamp,
}

/// The conversation of a new turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One that should be there.
    Existing(Uuid),
    /// One that is opened with the turn, under this id.
    New(Uuid),
    /// One that should be there, and in which the answer of a turn is the last that was said.
    After {
        /// The conversation.
        conversation: Uuid,
        /// The turn that was answered last.
        turn: Uuid,
    },
}

impl Place {
    /// The conversation.
    #[must_use]
    pub const fn conversation(self) -> Uuid {
        match self {
            Self::Existing(conversation) | Self::New(conversation) | Self::After { conversation, .. } => conversation,
        }
    }
}

/// What came of beginning a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It has begun.
    New,
    /// The request has begun this turn before.
    Replayed(Uuid),
    /// The request id belongs to another request.
    Reused,
    /// There is no such conversation.
    ConversationUnknown,
    /// This turn of the conversation is not over.
    Busy(Uuid),
    /// Something else was said last.
    Moved,
    /// The owner has spent what may be spent on this day.
    Spent,
    /// The owner was erased.
    Erased,
}

/// A change of a conversation.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The version that it must have.
    pub expected: Option<Seq>,
    /// Its new title.
    pub title: String,
    /// When.
    pub now: Timestamp,
}

/// A title that was made for a conversation.
#[derive(Debug, Clone)]
pub struct NewTitle {
    /// The conversation.
    pub conversation: Uuid,
    /// The turn after which it was made.
    pub turn: Uuid,
    /// The version whose title is the draft.
    pub draft: Seq,
    /// The title; nothing when none came of it.
    pub title: Option<String>,
    /// What that has cost.
    pub spent: Option<Usage>,
    /// When.
    pub now: Timestamp,
}

/// What came of changing a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated {
    /// It is so, now or since the first of these requests.
    Done(Conversation),
    /// The request id belongs to another request.
    Reused,
    /// There is no such conversation.
    Unknown,
    /// It has another version.
    Stale,
    /// The owner was erased.
    Erased,
}

/// What an owner sets.
#[derive(Debug, Clone)]
pub struct NewSettings {
    /// The version that the settings must have.
    pub expected: Option<Seq>,
    /// The rules.
    pub rules: Rules,
    /// When.
    pub now: Timestamp,
}

/// What came of setting something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// It is so, now or since the first of these requests.
    Done(Settings),
    /// The request id belongs to another request.
    Reused,
    /// The settings have another version.
    Stale,
    /// The owner was erased.
    Erased,
}

/// What came of deleting a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, now or since the first of these requests.
    Done,
    /// The request id belongs to another request.
    Reused,
    /// There is no such conversation.
    Unknown,
    /// The owner was erased.
    Erased,
}

/// What came of the wish to stop a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It is kept, now or since an earlier request.
    Kept,
    /// The request id belongs to another request.
    Reused,
    /// There is no such turn.
    Unknown,
    /// The turn is over.
    Over,
    /// The owner was erased.
    Erased,
}

/// Events of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// The conversation that the turn belongs to.
    pub conversation: Uuid,
    /// The events, from the step that was asked for.
    pub events: Vec<Event>,
    /// Whether more may come.
    pub is_open: bool,
    /// Whether the user wants it to stop.
    pub is_cancelled: bool,
    /// How far the owner's log goes.
    pub head: Seq,
    /// What was kept of the answer that is being written.
    pub text: Option<Text>,
}

/// What a model has written of an answer that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The step that the answer will have.
    pub step: usize,
    /// Which text it is: a model may begin anew.
    pub id: Uuid,
    /// Everything that was written so far.
    pub content: String,
}

/// What is let go in time.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// Answers to requests that are this old.
    pub answered: Timestamp,
    /// Changes and events of turns that are this old.
    pub changed: Timestamp,
}

/// Who is at work on a turn, and until when to believe so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The runner.
    pub holder: Uuid,
    /// Until when.
    pub until: Timestamp,
}

/// What came of taking a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is one's own.
    Yes,
    /// Another runner has it.
    Held,
    /// The turn is over, or there is none.
    Over,
}

/// What came of keeping a lease for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It is kept.
    Kept {
        /// Whether the user wants the turn to stop.
        is_cancelled: bool,
    },
    /// It is another runner's, or the turn is over.
    Lost,
}

/// What came of storing events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// They are stored.
    Stored {
        /// How far the owner's log goes with them.
        head: Seq,
        /// Whether the user wants the turn to stop.
        is_cancelled: bool,
    },
    /// Another runner was first, or the turn is over or gone.
    Lost,
}

#[cfg(test)]
impl Appended {
    pub(crate) const fn is_stored(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}

/// What happened next in a turn.
#[derive(Debug, Clone)]
pub struct NewEvents {
    /// The step of the first of them.
    pub from: usize,
    /// The events.
    pub events: Vec<Event>,
    /// Whether they say that a task was changed.
    pub has_changed: bool,
    /// The turn that they say was taken back.
    pub undone: Option<Uuid>,
    /// When.
    pub now: Timestamp,
}

/// A message and the events of the turn that it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Its place.
    pub seq: Seq,
    /// The message.
    pub message: Message,
    /// For the assistant's messages the events of their turn; for the user's none.
    pub events: Vec<Event>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Whether there is more after it.
    pub more: bool,
}

/// How far to look back.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// This many messages.
    pub messages: usize,
    /// The events of this many turns at most.
    pub turns: usize,
    /// And of no more once this many bytes were read; the newest is always read.
    pub bytes: usize,
}

/// What was said and done last in a conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// What was said, oldest first.
    pub messages: Vec<Message>,
    /// The events of the newest turns among them that are over.
    pub turns: Vec<(Uuid, Vec<Event>)>,
    /// The newest turn that is over, changed tasks and was not taken back, however long ago.
    pub last_turn: Option<Uuid>,
    /// What its owner has spent on the language model.
    pub spending: Spending,
}
