//! A language model behind an OpenAI-compatible endpoint: Chat Completions, streamed.
//!
//! What servers have in common is asked for, what they differ in is tolerated. Where the model is, its name and its
//! key come from the configuration and from nowhere else. Time is bounded at every point, what is read is bounded in
//! size, and a request is repeated only while nothing of an answer was used.

mod breaker;
mod catalogue;
pub mod check;
mod connection;
mod cut;
mod events;
mod gather;
mod limit;
mod place;
mod prompt;
mod request;
mod schema_mode;
mod title;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use self::connection::{Endpoint, Unusable};

use self::{
    breaker::{Breaker, Pass},
    connection::{Broken, Client, causes},
    events::{Events, Unreadable},
    gather::{Gathered, Whole},
    limit::Limit,
    request::{Form, Wants},
};
use super::{Answer, Failure, Model, ModelError, Saying, Step, Transcript};
use crate::domain::usage::{self, Usage};

const CHAT: &str = "/chat/completions";

/// What is waited before the second and the third try when the server does not say.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// The longest pause that a server may ask for and still be waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long the end of a stream is waited for once it has said that it is at its end.
const AFTER_END: Duration = Duration::from_millis(100);

/// The largest answer in bytes as it is sent, with all that stands around the words.
const LARGEST: usize = 32 * 1024 * 1024;

/// How much of a refusal is read.
const REFUSAL: usize = 64 * 1024;

/// How a model says what it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By calls of tools; by JSON if the server refuses those.
    #[default]
    Auto,
    /// By calls of tools.
    Tools,
    /// By JSON with a schema.
    JsonSchema,
}

/// Which model, and how long it may take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its name there.
    pub model: String,
    /// The key that it is asked with.
    pub key: Option<SecretString>,
    /// Certificates in PEM of who may vouch for it, beside those that browsers trust.
    pub authorities: Option<Vec<u8>>,
    /// How it says what it wants done.
    pub mode: Mode,
    /// About how many tokens of a conversation it reads.
    pub history_tokens: usize,
    /// How many tokens each of its answers may have.
    pub answer_tokens: u32,
    /// Whether it is asked for titles of conversations.
    pub titles: bool,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long it may be silent before its first byte.
    pub first: Duration,
    /// How long it may be silent after that.
    pub idle: Duration,
    /// How long an answer may take, with every try.
    pub total: Duration,
    /// How long it is not asked after it has failed several times.
    pub pause: Duration,
}

/// The model.
pub struct OpenAi {
    settings: Settings,
    client: Client,
    breaker: Breaker,
    /// How the server is asked, as far as it was found out.
    form: Mutex<Form>,
}

/// Why a try gave no answer.
#[derive(Debug)]
enum Trouble {
    /// The server answered, and not with what it was asked for.
    Refused { status: u16, message: String, after: Option<Duration> },
    /// Nothing of an answer was used: the same may be asked again.
    Nothing(ModelError),
    /// It can not be asked again.
    Broken(ModelError),
}

/// An answer, and what is told of it.
#[derive(Debug)]
struct Told {
    whole: Whole,
    usage: Option<Usage>,
    model: Option<String>,
}

impl Settings {
    /// A model with everything else as it usually is.
    #[must_use]
    pub fn new(endpoint: Endpoint, model: String) -> Self {
        Self {
            endpoint,
            model,
            key: None,
            authorities: None,
            mode: Mode::Auto,
            history_tokens: 16_000,
            answer_tokens: 4_096,
            titles: true,
            connect: Duration::from_secs(5),
            first: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(120),
            pause: Duration::from_secs(10),
        }
    }
}

// === impl OpenAi ===

impl OpenAi {
    /// A model that nothing was asked yet.
    ///
    /// # Errors
    /// When the key or the certificates can not be used.
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        let Settings { endpoint, key, authorities, connect, .. } = &settings;
        let client = Client::new(endpoint.clone(), key.as_ref(), authorities.as_deref(), *connect)?;
        let wants = if settings.mode == Mode::JsonSchema { Wants::Schema } else { Wants::Tools };
        let breaker = Breaker::new(settings.pause);
        Ok(Self { client, breaker, form: Mutex::new(Form::of(wants)), settings })
    }

    /// Asks until there is an answer, or nothing is left to try. What was spent on answers that broke off is added to
    /// `lost`.
    async fn ask(
        &self,
        transcript: &Transcript,
        say: &mut Saying<'_>,
        lost: &mut Option<Usage>,
    ) -> Result<(Form, Told), Trouble> {
        let deadline = Instant::now() + self.settings.total;
        let mut form = self.form();
        let mut pauses = PAUSES.iter();
        let mut first_refusal = None;
        let mut is_limited = true;
        loop {
            let limit = if is_limited { form.limit } else { Limit::Untold };
            let body = request::body(&self.settings, transcript, Form { limit, ..form });
            let trouble = match self.attempt(&body, form, deadline, say, lost).await {
                Ok(told) => return Ok((form, told)),
                Err(trouble) => trouble,
            };
            let again = match &trouble {
                // The next question may leave more room.
                Trouble::Refused { status: 400 | 422, message, .. } if limit::is_too_much(message) => {
                    (std::mem::take(&mut is_limited) && form.limit != Limit::Untold).then_some(form)
                }
                Trouble::Refused { status, message, .. } => self.plainer(form, *status, message),
                _ => None,
            };
            if let Some(again) = again {
                form = again;
                first_refusal.get_or_insert(trouble);
                continue;
            }
            let pause = trouble.pause().and_then(|asked| Some((asked, *pauses.next()?)));
            match pause {
                Some((asked, usual))
                    if Instant::now() + asked.unwrap_or(usual) < deadline && self.breaker.may_try_again() =>
                {
                    sleep(asked.unwrap_or(usual)).await;
                }
                // What it said at first says more than what it said to ever plainer questions.
                _ => return Err(first_refusal.unwrap_or(trouble)),
            }
        }
    }

    /// A question with less in it that a server might not know; nothing when the refusal is about something else.
    fn plainer(&self, form: Form, status: u16, message: &str) -> Option<Form> {
        let message = message.to_lowercase();
        let is_about = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let is_refusal = matches!(status, 400 | 422 | 501);
        if is_refusal && limit::is_about(&message) {
            return Some(Form { limit: form.limit.otherwise(&message)?, ..form });
        }
        if !(is_refusal || status == 500 || status == 404) || is_about(&["context", "too long", "exceed"]) {
            return None;
        }
        let is_auto = self.settings.mode == Mode::Auto;
        let about_usage = is_about(&["stream_options", "include_usage"]);
        let about_tools = is_about(&["tool", "function", "jinja"]);
        let about_schema = is_about(&["response_format", "schema", "grammar"]);
        let says_nothing = is_refusal && !about_usage && !about_tools && !about_schema;
        if form.usage && (about_usage || says_nothing) {
            return Some(Form { usage: false, ..form });
        }
        if says_nothing && form.limit != Limit::Untold {
            return Some(Form { limit: Limit::Untold, ..form });
        }
        let wants = match form.wants {
            Wants::Tools if is_auto && (about_tools || says_nothing) => Wants::Schema,
            Wants::Schema if about_schema || says_nothing => Wants::Words,
            _ => return None,
        };
        Some(Form { wants, ..form })
    }

    /// Leave to ask, unless it has failed too often lately.
    fn enter(&self) -> Result<Pass<'_>, ModelError> {
        self.breaker.enter().map_err(|left| {
            let seconds = left.as_secs();
            ModelError::Unavailable(format!("it has failed several times and is not asked again for {seconds} s"))
        })
    }

    /// How the server is asked, as far as it was found out.
    fn form(&self) -> Form {
        *self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once, until the deadline.
    async fn attempt(
        &self,
        body: &Value,
        form: Form,
        deadline: Instant,
        say: &mut Saying<'_>,
        lost: &mut Option<Usage>,
    ) -> Result<Told, Trouble> {
        let body = Bytes::from(body.to_string());
        let length = body.len();
        let until = deadline.min(Instant::now() + self.settings.first);
        let response = match timeout_at(until, self.client.post(CHAT, body)).await {
            Ok(Ok(response)) => response,
            Ok(Err(broken)) => return Err(Trouble::Nothing(broken.into())),
            Err(_) => return Err(Trouble::Broken(silent())),
        };
        let late = || Trouble::Broken(ModelError::TimedOut("it took too long to answer".to_owned()));
        if !response.status().is_success() {
            return Err(timeout_at(deadline, self.refusal(response)).await.unwrap_or_else(|_| late()));
        }
        let mut gathered = Gathered::default();
        let mut listener = schema_mode::Listener::default();
        let mut heard = |text: &str| match form.wants {
            Wants::Tools => say(text),
            Wants::Schema | Wants::Words => listener.hear(text, say),
        };
        let read = timeout_at(deadline, self.read(response.into_body(), until, &mut gathered, &mut heard)).await;
        let (model, spent, is_used) = (gathered.model.take(), gathered.spent(length), gathered.is_used());
        let whole = match read.unwrap_or_else(|_| Err(late())) {
            Ok(is_done) => gathered.whole(is_done, &mut heard).map_err(Trouble::Broken),
            Err(Trouble::Nothing(error)) if is_used => Err(Trouble::Broken(error)),
            Err(trouble) => Err(trouble),
        };
        let (whole, usage) = whole.inspect_err(|_| *lost = usage::sum(*lost, spent))?;
        // A server that counts nothing is counted for.
        let usage = usage.unwrap_or_else(|| Usage::estimated(length, &whole.text, &whole.calls));
        Ok(Told { whole, usage: Some(usage), model })
    }

    /// Reads an answer to its end, and says whether that end was marked.
    async fn read(
        &self,
        mut body: Incoming,
        first: Instant,
        gathered: &mut Gathered,
        say: &mut Saying<'_>,
    ) -> Result<bool, Trouble> {
        let mut events = Events::default();
        let mut size = 0;
        let mut until = first;
        let mut take = |value: Value| gathered.take(&value, say);
        loop {
            let frame = match timeout_at(until, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let ended = format!("its answer broke off: {}", causes(&error));
                    return Err(Trouble::Nothing(ModelError::Unavailable(ended)));
                }
                Ok(None) => break,
                Err(_) if events.is_done() => break,
                Err(_) => return Err(Trouble::Broken(silent())),
            };
            let Ok(data) = frame.into_data() else { continue };
            size += data.len();
            if size > LARGEST {
                return Err(Trouble::Broken(Unreadable::TooLong.into()));
            }
            events.feed(&data, &mut take).map_err(Trouble::Broken)?;
            until = Instant::now() + if events.is_done() { AFTER_END } else { self.settings.idle };
        }
        events.end(&mut take).map_err(Trouble::Broken)?;
        Ok(events.is_done())
    }

    /// What a server says that does not answer.
    async fn refusal(&self, response: http::Response<Incoming>) -> Trouble {
        let status = response.status().as_u16();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let after = seconds.map(Duration::from_secs);
        let read = timeout(self.settings.idle, Limited::new(response.into_body(), REFUSAL).collect()).await;
        let bytes = read.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let error = value.get("error").unwrap_or(&value);
        let message = error.get("message").or_else(|| value.get("detail")).unwrap_or(error);
        let message = message.as_str().map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
        Trouble::Refused { status, message: message.chars().take(500).collect(), after }
    }
}

#[async_trait]
impl Model for OpenAi {
    fn name(&self) -> &str {
        &self.settings.model
    }

    fn provider(&self) -> &'static str {
        "openai"
    }

    fn server(&self) -> Option<(&str, u16)> {
        let endpoint = self.client.endpoint();
        Some((endpoint.host(), endpoint.port()))
    }

    async fn next(&self, transcript: &Transcript, say: &mut Saying<'_>) -> Result<Answer, Failure> {
        let pass = self.enter()?;
        let mut lost = None;
        match self.ask(transcript, say, &mut lost).await {
            Ok((form, Told { whole, usage, model })) => {
                pass.succeed();
                *self.form.lock().unwrap_or_else(PoisonError::into_inner) = form;
                Ok(Answer { step: step(form, whole), usage: usage::sum(lost, usage), model })
            }
            Err(trouble) => {
                if trouble.is_outage() {
                    pass.fail();
                }
                Err(Failure { error: trouble.into(), usage: lost })
            }
        }
    }

    fn length(&self, transcript: &Transcript) -> Option<usize> {
        Some(request::body(&self.settings, transcript, self.form()).to_string().len())
    }

    fn makes_titles(&self) -> bool {
        self.settings.titles
    }

    async fn title(&self, said: &str, answered: &str) -> Result<Answer, Failure> {
        self.entitle(said, answered).await
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("model", &self.settings.model)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Reads the bytes of an answer as they would arrive, and puts the answer together: what the network is spared of in
/// tests, and what random bytes are thrown at.
///
/// # Errors
/// When they are no answer.
pub fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, say: &mut Saying<'_>) -> Result<Answer, ModelError> {
    let mut gathered = Gathered::default();
    let mut events = Events::default();
    for piece in pieces {
        events.feed(piece, &mut |value| gathered.take(&value, say))?;
    }
    events.end(&mut |value| gathered.take(&value, say))?;
    let model = gathered.model.take();
    let (whole, usage) = gathered.whole(events.is_done(), say)?;
    Ok(Answer { step: step(Form::of(Wants::Tools), whole), usage, model })
}

fn step(form: Form, whole: Whole) -> Step {
    if cut::is_cut(&whole) {
        return cut::step(form.wants, &whole);
    }
    match (whole.calls.is_empty(), form.wants) {
        (false, _) => Step::Call(whole.calls),
        (true, Wants::Tools) => Step::Reply(whole.text),
        (true, Wants::Schema | Wants::Words) => schema_mode::step(&whole.text),
    }
}

fn silent() -> ModelError {
    ModelError::TimedOut("it was silent for too long".to_owned())
}

// === impl Trouble ===

impl Trouble {
    /// How long the server asks to wait; nothing at all when the same is not asked again.
    fn pause(&self) -> Option<Option<Duration>> {
        match self {
            Self::Nothing(_) => Some(None),
            Self::Refused { status: 408 | 429 | 500 | 502 | 503 | 504, after, .. } => {
                after.is_none_or(|after| after <= LONGEST_PAUSE).then_some(*after)
            }
            Self::Refused { .. } | Self::Broken(_) => None,
        }
    }

    /// Whether the next one to ask would very likely fare no better.
    fn is_outage(&self) -> bool {
        match self {
            Self::Refused { status, .. } => !matches!(status, 400 | 413 | 422 | 429),
            Self::Nothing(error) | Self::Broken(error) => !matches!(error, ModelError::Busy(_)),
        }
    }
}

impl From<Trouble> for ModelError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused { status: 429, .. } => Self::Busy("it is asked too often".to_owned()),
            Trouble::Refused { status: status @ (401 | 403), .. } => {
                Self::Unavailable(format!("it refuses the key, with {status}"))
            }
            Trouble::Refused { status: status @ 300..=399, .. } => {
                Self::Unavailable(format!("it sends elsewhere, with {status}, where nobody follows"))
            }
            // Its words may hold what was said.
            Trouble::Refused { status, .. } => Self::Unavailable(format!("it refuses, with {status}")),
            Trouble::Nothing(error) | Trouble::Broken(error) => error,
        }
    }
}

impl From<Broken> for ModelError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Connect(error) => Self::Unavailable(format!("it can not be reached: {error}")),
            Broken::Ended(error) => Self::Unavailable(format!("it hung up: {error}")),
            Broken::TimedOut => Self::Unavailable("it can not be reached in time".to_owned()),
        }
    }
}
