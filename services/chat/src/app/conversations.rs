//! Conversations: opening, reading, renaming and deleting them.

use errand_changelog::{Request, Seq, UserId};
use errand_chassis::page_token::page_size;
use uuid::Uuid;

use super::{App, by_user};
use crate::{
    domain::conversation::Conversation,
    error::Error,
    store::{Created, Deleted, Edit, NewConversation, Said, Updated},
};

/// How much a page of messages holds at most before it ends early, in bytes: well below the
/// largest message.
const PAGE_BYTES: usize = 1024 * 1024;

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

/// What to change in a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The conversation.
    pub(crate) id: Uuid,
    /// The version that it must have, as a client says it.
    pub(crate) etag: String,
    /// Its new title; nothing when it stays.
    pub(crate) title: Option<String>,
}

impl App {
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
            Created::Erased => Err(Error::Erased),
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

    /// Changes a conversation.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], [`Error::EtagMismatch`], [`Error::RequestReused`], or the
    /// store's.
    pub(crate) async fn update_conversation(
        &self,
        owner: UserId,
        change: Change,
        request: Option<Request>,
        validate_only: bool,
    ) -> Result<Conversation, Error> {
        let Change { id, etag, title } = change;
        let stale = || Error::EtagMismatch { conversation: id, etag: etag.clone() };
        let expected = match etag.as_str() {
            "" => None,
            // What is no version of ours is the current version of nothing.
            etag => Some(Seq::from_str_radix(etag, 16).map_err(|_| stale())?),
        };
        let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        let title = title.map(|title| title.trim().to_owned());
        if validate_only || (title.is_none() && request.is_none()) {
            let found = self.conversation(owner, id).await?;
            return match expected {
                Some(expected) if expected != found.version => Err(stale()),
                _ => Ok(Conversation { title: title.unwrap_or(found.title), ..found }),
            };
        }
        let title = match title {
            Some(title) => title,
            None => self.conversation(owner, id).await?.title,
        };
        let edit = Edit { expected, title, now: self.clock.now() };
        match self.store.update_conversation(owner, id, edit, by_user(request)).await? {
            Updated::Done(conversation) => Ok(conversation),
            Updated::Reused => Err(Error::RequestReused(name)),
            Updated::Unknown => Err(Error::ConversationNotFound(id)),
            Updated::Stale => Err(stale()),
            Updated::Erased => Err(Error::Erased),
        }
    }

    /// Deletes a conversation and everything in it.
    ///
    /// # Errors
    /// [`Error::ConversationNotFound`], [`Error::RequestReused`], or the store's.
    pub(crate) async fn delete_conversation(
        &self,
        owner: UserId,
        id: Uuid,
        request: Option<Request>,
        validate_only: bool,
    ) -> Result<(), Error> {
        if validate_only {
            return self.conversation(owner, id).await.map(drop);
        }
        let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        match self.store.delete_conversation(owner, id, self.clock.now(), by_user(request)).await? {
            Deleted::Done => Ok(()),
            Deleted::Reused => Err(Error::RequestReused(name)),
            Deleted::Unknown => Err(Error::ConversationNotFound(id)),
            Deleted::Erased => Err(Error::Erased),
        }
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
