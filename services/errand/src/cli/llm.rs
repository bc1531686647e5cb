//! The settings of the language model, as they are said on the command line. A key is not: others could see it there.

use std::path::PathBuf;

use clap::Args;

/// What `[llm]` holds.
#[derive(Debug, Args)]
pub(super) struct LlmSettings {
    /// Where the language model is, such as http://127.0.0.1:11434/v1 [default: none, the built-in planner]
    #[arg(long, global = true, value_name = "URL")]
    llm_base_url: Option<String>,
    /// Its name there
    #[arg(long, global = true, value_name = "NAME")]
    llm_model: Option<String>,
    /// Trust these for it, too (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    llm_ca: Option<PathBuf>,
    /// How it says what it wants done: auto, tools or json_schema [default: auto]
    #[arg(long, global = true, value_name = "MODE")]
    llm_mode: Option<String>,
    /// Who answers when it does not: none or planner [default: none]
    #[arg(long, global = true, value_name = "WHO")]
    llm_fallback: Option<String>,
    /// About how many tokens of a conversation it reads [default: 16000]
    #[arg(long, global = true, value_name = "NUMBER")]
    llm_history_tokens: Option<String>,
    /// How many tokens each of its answers may have [default: 4096]
    #[arg(long, global = true, value_name = "NUMBER")]
    llm_answer_tokens: Option<String>,
    /// Who makes the titles of conversations: model or rule [default: model]
    #[arg(long, global = true, value_name = "WHO")]
    llm_titles: Option<String>,
    /// How many of its tokens each user may spend on a day [default: as many as they like]
    #[arg(long, global = true, value_name = "NUMBER")]
    llm_tokens_per_day: Option<String>,
    /// How long a connection to it may take [default: 5s]
    #[arg(long, global = true, value_name = "TIME")]
    llm_connect_timeout: Option<String>,
    /// How long it may be silent before its first byte [default: 1m]
    #[arg(long, global = true, value_name = "TIME")]
    llm_first_byte_timeout: Option<String>,
    /// How long it may be silent after that [default: 30s]
    #[arg(long, global = true, value_name = "TIME")]
    llm_idle_timeout: Option<String>,
    /// How long an answer may take [default: 2m]
    #[arg(long, global = true, value_name = "TIME")]
    llm_timeout: Option<String>,
}

impl LlmSettings {
    /// What was said, by the names of the variables.
    pub(super) fn given(self) -> [(&'static str, Option<String>); 13] {
        [
            ("ERRAND_LLM_BASE_URL", self.llm_base_url),
            ("ERRAND_LLM_MODEL", self.llm_model),
            ("ERRAND_LLM_CA", self.llm_ca.map(|path| path.to_string_lossy().into_owned())),
            ("ERRAND_LLM_MODE", self.llm_mode),
            ("ERRAND_LLM_FALLBACK", self.llm_fallback),
            ("ERRAND_LLM_HISTORY_TOKENS", self.llm_history_tokens),
            ("ERRAND_LLM_ANSWER_TOKENS", self.llm_answer_tokens),
            ("ERRAND_LLM_TITLES", self.llm_titles),
            ("ERRAND_LLM_TOKENS_PER_DAY", self.llm_tokens_per_day),
            ("ERRAND_LLM_CONNECT_TIMEOUT", self.llm_connect_timeout),
            ("ERRAND_LLM_FIRST_BYTE_TIMEOUT", self.llm_first_byte_timeout),
            ("ERRAND_LLM_IDLE_TIMEOUT", self.llm_idle_timeout),
            ("ERRAND_LLM_TIMEOUT", self.llm_timeout),
        ]
    }
}
