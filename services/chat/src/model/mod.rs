//! The language model as the runner sees it: a transcript goes in, words or tool calls come out.
//!
//! A model never acts: it says what it wants and the runner decides. Every model keeps to this one
//! trait, so the built-in [`planner`] and a remote model are interchangeable. No model keeps
//! anything between two calls: what it should know is in the transcript.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    tool::{ToolCall, ToolResult},
    usage::Usage,
};

pub mod fallback;
pub mod openai;
pub mod planner;

/// Something that reads a conversation and says what comes next.
#[async_trait]
pub trait Model: Send + Sync {
    /// Its name, for traces.
    fn name(&self) -> &str {
        "model"
    }

    /// Who runs it, for traces.
    fn provider(&self) -> &'static str {
        "errand"
    }

    /// Where it is, for traces; nothing for one that is in this process.
    fn server(&self) -> Option<(&str, u16)> {
        None
    }

    /// Reads the conversation so far and answers with the next step of its last turn. Words of an answer that is
    /// being written may be told to `say` as they come; they count only once the answer is whole.
    async fn next(&self, transcript: &Transcript, say: &mut Saying<'_>) -> Result<Answer, Failure>;

    /// About how many bytes it is given to read of this, so that an answer that nobody waits for can be counted; nothing
    /// for a model that costs nothing.
    fn length(&self, _transcript: &Transcript) -> Option<usize> {
        None
    }

    /// Whether it makes titles.
    fn makes_titles(&self) -> bool {
        false
    }

    /// The title of a conversation that began with these words of the user and these of the assistant, as a reply.
    async fn title(&self, _said: &str, _answered: &str) -> Result<Answer, Failure> {
        Err(ModelError::NothingToAnswer.into())
    }
}

/// Hears the words of an answer as they are written. An empty piece says that they begin anew.
pub type Saying<'a> = dyn FnMut(&str) + Send + 'a;

/// What a model has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What it wants next.
    pub step: Step,
    /// What that cost; nothing for a model that costs nothing.
    pub usage: Option<Usage>,
    /// The name of the model that answered, if it said so.
    pub model: Option<String>,
}

/// Why there is no answer, and what was spent all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    pub error: ModelError,
    /// What was spent on answers that broke off; nothing when nothing was answered.
    pub usage: Option<Usage>,
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self { error, usage: None }
    }
}

impl From<Step> for Answer {
    fn from(step: Step) -> Self {
        Self { step, usage: None, model: None }
    }
}

/// A conversation as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The time to read "today" and "in two hours" by.
    pub now: Timestamp,
    /// The user's IANA time zone; UTC is taken for one that is not known.
    pub time_zone: String,
    /// What was said and done, newest last. It ends with the user's message of this turn, followed
    /// by the tool calls and results of this turn.
    pub entries: Vec<Entry>,
    /// The last turn of this conversation that changed something and was not taken back: what
    /// "undo that" is about.
    pub last_turn: Option<Uuid>,
    /// How many tokens its user may still spend today; nothing when that does not matter.
    pub left: Option<u64>,
}

impl Transcript {
    /// A conversation with nothing to take back, whose user may spend any number of tokens.
    #[must_use]
    pub fn new(now: Timestamp, time_zone: &str, entries: Vec<Entry>) -> Self {
        Self { now, time_zone: time_zone.to_owned(), entries, last_turn: None, left: None }
    }
}

/// One thing in a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// The user said something.
    User(String),
    /// The assistant replied.
    Assistant(String),
    /// The assistant called a tool.
    Call(ToolCall),
    /// A tool answered.
    Result(ToolResult),
}

/// What the model wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Say this and end the turn.
    Reply(String),
    /// Call these tools, in this order, and ask again.
    Call(Vec<ToolCall>),
}

/// Why a model could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The transcript has no message of the user to answer.
    #[error("the transcript has no message to answer")]
    NothingToAnswer,
    /// The model cannot be reached or gave no usable answer; asking again may help.
    #[error("the model is unavailable: {0}")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("the model takes too long: {0}")]
    TimedOut(String),
    /// It is asked more than it answers.
    #[error("the model has too much to do: {0}")]
    Busy(String),
}

impl ModelError {
    /// Its kind, for traces.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NothingToAnswer => "nothing_to_answer",
            Self::Unavailable(_) => "unavailable",
            Self::TimedOut(_) => "timeout",
            Self::Busy(_) => "busy",
        }
    }
}
