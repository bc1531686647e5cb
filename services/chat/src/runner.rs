//! Carries turns on: the only loop of the service.
//!
//! It asks [`turn::next`] what to do, does it, stores the event that comes of it, and only then asks
//! again. Whoever fails to store a step has lost the turn to another runner and stops at once; the
//! lease only decides who tries. A turn runs in a task of its own, so a client that goes away does
//! not stop it. What the turn needs of its user, the token, lives here in memory: a turn that loses
//! it is parked until the user comes back.

pub(crate) mod ask;
pub(crate) mod live;
mod spans;
mod titles;
mod transcript;
mod word;

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use errand_changelog::{Listener, Seq, UserId};
use errand_chassis::clock::Clock;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::Instrument;
use uuid::Uuid;

use self::live::Live;
use crate::{
    domain::{
        approval, policy,
        rules::Rules,
        tool::ToolCall,
        turn::{self, Action, Event, Turn},
    },
    model::Model,
    store::{self, Appended, LEASE, Lease, NewEvents, Renewed, Store, Taken},
    task_tools::{Finished, Surveyed, TaskTools, Voice},
};

/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(3);

/// Carries turns on; cheap to clone.
#[derive(Clone)]
pub(crate) struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    model: Arc<dyn Model>,
    tools: TaskTools,
    clock: Arc<dyn Clock>,
    /// Who this runner is in leases.
    holder: Uuid,
    slots: Arc<Semaphore>,
    slots_in_all: u32,
    /// How many titles are made at once.
    titles: Arc<Semaphore>,
    /// What the operator lets tools do.
    rules: Rules,
    /// How many tokens of the model a user may spend on a day.
    budget: Option<u64>,
    running: Mutex<HashMap<Uuid, Running>>,
    closing: watch::Sender<bool>,
}

/// Room for one more turn.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A turn that somebody works on.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// What its model is writing.
    live: Arc<watch::Sender<Live>>,
    end: watch::Receiver<Option<End>>,
}

/// How working on a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The turn is over.
    Over,
    /// It is not, and waits for its user.
    Parked(Why),
}

/// Why a turn waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The user's token is not taken any more.
    TokenRefused,
    /// Another runner has it.
    Lost,
    /// This process is about to end.
    Closing,
    /// The store failed.
    Store(store::Error),
}

/// Why there is no room for one more turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// As many turns are running as may run at once.
    Full,
    /// This process is about to end.
    Closing,
}

/// What a runner knows of its owner's log.
#[derive(Debug, Clone, Copy)]
struct Own {
    /// Whether it is about to read or to add something.
    is_busy: bool,
    /// How far the log went with what it read or added last.
    head: Seq,
}

/// Takes a turn off the list, however its task ends.
struct Listed {
    inner: Arc<Inner>,
    turn: Uuid,
}

// === impl Runner ===

impl Runner {
    /// A runner of at most `slots` turns at once, under these rules of the operator, which spends no more than
    /// `budget` tokens of a user's day on what was not asked for.
    #[must_use]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        model: Arc<dyn Model>,
        tools: TaskTools,
        clock: Arc<dyn Clock>,
        slots: u32,
        rules: Rules,
        budget: Option<u64>,
    ) -> Self {
        let holder = clock.id();
        let inner = Inner {
            store,
            model,
            tools,
            clock,
            holder,
            slots: Arc::new(Semaphore::new(slots as usize)),
            slots_in_all: slots,
            titles: Arc::new(Semaphore::new(titles::AT_ONCE)),
            rules,
            budget,
            running: Mutex::default(),
            closing: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the operator lets tools do.
    #[must_use]
    pub(crate) fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    /// Room for one more turn, to be asked for before anything is stored.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn slot(&self) -> Result<Slot, NoSlot> {
        if *self.inner.closing.borrow() {
            return Err(NoSlot::Closing);
        }
        self.inner.slots.clone().try_acquire_owned().map(|permit| Slot { _permit: permit }).map_err(|_| NoSlot::Full)
    }

    /// The lease that this runner takes of a turn now.
    #[must_use]
    pub(crate) fn lease(&self) -> Lease {
        self.inner.lease()
    }

    /// The turn, if this runner works on it.
    #[must_use]
    pub(crate) fn running(&self, turn: Uuid) -> Option<Running> {
        self.inner.running().get(&turn).cloned()
    }

    /// Takes up a turn that waits. Nothing when it is over.
    ///
    /// # Errors
    /// [`Why::Lost`] when another runner has it, [`Why::Store`] when the store fails.
    pub(crate) async fn resume(
        &self,
        slot: Slot,
        owner: UserId,
        turn: Uuid,
        voice: Voice,
    ) -> Result<Option<Running>, Why> {
        let inner = &self.inner;
        match inner.store.take_lease(owner, turn, inner.lease(), inner.clock.now()).await {
            Ok(Taken::Yes) => Ok(Some(self.wake(slot, owner, turn, voice))),
            Ok(Taken::Held) => Err(Why::Lost),
            Ok(Taken::Over) => Ok(None),
            Err(error) => Err(Why::Store(error)),
        }
    }

    /// Works on a turn whose lease is this runner's, in a task of its own, unless it does already.
    pub(crate) fn wake(&self, slot: Slot, owner: UserId, turn: Uuid, voice: Voice) -> Running {
        let mut running = self.inner.running();
        if let Some(running) = running.get(&turn) {
            return running.clone();
        }
        let (ended, end) = watch::channel(None);
        let this = Running { end, live: Arc::new(watch::Sender::new(Live::default())) };
        running.insert(turn, this.clone());
        drop(running);
        let listed = Listed { inner: self.inner.clone(), turn };
        let span = spans::turn(turn);
        let inner = self.inner.clone();
        let work = async move {
            let end = inner.work(owner, turn, &voice).await;
            let is_over = end == End::Over;
            // First off the list, so that whoever is told can take the turn up again.
            drop(listed);
            drop(slot);
            ended.send_replace(Some(end));
            // Nobody waits for this.
            if is_over {
                inner.entitle(owner, turn).await;
            }
        };
        tokio::spawn(work.instrument(span));
        this
    }

    /// Parks every turn and takes no more.
    pub(crate) async fn close(&self) {
        self.inner.closing.send_replace(true);
        // All slots are free once nobody works any more.
        if let Ok(all) = self.inner.slots.acquire_many(self.inner.slots_in_all).await {
            all.forget();
        }
        if let Ok(all) = self.inner.titles.acquire_many(titles::ALL).await {
            all.forget();
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("running", &self.inner.running().len()).finish_non_exhaustive()
    }
}

// === impl Running ===

impl Running {
    /// What its model is writing.
    pub(crate) fn live(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    /// Waits until nobody works on the turn any more.
    pub(crate) async fn end(&mut self) -> End {
        match self.end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(End::Parked(Why::Lost)),
            Err(_) => End::Parked(Why::Lost),
        }
    }
}

// === impl Listed ===

impl Drop for Listed {
    fn drop(&mut self) {
        self.inner.running().remove(&self.turn);
    }
}

// === impl Inner ===

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> Lease {
        let until = self.clock.now().saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        Lease { holder: self.holder, until }
    }

    async fn work(&self, owner: UserId, id: Uuid, voice: &Voice) -> End {
        // Before the turn is read: a wish in between is seen twice, not missed.
        let listener = self.store.hints().subscribe(owner);
        let own = watch::Sender::new(Own { is_busy: true, head: 0 });
        // Whether the user wants it to stop: before its next action, and at once while it waits for
        // the model.
        let cancelled = &watch::Sender::new(false);
        let end = tokio::select! {
            biased;
            end = self.steps(owner, id, voice, cancelled, &own) => end.unwrap_or_else(End::Parked),
            why = self.keep_lease(owner, id, cancelled) => End::Parked(why),
            () = is_set(self.closing.subscribe()) => End::Parked(Why::Closing),
            never = self.heed(owner, id, cancelled, listener, own.subscribe()) => match never {},
        };
        if let End::Parked(why) = &end {
            tracing::info!(turn.id = %id, user.id = %owner, why = ?why, "a turn is parked");
            if *why != Why::Lost
                && let Err(error) = self.store.release_lease(owner, id, self.holder).await
            {
                tracing::debug!(turn.id = %id, error = %error, "a lease runs out by itself");
            }
        }
        end
    }

    /// Ends only when the lease is lost. A store that fails for a moment costs no lease.
    async fn keep_lease(&self, owner: UserId, id: Uuid, cancelled: &watch::Sender<bool>) -> Why {
        loop {
            tokio::time::sleep(RENEWAL).await;
            match self.store.renew_lease(owner, id, self.lease()).await {
                Ok(Renewed::Kept { is_cancelled }) => wish(cancelled, is_cancelled),
                Ok(Renewed::Lost) => {
                    // Also when the turn has just ended: whoever ended it is heard first.
                    tokio::task::yield_now().await;
                    return Why::Lost;
                }
                Err(error) => tracing::warn!(turn.id = %id, error = %error, "renewing a lease failed"),
            }
        }
    }

    /// Looks whether the turn is to stop, whenever something happens in the owner's log that is not
    /// this runner's doing. The wish may be told to another process.
    async fn heed(
        &self,
        owner: UserId,
        id: Uuid,
        cancelled: &watch::Sender<bool>,
        mut listener: Listener,
        mut own: watch::Receiver<Own>,
    ) -> Infallible {
        let mut head = 0;
        while !*cancelled.borrow() {
            let newest = listener.newer_than(head).await;
            // What is being read or stored answers whether the turn is to stop.
            let known = own.wait_for(|own| !own.is_busy).await.map_or(0, |own| own.head);
            if newest <= known {
                head = known;
                continue;
            }
            match self.store.follow(owner, id, usize::MAX).await {
                Ok(Some(followed)) => {
                    head = followed.head;
                    wish(cancelled, followed.is_cancelled);
                }
                // It is gone, which the next step finds out.
                Ok(None) => head = newest,
                Err(error) => {
                    tracing::debug!(turn.id = %id, error = %error, "looking for a wish failed");
                    tokio::time::sleep(RENEWAL).await;
                }
            }
        }
        std::future::pending().await
    }

    /// The loop.
    async fn steps(
        &self,
        owner: UserId,
        id: Uuid,
        voice: &Voice,
        cancelled: &watch::Sender<bool>,
        own: &watch::Sender<Own>,
    ) -> Result<End, Why> {
        let Some(mut turn) = self.store.turn(owner, id).await.map_err(Why::Store)? else {
            return Ok(End::Over);
        };
        wish(cancelled, turn.is_cancelled);
        own.send_replace(Own { is_busy: false, head: turn.head });
        loop {
            let from = turn.events.len();
            let mut new = match turn::next(&turn.events) {
                Action::Stop => return Ok(End::Over),
                // What was decided is still said: stopping would take nothing back.
                Action::Reply(_) => Vec::new(),
                _ if *cancelled.borrow() => vec![Event::Cancelled],
                action => self.act(owner, &turn, action, voice, cancelled).await?,
            };
            turn.events.append(&mut new);
            // A reply has no effect but its event: it is stored with the words that it says.
            if let Action::Reply(text) = turn::next(&turn.events) {
                let reply = turn::replied(&turn.events, self.clock.id(), &text);
                turn.events.push(reply);
            }
            let events = turn.events.get(from..).unwrap_or_default().to_vec();
            let (has_changed, undone) = (turn::has_changed(&turn.events, from), turn::undone(&turn.events, from));
            let new = NewEvents { from, events, has_changed, undone, now: self.clock.now() };
            own.send_modify(|own| own.is_busy = true);
            match self.store.append(owner, id, new).await.map_err(Why::Store)? {
                Appended::Stored { head, is_cancelled } => {
                    wish(cancelled, is_cancelled);
                    own.send_replace(Own { is_busy: false, head });
                }
                Appended::Lost => return Err(Why::Lost),
            }
        }
    }

    /// Does what comes next and answers with what came of it.
    async fn act(
        &self,
        owner: UserId,
        turn: &Turn,
        action: Action<'_>,
        voice: &Voice,
        cancelled: &watch::Sender<bool>,
    ) -> Result<Vec<Event>, Why> {
        Ok(match action {
            Action::AskModel => {
                let events = self.ask(owner, turn, cancelled).await?;
                self.restricted(owner, turn, events).await?
            }
            Action::CallTool { call, step } => {
                match spans::tool(call, self.tools.call(voice, turn.id, step, call)).await {
                    Finished::Outcome(outcome) => vec![turn::finished(&turn.events, &call.id, outcome)],
                    Finished::TokenRefused => return Err(Why::TokenRefused),
                }
            }
            Action::Prepare { call, is_again } => self.prepare(owner, turn, call, is_again, voice).await?,
            Action::Refuse { call_id, failure } => {
                vec![Event::ToolFinished { call_id: call_id.to_owned(), outcome: Err(failure.clone()) }]
            }
            Action::Reply(_) | Action::Stop => Vec::new(),
        })
    }

    /// Binds a call to what it touches now, and asks the user.
    async fn prepare(
        &self,
        owner: UserId,
        turn: &Turn,
        call: &ToolCall,
        is_again: bool,
        voice: &Voice,
    ) -> Result<Vec<Event>, Why> {
        let finished = |failure| Event::ToolFinished { call_id: call.id.clone(), outcome: Err(failure) };
        let prepared = match self.tools.survey(voice, turn.id, &approval::named(call)).await {
            Surveyed::Tasks(tasks) => approval::prepare(owner, call, &tasks, self.clock.now(), is_again),
            Surveyed::Failed(failure) => Err(failure),
            Surveyed::TokenRefused => return Err(Why::TokenRefused),
        };
        Ok(match prepared {
            Ok(approval) if is_again => vec![Event::ApprovalRequested(approval)],
            Ok(approval) => vec![finished(policy::waiting()), Event::ApprovalRequested(approval)],
            Err(failure) => vec![finished(failure)],
        })
    }
}

/// Keeps the wish to stop; one that was heard is never taken back.
fn wish(cancelled: &watch::Sender<bool>, is_cancelled: bool) {
    cancelled.send_if_modified(|known| !std::mem::replace(known, *known || is_cancelled) && is_cancelled);
}

async fn is_set(mut flag: watch::Receiver<bool>) {
    while !*flag.borrow_and_update() {
        if flag.changed().await.is_err() {
            return;
        }
    }
}
