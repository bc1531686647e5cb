//! How long the first words of a turn take: with the planner from the call, with a language model from the first byte
//! that the model itself says. Directly at the process that does everything, and through a gateway before it.
//!
//! The model is a scripted one in this process, so that both ends are seen by one clock.

use std::time::{Duration, Instant};

use errand_model::{Dialect, ModelServer};
use errand_proto::chat::{SendMessageRequest, TurnEvent, chat_service_client::ChatServiceClient, turn_event::Event};
use tonic::{
    Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{Result, Stage, edge, with};

const TURNS: usize = 1_000;
const WARM: usize = 50;
/// What is promised at the median, from the call to the first event.
const OF_PLANNER: Duration = Duration::from_millis(20);
/// And from the model's first byte to the first words at the client.
const OF_MODEL: Duration = Duration::from_millis(10);
const ANSWER: &str = "I have looked at your list, and there is nothing on it that is due today.";

/// Prints the median and the worst of a hundred.
pub(crate) async fn run() -> Result<()> {
    println!("{:<52} {:>8} {:>8} {:>9}", "one turn at a time", "p50", "p99", "promised");
    let planner = Stage::set().await?;
    for (door, channel, _gateway) in doors(&planner).await? {
        let name = format!("planner: first event after the call, {door}");
        report(&name, of_planner(channel, &planner.token).await?, OF_PLANNER)?;
    }
    drop(planner);
    let model = ModelServer::saying(Dialect::OpenAi, ANSWER);
    let url = model.base_url();
    let stage = Stage::with(&[("ERRAND_LLM_BASE_URL", &url), ("ERRAND_LLM_MODEL", "scripted")]).await?;
    for (door, channel, _gateway) in doors(&stage).await? {
        let name = format!("model: first words after its first byte, {door}");
        report(&name, of_model(channel, &stage.token, &model).await?, OF_MODEL)?;
    }
    Ok(())
}

/// The ways in: a name, a connection, and what has to run for it.
async fn doors(stage: &Stage) -> Result<Vec<(&'static str, Channel, Option<crate::Server>)>> {
    let direct = Endpoint::from_shared(stage.errand.url.clone())?.connect().await?;
    let gateway = edge::gateway(&stage.binary, stage.errand.url.trim_start_matches("http://").parse()?)?;
    let through = Endpoint::from_shared(gateway.url.clone())?.connect().await?;
    Ok(vec![("direct", direct, None), ("gateway", through, Some(gateway))])
}

async fn say(
    chat: &mut ChatServiceClient<Channel>,
    token: &MetadataValue<Ascii>,
    content: String,
) -> Result<Streaming<TurnEvent>> {
    let request = SendMessageRequest { content, ..SendMessageRequest::default() };
    Ok(chat.stream_message(with(request, token)).await?.into_inner())
}

async fn of_planner(channel: Channel, token: &MetadataValue<Ascii>) -> Result<Vec<Duration>> {
    let mut chat = ChatServiceClient::new(channel);
    let mut took = Vec::new();
    for number in 0..WARM + TURNS {
        let asked = Instant::now();
        let mut events = say(&mut chat, token, format!("add buy thing {number}")).await?;
        events.message().await?.ok_or("the turn has no event")?;
        took.push(asked.elapsed());
        while events.message().await?.is_some() {}
    }
    Ok(took.split_off(WARM))
}

async fn of_model(channel: Channel, token: &MetadataValue<Ascii>, model: &ModelServer) -> Result<Vec<Duration>> {
    let mut chat = ChatServiceClient::new(channel);
    let mut took = Vec::new();
    for _ in 0..WARM + TURNS {
        let mut events = say(&mut chat, token, "What is due today?".to_owned()).await?;
        let heard = loop {
            let event = events.message().await?.ok_or("the model was not heard")?;
            // A turn whose answer was whole before anybody could follow it has only the whole.
            if matches!(event.event, Some(Event::TextDelta(_) | Event::Text(_))) {
                break Instant::now();
            }
        };
        let begun = model.begun().pop().ok_or("the model said nothing")?;
        took.push(heard.duration_since(begun));
        while events.message().await?.is_some() {}
    }
    Ok(took.split_off(WARM))
}

fn report(name: &str, mut took: Vec<Duration>, promised: Duration) -> Result<()> {
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().ok_or("nothing was measured");
    let millis = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    println!("{name:<52} {:>8} {:>8} {:>9}", millis(at(50)?), millis(at(99)?), format!("{} ms", promised.as_millis()));
    Ok(())
}
