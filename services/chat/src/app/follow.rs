//! Following a turn as it goes on, and stopping one.
//!
//! A stream reads the events that are stored, and nothing else: it can begin after any of them, in any
//! process, however the one before it ended. What wakes it is only a hint.

use std::{collections::VecDeque, fmt, time::Duration};

use errand_changelog::{Listener, Request, Seq, UserId};
use errand_chassis::trace;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{Answered, App, PAUSE, Say, Voice, Words, by_user, parked, unless_held};
use crate::{
    domain::turn::{Event, ending},
    error::Error,
    runner::{
        End, Running, Why,
        ask::KEPT_EVERY,
        live::{Heard, Live},
    },
    store::{Cancel, Followed, Text},
};

/// Reads the events of a turn as they come.
pub(crate) struct Follower {
    app: App,
    owner: UserId,
    voice: Voice,
    turn: Uuid,
    conversation: Uuid,
    /// The step that is sent next.
    next: usize,
    /// What was read and not sent yet.
    read: VecDeque<Event>,
    /// How far the log went when that was read, while the turn went on.
    seen: Seen,
    running: Option<Running>,
    /// What was kept of the text that is being written, and not sent yet.
    text: Option<Text>,
    /// How far the text that is being written was sent.
    heard: Heard,
    /// When to ask again whether whoever works on the turn elsewhere is still there.
    ask_again: Instant,
    listener: Listener,
    until: Instant,
    is_over: bool,
}

/// What is known of a turn beside its events.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// Nothing yet, or there may be more by now.
    Nothing,
    /// It goes on, and this is how far the owner's log went.
    Open(Seq),
    /// It is over.
    Over,
}

/// What a stream sends next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Something happened.
    Event {
        /// The conversation of the turn.
        conversation: Uuid,
        /// Its step.
        step: usize,
        /// What.
        event: Event,
    },
    /// Words of an answer that is not whole yet.
    Words {
        /// The conversation of the turn.
        conversation: Uuid,
        /// What.
        words: Words,
    },
    /// The end, and after how many events to go on elsewhere.
    Handover(usize),
    /// The end, and why.
    Failed(Error),
}

impl App {
    /// Begins the turn that answers what a user says, and follows it from its first event, until
    /// `until` at most.
    ///
    /// # Errors
    /// As [`App::send`], as far as it is known before the turn goes on.
    pub(crate) async fn stream(
        &self,
        owner: UserId,
        voice: Voice,
        say: Say,
        until: Timestamp,
    ) -> Result<Follower, Error> {
        let (turn, running) = self.begin(owner, &voice, say).await?;
        Ok(self.follower(owner, voice, turn, 0, running, until))
    }

    /// Follows a turn after some of its events, and goes on with it when it waits.
    ///
    /// # Errors
    /// [`Error::TurnNotFound`], [`Error::AfterSeq`], or the store's.
    pub(crate) async fn resume(
        &self,
        owner: UserId,
        voice: Voice,
        turn: Uuid,
        after: usize,
        until: Timestamp,
    ) -> Result<Follower, Error> {
        let found = self.turn(owner, turn).await?;
        if after > found.events.len() {
            return Err(Error::AfterSeq);
        }
        let running = match ending(&found.events) {
            Some(_) => None,
            // Another process may be at work on it: its events come all the same.
            None => unless_held(self.take_over(owner, &voice, turn, found.conversation).await)?,
        };
        Ok(self.follower(owner, voice, turn, after, running, until))
    }

    /// Checks whether a turn could be stopped, and changes nothing.
    ///
    /// # Errors
    /// [`Error::TurnNotFound`], [`Error::TurnEnded`], or the store's.
    pub(crate) async fn check_cancel(&self, owner: UserId, turn: Uuid) -> Result<(), Error> {
        match ending(&self.turn(owner, turn).await?.events) {
            Some(_) => Err(Error::TurnEnded(turn)),
            None => Ok(()),
        }
    }

    /// Stops a turn before its next action and answers with what it says then.
    ///
    /// # Errors
    /// [`Error::TurnNotFound`], [`Error::TurnEnded`], [`Error::RequestReused`], or the store's.
    pub(crate) async fn cancel(
        &self,
        owner: UserId,
        voice: &Voice,
        turn: Uuid,
        request: Option<Request>,
    ) -> Result<Answered, Error> {
        let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        let (app, voice) = (self.clone(), voice.clone());
        // In a task of its own: a client that goes away in between leaves no wish half told.
        let told = tokio::spawn(trace::carry(async move {
            match app.store.cancel_turn(owner, turn, app.clock.now(), by_user(request)).await? {
                Cancel::Kept => {}
                Cancel::Reused => return Err(Error::RequestReused(name)),
                Cancel::Unknown => return Err(Error::TurnNotFound(turn)),
                Cancel::Over => return Err(Error::TurnEnded(turn)),
                Cancel::Erased => return Err(Error::Erased),
            }
            // Whoever works on it, here or elsewhere, hears of the wish by itself.
            let running = unless_held(app.take_up(owner, &voice, turn).await)?;
            Ok((running, voice))
        }));
        let (running, voice) = told.await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))?;
        self.answer(owner, &voice, turn, running).await
    }

    fn follower(
        &self,
        owner: UserId,
        voice: Voice,
        turn: Uuid,
        next: usize,
        running: Option<Running>,
        until: Timestamp,
    ) -> Follower {
        let left = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        Follower {
            app: self.clone(),
            owner,
            voice,
            turn,
            conversation: Uuid::nil(),
            next,
            read: VecDeque::new(),
            seen: Seen::Nothing,
            running,
            text: None,
            heard: Heard::default(),
            ask_again: Instant::now() + PAUSE,
            // Before anything is read: what happens in between is seen twice, not missed.
            listener: self.store.hints().subscribe(owner),
            until: Instant::now() + left,
            is_over: false,
        }
    }
}

// === impl Follower ===

impl Follower {
    /// The turn that is followed.
    pub(crate) const fn turn(&self) -> Uuid {
        self.turn
    }

    /// What comes next; nothing after the end.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        if self.is_over {
            return None;
        }
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(self.send(event));
            }
            if self.app.drain.has_begun() || Instant::now() >= self.until {
                return Some(self.end(Next::Handover(self.next)));
            }
            if let Some(words) = self.kept() {
                return Some(Next::Words { conversation: self.conversation, words });
            }
            match std::mem::replace(&mut self.seen, Seen::Nothing) {
                Seen::Nothing => {}
                Seen::Open(head) => {
                    match self.wait(head).await {
                        None => {}
                        Some(words @ Next::Words { .. }) => {
                            self.seen = Seen::Open(head);
                            return Some(words);
                        }
                        Some(end) => return Some(self.end(end)),
                    }
                    continue;
                }
                Seen::Over => {
                    self.is_over = true;
                    return None;
                }
            }
            let Followed { conversation, events, is_open, head, text, .. } =
                match self.app.store.follow(self.owner, self.turn, self.next).await {
                    Ok(Some(followed)) => followed,
                    Ok(None) => return Some(self.end(Next::Failed(Error::TurnNotFound(self.turn)))),
                    Err(error) => return Some(self.end(Next::Failed(error.into()))),
                };
            self.conversation = conversation;
            self.read = events.into();
            self.text = text;
            self.seen = if is_open { Seen::Open(head) } else { Seen::Over };
        }
    }

    /// What is new in the text that was kept. What is written here is heard as it is written, and what was kept of that
    /// or before it says nothing more.
    fn kept(&mut self) -> Option<Words> {
        let text = self.text.take().filter(|text| text.step == self.next)?;
        if self.running.is_some() && !self.heard.is_nothing() {
            return None;
        }
        self.heard.take(text.id, &text.content)
    }

    fn send(&mut self, event: Event) -> Next {
        if matches!(event, Event::Replied { .. }) {
            self.is_over = true;
        }
        if let Event::Failed { reason, fault } = event {
            return self.end(Next::Failed(Error::TurnFailed { turn: self.turn, reason, fault }));
        }
        let step = self.next;
        self.next += 1;
        Next::Event { conversation: self.conversation, step, event }
    }

    fn end(&mut self, end: Next) -> Next {
        self.is_over = true;
        end
    }

    /// Until there may be more to read, there are words, or it ends.
    async fn wait(&mut self, head: i64) -> Option<Next> {
        let is_elsewhere = self.running.is_none();
        let live = self.running.as_ref().map(Running::live);
        tokio::select! {
            biased;
            () = self.app.drain.begun() => None,
            () = sleep_until(self.until) => None,
            _ = self.listener.newer_than(head) => None,
            end = end_of(&mut self.running) => {
                self.running = None;
                match end {
                    End::Over | End::Parked(Why::Lost) => None,
                    End::Parked(Why::Closing) => Some(Next::Handover(self.next)),
                    End::Parked(why) => Some(Next::Failed(parked(self.turn, self.conversation, why))),
                }
            }
            words = words(live, &mut self.heard, self.next) => {
                Some(Next::Words { conversation: self.conversation, words })
            }
            // Whoever had it may be gone.
            () = sleep_until(self.ask_again), if is_elsewhere => {
                self.ask_again = Instant::now() + PAUSE;
                match self.app.take_over(self.owner, &self.voice, self.turn, self.conversation).await {
                    Ok(running) => {
                        self.running = running;
                        None
                    }
                    Err(Error::TurnInProgress(_) | Error::Overloaded) => None,
                    Err(error) => Some(Next::Failed(error)),
                }
            }
            // Whoever has it may have written more.
            () = sleep(KEPT_EVERY), if is_elsewhere => None,
        }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("turn", &self.turn).field("next", &self.next).finish_non_exhaustive()
    }
}

async fn words(live: Option<watch::Receiver<Live>>, heard: &mut Heard, step: usize) -> Words {
    match live {
        Some(live) => heard.next(live, step).await,
        None => std::future::pending().await,
    }
}

async fn end_of(running: &mut Option<Running>) -> End {
    match running {
        Some(running) => running.end().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
