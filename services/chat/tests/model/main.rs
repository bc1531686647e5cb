//! The adapter of language models against a server that speaks the dialects of five, and has every fault.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod check;
mod dialects;
mod faults;
mod limits;
mod noise;

use std::time::Duration;

use errand_chat::model::{
    Answer, Entry, Model, ModelError, Step, Transcript,
    openai::{Endpoint, OpenAi, Settings},
};
use errand_model::ModelServer;
use jiff::Timestamp;

const DIALECTS: [errand_model::Dialect; 5] = [
    errand_model::Dialect::OpenAi,
    errand_model::Dialect::Ollama,
    errand_model::Dialect::Vllm,
    errand_model::Dialect::LlamaCpp,
    errand_model::Dialect::LiteLlm,
];

/// A model behind this server that loses patience soon.
fn settings(server: &ModelServer) -> Settings {
    let mut settings = Settings::new(Endpoint::parse(&server.base_url()).unwrap(), "scripted".to_owned());
    settings.first = Duration::from_millis(400);
    settings.idle = Duration::from_millis(400);
    settings.total = Duration::from_secs(4);
    settings
}

fn model(server: &ModelServer) -> OpenAi {
    OpenAi::new(settings(server)).unwrap()
}

fn transcript(said: &str) -> Transcript {
    let now = Timestamp::constant(1_795_251_600, 0);
    Transcript::new(now, "UTC", vec![Entry::User(said.to_owned())])
}

/// What it answers to this, and the pieces in which it said it.
async fn heard(model: &OpenAi, said: &str) -> (Result<Answer, ModelError>, Vec<String>) {
    let mut pieces = Vec::new();
    let answer = model.next(&transcript(said), &mut |piece: &str| pieces.push(piece.to_owned())).await;
    (answer.map_err(|failure| failure.error), pieces)
}

async fn asked(model: &OpenAi, said: &str) -> Result<Step, ModelError> {
    heard(model, said).await.0.map(|answer| answer.step)
}
