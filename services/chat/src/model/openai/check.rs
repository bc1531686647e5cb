//! What a server can do: asked for its models, for words, for a call of a tool and for JSON by a schema.
//!
//! For who sets it up. It reads no conversation and calls no tool.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{
    OpenAi, Settings, Told, Trouble, Unusable,
    connection::Broken,
    limit,
    request::{self, Form, Wants},
    step,
};
use crate::model::{Entry, ModelError, Saying, Step, Transcript};

/// How many models are named.
const NAMED: usize = 10;

/// The largest list of models that is read.
const LIST: usize = 4 * 1024 * 1024;

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// Whether it works.
    pub verdict: Verdict,
    /// What was seen.
    pub words: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It does not, and Errand does without it.
    Absent,
    /// It does not.
    Broken,
    /// Nobody answers, or not now.
    NotReady,
    /// Key, name or address are wrong.
    Refused,
}

/// Looks at everything, one after the other.
///
/// # Errors
/// When the settings can not be used at all.
pub async fn check(settings: Settings, now: Timestamp) -> Result<Vec<Finding>, Unusable> {
    let model = OpenAi::new(settings)?;
    let mut findings = vec![models(&model).await];
    let hopeless = |finding: &Finding| matches!(finding.verdict, Verdict::NotReady | Verdict::Refused);
    if findings.iter().any(hopeless) {
        return Ok(findings);
    }
    findings.extend(words(&model, now).await);
    if findings.iter().any(hopeless) {
        return Ok(findings);
    }
    let tools = calls(&model, Wants::Tools, "tool calls", now).await;
    let schema = calls(&model, Wants::Schema, "JSON by a schema", now).await;
    // One of the two is enough.
    let works = |finding: &Finding| finding.verdict == Verdict::Works;
    let is_enough = works(&tools) || works(&schema);
    let judged = [tools, schema].map(|finding| match finding.verdict {
        Verdict::Broken if is_enough => Finding { verdict: Verdict::Absent, ..finding },
        _ => finding,
    });
    findings.extend(judged);
    Ok(findings)
}

async fn models(model: &OpenAi) -> Finding {
    let finding = |verdict, words| Finding { what: "list of models", verdict, words };
    let patience = model.settings.connect + model.settings.idle;
    let response = match timeout(patience, model.client.get("/models")).await {
        Ok(Ok(response)) => response,
        Ok(Err(broken)) => return finding(Verdict::NotReady, ModelError::from(broken).to_string()),
        Err(_) => return finding(Verdict::NotReady, ModelError::from(Broken::TimedOut).to_string()),
    };
    let status = response.status();
    if matches!(status.as_u16(), 401 | 403) {
        return finding(Verdict::Refused, format!("the key is refused, with {status}"));
    }
    if !status.is_success() {
        return finding(Verdict::Absent, format!("none is given, with {status}"));
    }
    let body = timeout(patience, Limited::new(response.into_body(), LIST).collect()).await;
    let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let list: Value = serde_json::from_slice(&body).unwrap_or_default();
    let list = list.get("data").or_else(|| list.get("models")).and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |model: &Value| model.get("id").or_else(|| model.get("name"))?.as_str().map(str::to_owned);
    let names: Vec<String> = list.iter().filter_map(name).collect();
    let mine = &model.settings.model;
    let mut shown: Vec<&str> = names.iter().map(String::as_str).take(NAMED).collect();
    if names.len() > NAMED {
        shown.push("…");
    }
    let words = match (names.is_empty(), names.contains(mine)) {
        (true, _) => "none is given".to_owned(),
        (false, true) => format!("{mine} is among {}: {}", names.len(), shown.join(", ")),
        (false, false) => format!("{mine} is not among {}: {}", names.len(), shown.join(", ")),
    };
    finding(if names.contains(mine) { Verdict::Works } else { Verdict::Absent }, words)
}

async fn words(model: &OpenAi, now: Timestamp) -> Vec<Finding> {
    let mut form = Form::of(Wants::Words);
    let mut findings = Vec::new();
    loop {
        let started = Instant::now();
        let mut first: Option<Duration> = None;
        let mut pieces = 0;
        let mut say = |_: &str| {
            first.get_or_insert_with(|| started.elapsed());
            pieces += 1;
        };
        let transcript = transcript("Say hello to me in one short sentence.", now);
        let asked = ask(model, &transcript, form, &mut say).await;
        let what = "streamed reply";
        match asked {
            Ok(told) => {
                let took = started.elapsed().as_millis();
                let words = match first {
                    Some(first) if pieces > 1 => {
                        format!("first words after {} ms, {pieces} pieces, {took} ms in all", first.as_millis())
                    }
                    _ => format!("in one piece, after {took} ms"),
                };
                let is_reply = matches!(step(form, told.whole), Step::Reply(text) if !text.trim().is_empty());
                let verdict = if is_reply { Verdict::Works } else { Verdict::Broken };
                findings.push(Finding { what, verdict, words });
                if form.usage {
                    let usage = told.usage.unwrap_or_default();
                    let words = format!("{} tokens of prompt, {} of answer", usage.prompt, usage.completion);
                    findings.push(Finding { what: "usage", verdict: Verdict::Works, words });
                }
                return findings;
            }
            Err(Trouble::Refused { status: 400 | 422, message, .. }) if form.usage => {
                findings.push(Finding { what: "usage", verdict: Verdict::Absent, words: message });
                form.usage = false;
            }
            Err(trouble) => {
                let (verdict, words) = judged(trouble);
                findings.push(Finding { what, verdict, words });
                return findings;
            }
        }
    }
}

async fn calls(model: &OpenAi, wants: Wants, what: &'static str, now: Timestamp) -> Finding {
    let mut form = Form::of(wants);
    let transcript = transcript("Show me my open tasks.", now);
    let told = loop {
        match ask(model, &transcript, form, &mut |_: &str| {}).await {
            Ok(told) => break told,
            Err(Trouble::Refused { status: 400 | 422, message, .. })
                if form.usage && message.contains("stream_options") =>
            {
                form.usage = false;
            }
            Err(trouble) => {
                let (_, words) = judged(trouble);
                return Finding { what, verdict: Verdict::Broken, words };
            }
        }
    };
    let Told { whole, .. } = told;
    let (verdict, words) = match step(form, whole) {
        Step::Call(calls) if calls.iter().any(|call| call.name == "list_tasks") => {
            (Verdict::Works, "asked for the open tasks, it calls list_tasks".to_owned())
        }
        Step::Call(calls) => {
            let name: String = calls.first().map_or_else(String::new, |call| call.name.chars().take(50).collect());
            (Verdict::Broken, format!("asked for the open tasks, it calls {name}"))
        }
        Step::Reply(_) => (Verdict::Broken, "asked for the open tasks, it only talks".to_owned()),
    };
    Finding { what, verdict, words }
}

async fn ask(model: &OpenAi, transcript: &Transcript, mut form: Form, say: &mut Saying<'_>) -> Result<Told, Trouble> {
    let deadline = Instant::now() + model.settings.total;
    loop {
        let body = request::body(&model.settings, transcript, form);
        match model.attempt(&body, form, deadline, say, &mut None).await {
            // Errand does without it, too.
            Err(trouble) => form = unlimited(form, trouble)?,
            told => return told,
        }
    }
}

/// How to ask again when it was the limit of the answer that was refused.
fn unlimited(form: Form, trouble: Trouble) -> Result<Form, Trouble> {
    let limit = match &trouble {
        Trouble::Refused { status: 400 | 422, message, .. } if limit::is_about(message) => {
            form.limit.otherwise(message)
        }
        _ => None,
    };
    limit.map(|limit| Form { limit, ..form }).ok_or(trouble)
}

fn judged(trouble: Trouble) -> (Verdict, String) {
    match trouble {
        Trouble::Refused { status, message, .. } => {
            let verdict = match status {
                401 | 403 | 404 | 300..=399 => Verdict::Refused,
                408 | 429 | 500.. => Verdict::NotReady,
                _ => Verdict::Broken,
            };
            (verdict, format!("{status}: {}", message.replace(['\n', '\r'], " ")))
        }
        Trouble::Nothing(error) => (Verdict::NotReady, error.to_string()),
        Trouble::Broken(error) => (Verdict::Broken, error.to_string()),
    }
}

fn transcript(said: &str, now: Timestamp) -> Transcript {
    Transcript::new(now, "UTC", vec![Entry::User(said.to_owned())])
}
