//! Keeps one connection in reserve: it asks whether the server is there, and cancels what nobody waits for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool::managed::Object;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _,
    postgres::{PgConnectOptions, PgConnection},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::connection::{Connection, Manager, NOT_OURS, jitter};

/// How often the server is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// While it is not, the pauses between attempts grow from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// An answer that takes longer makes the server suspicious, ...
const SLOW: Duration = Duration::from_millis(1500);
/// ... and one that takes longer than this is none.
const NO_ANSWER: Duration = Duration::from_secs(4);
/// Cancels that may wait for their turn.
const CANCELS_WAITING: usize = 1024;
/// How long a statement may take to end that was cancelled.
const DRAIN: Duration = Duration::from_secs(60);

/// A handle on the task that has the reserved connection; the task ends with the last handle, or when closed.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Shared>);

struct Shared {
    cancels: mpsc::Sender<Cancel>,
    reachable: watch::Receiver<bool>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The server does not answer at the moment.
    silent: AtomicBool,
    /// Somebody lost a connection.
    suspected: Notify,
    /// Nobody needs the task any more.
    closing: Notify,
}

/// Cancels what a process runs, unless it was withdrawn before, and says whether that is over: one that may still
/// come must find nobody.
struct Cancel {
    pid: i32,
    claim: Arc<Claim>,
    over: oneshot::Sender<bool>,
}

/// Who was first: the cancel that began, or the statement that ended by itself.
#[derive(Default)]
struct Claim(AtomicBool);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

struct Task {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    reachable: watch::Sender<bool>,
    state: Arc<State>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (cancels, waiting) = mpsc::channel(CANCELS_WAITING);
        let (sender, reachable) = watch::channel(true);
        let state = Arc::<State>::default();
        let options = options.statement_cache_capacity(0);
        let task = Task { options, connection: None, reachable: sender, state: Arc::clone(&state) };
        tokio::spawn(task.run(waiting));
        Self(Arc::new(Shared { cancels, reachable, state }))
    }

    /// Whether the server can be reached, as far as is known.
    pub(super) fn reachable(&self) -> watch::Receiver<bool> {
        self.0.reachable.clone()
    }

    /// Whether the server leaves us waiting for an answer to a trivial question.
    pub(super) fn is_silent(&self) -> bool {
        self.0.state.silent.load(Ordering::Relaxed)
    }

    /// Something went wrong with a connection: look now.
    pub(super) fn suspect(&self) {
        self.0.state.suspected.notify_one();
    }

    /// Cancels what runs on a connection and gives it back to the pool after that.
    pub(super) fn reclaim(&self, connection: Object<Manager>) {
        let Ok(runtime) = Handle::try_current() else {
            // The runtime is going down, and everything with it.
            drop(Object::take(connection));
            return;
        };
        let keeper = self.clone();
        runtime.spawn(async move {
            let mut held = connection;
            let clean = timeout(DRAIN, keeper.cancel(&mut held)).await.unwrap_or(false);
            if !clean {
                drop(Object::take(held));
                keeper.suspect();
            }
        });
    }

    /// Cancels what runs on a connection and reads it away. Whether the connection can be used again.
    async fn cancel(&self, held: &mut Connection) -> bool {
        if held.pid() == NOT_OURS {
            return held.drain().await;
        }
        let (over, mut answer) = oneshot::channel();
        let claim = Arc::<Claim>::default();
        let cancel = Cancel { pid: held.pid(), claim: Arc::clone(&claim), over };
        if self.0.cancels.send(cancel).await.is_err() {
            return false;
        }
        tokio::select! {
            cancelled = &mut answer => return cancelled.unwrap_or(false) && held.drain().await,
            // The cancel has to wait, and the statement ends, or its server does: then the process may soon be
            // somebody else.
            settled = held.settle() => if claim.take() {
                return settled && held.drain().await;
            },
        }
        answer.await.unwrap_or(false) && held.drain().await
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        self.0.state.closing.notify_one();
    }
}

// === impl Task ===

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<Cancel>) {
        let mut pause = Duration::ZERO;
        // Closed by the last handle, too, which a silent server must not hide.
        while !waiting.is_closed() || !waiting.is_empty() {
            tokio::select! {
                biased;
                () = self.state.closing.notified() => break,
                // A server that is silent hears no cancel, either.
                cancel = waiting.recv(), if !self.state.silent.load(Ordering::Relaxed) => match cancel {
                    Some(Cancel { pid, claim, over }) => if claim.take() {
                        let _ = over.send(self.cancel(pid).await);
                    },
                    None => break,
                },
                () = self.state.suspected.notified(), if *self.reachable.borrow() => {
                    pause = self.look(pause).await;
                }
                () = sleep(pause) => pause = self.look(pause).await,
            }
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Asks the server, tells who listens, and answers how long to wait before asking again.
    async fn look(&mut self, pause: Duration) -> Duration {
        let state = Arc::clone(&self.state);
        let answers = {
            let asking = self.ask("SELECT 1");
            tokio::pin!(asking);
            match timeout(SLOW, &mut asking).await {
                Ok(answers) => answers,
                Err(_) => {
                    state.silent.store(true, Ordering::Relaxed);
                    timeout(NO_ANSWER - SLOW, asking).await.unwrap_or(false)
                }
            }
        };
        if answers {
            self.state.silent.store(false, Ordering::Relaxed);
        } else {
            self.connection = None;
        }
        let was = *self.reachable.borrow();
        self.reachable.send_if_modified(|reachable| std::mem::replace(reachable, answers) != answers);
        match (was, answers) {
            (true, false) => tracing::warn!("the database can not be reached"),
            (false, true) => tracing::info!("the database can be reached again"),
            _ => {}
        }
        match answers {
            true => jitter(ASK_EVERY),
            false if was => FIRST_PAUSE,
            false => jitter((pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE)),
        }
    }

    async fn cancel(&mut self, pid: i32) -> bool {
        let sql = format!("SELECT pg_cancel_backend({pid})");
        let once = async {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.options.connect().await.ok()?,
            };
            self.ask_on(connection, &sql).await.then_some(())
        };
        match timeout(SLOW, once).await {
            Ok(cancelled) => cancelled.is_some(),
            Err(_) => {
                self.state.silent.store(true, Ordering::Relaxed);
                false
            }
        }
    }

    /// Sends a statement that has no values over the reserved connection; whether it came back.
    async fn ask(&mut self, sql: &str) -> bool {
        // A connection that was lost says nothing about the server: only one that can not be made does.
        if let Some(connection) = self.connection.take()
            && self.ask_on(connection, sql).await
        {
            return true;
        }
        match self.options.connect().await {
            Ok(connection) => self.ask_on(connection, sql).await,
            Err(error) => {
                tracing::debug!(error = %error, "the database was asked and is not there");
                false
            }
        }
    }

    async fn ask_on(&mut self, mut connection: PgConnection, sql: &str) -> bool {
        let answered = connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await;
        if answered.is_ok() {
            self.connection = Some(connection);
        }
        answered.is_ok()
    }
}
