//! `[llm]`: the language model that the assistant thinks with. Without one it is the built-in planner.

use std::{path::PathBuf, time::Duration};

use errand_chat::model::openai::{self, Endpoint, Mode};
use secrecy::{ExposeSecret, SecretString};

use super::{
    setting,
    source::Sources,
    value::{Quoted, Value},
};

/// Which model, and within which bounds.
#[derive(Debug)]
pub(crate) struct Llm {
    /// What is asked; nothing for the planner.
    pub(crate) model: Option<openai::Settings>,
    /// `ERRAND_LLM_FALLBACK`, default `none`. Who answers when the model does not.
    pub(crate) fallback: Fallback,
    /// `ERRAND_LLM_TOKENS_PER_DAY`, default as many as they like. What each user may spend on a day.
    pub(crate) tokens_a_day: Option<u32>,
}

/// Who answers when the model does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nobody: the turn says so.
    None,
    /// The built-in planner.
    Planner,
}

/// Who makes the titles of conversations: `ERRAND_LLM_TITLES`, default `model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Titles {
    /// The model, in a request of its own.
    Model,
    /// A rule: the start of what was said first.
    Rule,
}

/// The shortest answer, `ERRAND_LLM_ANSWER_TOKENS`, in which something can be said and done.
const SHORTEST_ANSWER: u32 = 256;

/// The shortest history that holds a question and what is needed to answer it.
const SHORTEST_HISTORY: u32 = 1000;

impl Llm {
    pub(super) fn read(sources: &mut Sources) -> Self {
        // `ERRAND_LLM_BASE_URL`, such as https://api.openai.com/v1 or http://127.0.0.1:11434/v1.
        let endpoint: Option<Quoted<Endpoint>> = sources.optional(setting("llm", "base_url", "ERRAND_LLM_BASE_URL"));
        // `ERRAND_LLM_MODEL`, its name there.
        let name: Option<String> = sources.optional(setting("llm", "model", "ERRAND_LLM_MODEL"));
        // `ERRAND_LLM_API_KEY` or `ERRAND_LLM_API_KEY_FILE`.
        let key = sources.secret(setting("llm", "api_key", "ERRAND_LLM_API_KEY"));
        // `ERRAND_LLM_CA`: certificates of who may vouch for it, beside those that browsers trust.
        let authorities: Option<PathBuf> = sources.optional(setting("llm", "ca", "ERRAND_LLM_CA"));
        let mode = sources.value(setting("llm", "mode", "ERRAND_LLM_MODE"), Mode::Auto);
        let fallback = sources.value(setting("llm", "fallback", "ERRAND_LLM_FALLBACK"), Fallback::None);
        let mut tokens = |key, variable, usual: u32, least: u32| {
            let tokens = sources.value(setting("llm", key, variable), usual);
            if tokens < least {
                sources.fault(format!("{variable}: must be {least} at least"));
            }
            tokens
        };
        let history = tokens("history_tokens", "ERRAND_LLM_HISTORY_TOKENS", 16_000, SHORTEST_HISTORY);
        let answer = tokens("answer_tokens", "ERRAND_LLM_ANSWER_TOKENS", 4_096, SHORTEST_ANSWER);
        let titles = sources.value(setting("llm", "titles", "ERRAND_LLM_TITLES"), Titles::Model);
        let tokens_a_day = sources.optional(setting("llm", "tokens_per_day", "ERRAND_LLM_TOKENS_PER_DAY"));
        let mut time =
            |key, variable, seconds| sources.value(setting("llm", key, variable), Duration::from_secs(seconds));
        let connect = time("connect_timeout", "ERRAND_LLM_CONNECT_TIMEOUT", 5);
        let first = time("first_byte_timeout", "ERRAND_LLM_FIRST_BYTE_TIMEOUT", 60);
        let idle = time("idle_timeout", "ERRAND_LLM_IDLE_TIMEOUT", 30);
        let total = time("timeout", "ERRAND_LLM_TIMEOUT", 120);
        let Some((endpoint, name)) = place(sources, endpoint, name) else {
            return Self { model: None, fallback, tokens_a_day };
        };
        let mut model = openai::Settings::new(endpoint, name);
        model.authorities = authorities.and_then(|path| match sources.file(&path) {
            Ok(text) => Some(text.into_bytes()),
            Err(error) => {
                sources.fault(format!("ERRAND_LLM_CA: {}: {error}", path.display()));
                None
            }
        });
        model.key = key.filter(|key: &SecretString| !key.expose_secret().is_empty());
        model.mode = mode;
        model.history_tokens = history as usize;
        (model.answer_tokens, model.titles) = (answer, titles == Titles::Model);
        (model.connect, model.first, model.idle, model.total) = (connect, first, idle, total);
        if let Err(error) = openai::OpenAi::new(model.clone()) {
            sources.fault(format!("the language model can not be used: {error}"));
        }
        Self { model: Some(model), fallback, tokens_a_day }
    }
}

/// Where the model is and what it is called there; nothing without a model, or when one of the two is missing.
fn place(
    sources: &mut Sources,
    endpoint: Option<Quoted<Endpoint>>,
    name: Option<String>,
) -> Option<(Endpoint, String)> {
    match (endpoint, name) {
        (Some(endpoint), Some(name)) => return Some((endpoint.value, name)),
        (None, None) => {}
        (Some(_), None) => {
            sources.fault("ERRAND_LLM_BASE_URL: needs ERRAND_LLM_MODEL, too: the name of the model there".to_owned());
        }
        (None, Some(_)) => {
            sources.fault("ERRAND_LLM_MODEL: needs ERRAND_LLM_BASE_URL, too: where the model is".to_owned());
        }
    }
    None
}

impl Value for Quoted<Endpoint> {
    const EXPECTED: &'static str =
        "an address such as https://api.openai.com/v1 or http://127.0.0.1:11434/v1, without key and query";

    fn read(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), value: Endpoint::parse(text).ok()? })
    }

    fn show(&self) -> toml::Value {
        self.text.clone().into()
    }
}

impl Value for Mode {
    const EXPECTED: &'static str = "auto, tools or json_schema";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "tools" => Self::Tools,
            "json_schema" => Self::JsonSchema,
            _ => return None,
        })
    }

    fn show(&self) -> toml::Value {
        match self {
            Self::Auto => "auto",
            Self::Tools => "tools",
            Self::JsonSchema => "json_schema",
        }
        .into()
    }
}

impl Value for Titles {
    const EXPECTED: &'static str = "model or rule";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "model" => Self::Model,
            "rule" => Self::Rule,
            _ => return None,
        })
    }

    fn show(&self) -> toml::Value {
        match self {
            Self::Model => "model",
            Self::Rule => "rule",
        }
        .into()
    }
}

impl Value for Fallback {
    const EXPECTED: &'static str = "none or planner";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "planner" => Self::Planner,
            _ => return None,
        })
    }

    fn show(&self) -> toml::Value {
        match self {
            Self::None => "none",
            Self::Planner => "planner",
        }
        .into()
    }
}
