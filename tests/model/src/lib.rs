//! A language model for tests: a server of Chat Completions that answers as a test tells it to.
//!
//! It stands in for what a test can not have, a model that costs money or that nobody can foresee. What it speaks is
//! real: HTTP over a socket of the loopback address, streamed or whole, in the dialects of the servers that people
//! run ([`Dialect`]), and with the faults that such servers have ([`Fault`]). What it says is a function of what it was
//! asked. It is plain threads, so that a test may block and a runtime of the test may be gone.

#![expect(clippy::expect_used, reason = "a test that has no model must end")]

mod asked;
mod dialect;
mod fault;
mod wire;

use std::{
    io::BufReader,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::{Value, json};

pub use asked::Asked;
pub use dialect::{Dialect, Quirks};
pub use fault::Fault;

use wire::{Begun, Connection};

/// What each answer is said to have cost: tokens of the prompt and of the answer.
pub const COST: (u64, u64) = (100, 10);

/// A running server. It ends with this.
#[derive(Debug)]
pub struct ModelServer {
    shared: Arc<Shared>,
}

/// What the model does when it is asked.
#[derive(Debug, Clone)]
pub enum Reply {
    /// It says this, word by word.
    Text(String),
    /// It calls these tools.
    Calls(Vec<Call>),
    /// It says the first, and waits in the middle for [`Gate::open`] before it goes on with the second.
    Paused(String, Arc<Gate>, String),
    /// Something is wrong.
    Fault(Fault),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id; with an empty one it has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments as they are sent: JSON, unless a test says otherwise.
    pub arguments: String,
}

/// Something that a server waits for.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

struct Shared {
    address: SocketAddr,
    script: Box<Script>,
    quirks: Mutex<Quirks>,
    /// What it calls conversations; it refuses to where nothing is said.
    titles: Mutex<Option<Arc<Script>>>,
    asked: Mutex<Vec<Asked>>,
    begun: Begun,
    asked_for_titles: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    /// Connections that a client has closed while it was owed something.
    abandoned: AtomicUsize,
    is_over: AtomicBool,
    models: Vec<&'static str>,
}

impl ModelServer {
    /// A server on a free port that answers with what `script` makes of each request.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start(dialect: Dialect, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let shared = Arc::new(Shared {
            address: listener.local_addr().expect("an address"),
            script: Box::new(script),
            quirks: Mutex::new(Quirks::of(dialect)),
            titles: Mutex::default(),
            asked: Mutex::default(),
            begun: Begun::default(),
            asked_for_titles: Mutex::default(),
            connections: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            models: vec!["scripted", "another"],
        });
        let here = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if here.is_over.load(Ordering::Relaxed) {
                    return;
                }
                here.connections.fetch_add(1, Ordering::Relaxed);
                let shared = here.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { shared }
    }

    /// The same, which says one thing whatever it is asked.
    pub fn saying(dialect: Dialect, text: &'static str) -> Self {
        Self::start(dialect, move |_| Reply::Text(text.to_owned()))
    }

    /// What to set as `ERRAND_LLM_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.shared.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// From now on it makes titles of conversations, so. Without this it refuses to, which costs nothing.
    pub fn entitle(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.shared.titles.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(script));
    }

    /// What it was asked to make titles of.
    pub fn asked_for_titles(&self) -> Vec<Asked> {
        self.shared.asked_for_titles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it was asked, in order; without what was asked for the list of models, and for titles.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the first byte of each streamed answer was written, in order.
    pub fn begun(&self) -> Vec<Instant> {
        self.shared.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many answers a client has not waited for.
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::Relaxed)
    }

    /// Changes how it speaks from now on.
    pub fn set(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.shared.quirks.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        _ = TcpStream::connect(self.shared.address);
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, stream: TcpStream) {
        _ = stream.set_nodelay(true);
        let Ok(read) = stream.try_clone() else { return };
        let mut reader = BufReader::new(read);
        let mut connection = Connection::new(stream, self.begun.clone());
        while let Ok(Some(asked)) = Asked::read(&mut reader) {
            let answered = match (asked.method.as_str(), asked.path.as_str()) {
                ("GET", "/v1/models") => {
                    let models: Vec<Value> =
                        self.models.iter().map(|id| json!({ "id": id, "object": "model" })).collect();
                    connection.whole(200, &[], "application/json", &json!({ "object": "list", "data": models }))
                }
                ("POST", "/v1/chat/completions") => self.answer(&asked, &mut connection),
                _ => connection.whole(404, &[], "application/json", &json!({ "error": { "message": "no such path" } })),
            };
            if answered.is_err() || connection.is_over {
                if answered.is_err() {
                    self.abandoned.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
        }
    }

    fn answer(&self, asked: &Asked, connection: &mut Connection) -> std::io::Result<()> {
        let quirks = self.quirks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if asked.wants_title() {
            self.asked_for_titles.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
            let script = self.titles.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return match script.map(|script| script(asked)) {
                None => Fault::status(400).show(connection, &quirks),
                Some(Reply::Fault(fault)) => fault.show(connection, &quirks),
                Some(reply) => dialect::answer(asked, &reply, &quirks, connection),
            };
        }
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        if let Some(fault) = quirks.refuses(asked) {
            return fault.show(connection, &quirks);
        }
        match (self.script)(asked) {
            Reply::Fault(fault) => fault.show(connection, &quirks),
            reply => dialect::answer(asked, &reply, &quirks, connection),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Call ===

impl Call {
    /// A call with a made id.
    #[expect(clippy::needless_pass_by_value, reason = "written with json! in place")]
    pub fn new(name: &str, arguments: Value) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = format!("call_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, name: name.to_owned(), arguments: arguments.to_string() }
    }
}

// === impl Reply ===

impl Reply {
    /// One call.
    pub fn call(name: &str, arguments: Value) -> Self {
        Self::Calls(vec![Call::new(name, arguments)])
    }

    /// Words.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

// === impl Gate ===

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_open, |is_open| !*is_open));
    }
}
