//! Argon2id on threads of its own.
//!
//! A hash needs 19 MiB that must be touched throughout, so the threads, one per core, keep their
//! memory from one hash to the next and give it back when nothing was asked of them for a while. The
//! queue is bounded: more than it holds is refused at once rather than late. What nobody waits for
//! any more is not hashed. Imported hashes of bcrypt are verified here, too, and never made. Our hashes are PHC strings; which passwords are allowed is decided in `domain`.

pub mod imported;

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt},
};
use aws_lc_rs::constant_time;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

use crate::domain::account::PasswordHash;

/// The least memory of a hash, in KiB.
pub const LEAST_MEMORY: u32 = 19_456;
/// The fewest passes of a hash.
pub const FEWEST_PASSES: u32 = 2;

/// Behind those who serve: hashing gets what they leave, and about a seventieth of each core where they leave nothing.
const NICENESS: i32 = 19;
/// How long a thread keeps its memory when it has nothing to do.
const IDLE: Duration = Duration::from_secs(10);
const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 32;

/// Why there is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many wait already, or it is closing.
    #[error("too many passwords are waiting to be hashed")]
    Overloaded,
    /// The hash function refused its parameters, or a thread could not be started.
    #[error("password hashing failed: {0}")]
    Failed(&'static str),
}

/// Whether a password is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not.
    Wrong,
    /// It is.
    Right,
    /// It is, and its hash was made with weaker parameters than are used now, or by bcrypt.
    RightButWeak,
}

/// How to hash.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Memory of one hash, in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Threads; one hash at a time each.
    pub threads: usize,
    /// Hashes that may wait.
    pub queue: usize,
    /// How long a thread without work keeps its memory.
    pub idle: Duration,
}

/// The hashing threads. They end when this is dropped or closed.
pub struct Passwords {
    shared: Arc<Shared>,
    params: Params,
    /// What a password is compared with when there is no account, so that this costs the same.
    dummy: PasswordHash,
}

struct Shared {
    queue: Mutex<Queue>,
    limit: usize,
    ready: Condvar,
    hashes: AtomicU64,
    holding: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

enum Job {
    Hash(SecretString, Params, oneshot::Sender<Result<PasswordHash, Error>>),
    Verify(SecretString, PasswordHash, Params, oneshot::Sender<Result<Verdict, Error>>),
}

enum Next {
    Job(Job),
    Idle,
    Closed,
}

// === impl Passwords ===

impl Passwords {
    /// Starts the threads. Parameters below the floor are raised to it.
    ///
    /// # Errors
    /// When a thread can not be started.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let memory = settings.memory.max(LEAST_MEMORY);
        let passes = settings.passes.max(FEWEST_PASSES);
        let params = Params::new(memory, passes, 1, Some(HASH_LENGTH)).map_err(failed)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            limit: settings.queue,
            ready: Condvar::new(),
            hashes: AtomicU64::new(0),
            holding: AtomicUsize::new(0),
        });
        let dummy = phc(&params, &[0; SALT_LENGTH], &[0; HASH_LENGTH])?;
        let passwords = Self { shared, params, dummy };
        for index in 0..settings.threads.max(1) {
            let shared = passwords.shared.clone();
            thread::Builder::new()
                .name(format!("password{index}"))
                .spawn(move || {
                    // Only this thread's, as Linux has it. Where it is refused, storms of sign-ins are felt more.
                    _ = rustix::process::setpriority_process(None, NICENESS);
                    shared.work(settings.idle);
                })
                .map_err(|_| Error::Failed("a thread could not be started"))?;
        }
        Ok(passwords)
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn hash(&self, password: SecretString) -> Result<PasswordHash, Error> {
        let (answer, answered) = oneshot::channel();
        self.shared.push(Job::Hash(password, self.params.clone(), answer))?;
        answered.await.unwrap_or(Err(Error::Overloaded))
    }

    /// Compares a password with a hash; with none it is wrong, after the same work.
    ///
    /// # Errors
    /// When too many wait already, or the hash is none that is understood.
    pub async fn verify(&self, password: SecretString, hash: Option<&PasswordHash>) -> Result<Verdict, Error> {
        let (answer, answered) = oneshot::channel();
        let against = hash.unwrap_or(&self.dummy).clone();
        self.shared.push(Job::Verify(password, against, self.params.clone(), answer))?;
        let verdict = answered.await.unwrap_or(Err(Error::Overloaded))?;
        Ok(if hash.is_some() { verdict } else { Verdict::Wrong })
    }

    /// How many hashes have been made.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.shared.hashes.load(Ordering::Relaxed)
    }

    /// How many threads hold memory now.
    #[must_use]
    pub fn holding(&self) -> usize {
        self.shared.holding.load(Ordering::Relaxed)
    }

    /// Takes no more and lets what waits go unanswered.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.jobs.clear();
        self.shared.ready.notify_all();
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: LEAST_MEMORY,
            passes: FEWEST_PASSES,
            threads: thread::available_parallelism().map_or(2, usize::from),
            queue: 256,
            idle: IDLE,
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut queue = self.lock();
        if queue.closed || queue.jobs.len() >= self.limit {
            return Err(Error::Overloaded);
        }
        queue.jobs.push_back(job);
        self.ready.notify_one();
        Ok(())
    }

    /// The next job that somebody waits for; `Idle` when there was none for so long.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut queue = self.lock();
        loop {
            while let Some(job) = queue.jobs.pop_front() {
                if !job.is_abandoned() {
                    return Next::Job(job);
                }
            }
            if queue.closed {
                return Next::Closed;
            }
            queue = match patience {
                None => self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (queue, waited) =
                        self.ready.wait_timeout(queue, patience).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() && queue.jobs.is_empty() && !queue.closed {
                        return Next::Idle;
                    }
                    queue
                }
            };
        }
    }

    fn work(&self, idle: Duration) {
        let mut memory: Vec<Block> = Vec::new();
        loop {
            let holds = !memory.is_empty();
            match self.next(holds.then_some(idle)) {
                Next::Job(job) => {
                    if !holds && job.needs_memory() {
                        self.holding.fetch_add(1, Ordering::Relaxed);
                    }
                    // Before the answer, so that whoever has that finds the hash counted.
                    self.hashes.fetch_add(1, Ordering::Relaxed);
                    job.run(&mut memory);
                }
                Next::Idle => {
                    memory = Vec::new();
                    self.holding.fetch_sub(1, Ordering::Relaxed);
                }
                Next::Closed => return,
            }
        }
    }
}

// === impl Job ===

impl Job {
    fn is_abandoned(&self) -> bool {
        match self {
            Job::Hash(_, _, answer) => answer.is_closed(),
            Job::Verify(_, _, _, answer) => answer.is_closed(),
        }
    }

    fn needs_memory(&self) -> bool {
        !matches!(self, Job::Verify(_, against, ..) if imported::is_bcrypt(against))
    }

    fn run(self, memory: &mut Vec<Block>) {
        match self {
            Job::Hash(password, params, answer) => {
                let _ = answer.send(hash(&password, &params, memory));
            }
            Job::Verify(password, against, params, answer) => {
                let _ = answer.send(verify(&password, &against, &params, memory));
            }
        }
    }
}

fn hash(password: &SecretString, params: &Params, memory: &mut Vec<Block>) -> Result<PasswordHash, Error> {
    let mut salt = [0; SALT_LENGTH];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| Error::Failed("the system has no randomness"))?;
    let output = digest(password, &salt, Version::V0x13, params, memory)?;
    phc(params, &salt, &output)
}

fn verify(
    password: &SecretString,
    against: &PasswordHash,
    now: &Params,
    memory: &mut Vec<Block>,
) -> Result<Verdict, Error> {
    if imported::is_bcrypt(against) {
        return imported::verify(password, against);
    }
    let stored = Phc::new(against.as_str()).map_err(|_| Error::Failed("a stored hash is no PHC string"))?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
        return Err(Error::Failed("a stored hash has no salt or no hash"));
    };
    if stored.algorithm != ARGON2ID_IDENT {
        return Err(Error::Failed("a stored hash is not of argon2id"));
    }
    let params = Params::try_from(&stored).map_err(|_| Error::Failed("a stored hash has unknown parameters"))?;
    let version = stored.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(failed)?;
    let mut output = vec![0; expected.len()];
    fill(password, salt.as_ref(), version, &params, memory, &mut output)?;
    if constant_time::verify_slices_are_equal(&output, expected.as_ref()).is_err() {
        return Ok(Verdict::Wrong);
    }
    let is_weak = params.m_cost() < now.m_cost() || params.t_cost() < now.t_cost() || version != Version::V0x13;
    Ok(if is_weak { Verdict::RightButWeak } else { Verdict::Right })
}

fn digest(
    password: &SecretString,
    salt: &[u8],
    version: Version,
    params: &Params,
    memory: &mut Vec<Block>,
) -> Result<[u8; HASH_LENGTH], Error> {
    let mut output = [0; HASH_LENGTH];
    fill(password, salt, version, params, memory, &mut output)?;
    Ok(output)
}

fn fill(
    password: &SecretString,
    salt: &[u8],
    version: Version,
    params: &Params,
    memory: &mut Vec<Block>,
    output: &mut [u8],
) -> Result<(), Error> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::new());
    }
    Argon2::new(Algorithm::Argon2id, version, params.clone())
        .hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, output, memory)
        .map_err(failed)
}

fn phc(params: &Params, salt: &[u8], output: &[u8]) -> Result<PasswordHash, Error> {
    let unwritable = |_| Error::Failed("the hash can not be written down");
    let phc = Phc {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| Error::Failed("the parameters can not be written down"))?,
        salt: Some(Salt::new(salt).map_err(unwritable)?),
        hash: Some(Output::new(output).map_err(unwritable)?),
    };
    Ok(PasswordHash::new(phc.to_string()))
}

fn failed(_: argon2::Error) -> Error {
    Error::Failed("the parameters are refused")
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
mod tests;
