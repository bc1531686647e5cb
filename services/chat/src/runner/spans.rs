//! The spans of a turn, for traces: what the assistant was asked, what the model said to it and what
//! tools did. Names and attributes are OpenTelemetry's for generative AI; nothing that was said or
//! done is in them. They cost nothing while nobody traces.

use errand_chassis::trace::Place;
use tracing::{Instrument, Span, debug_span, field::Empty};
use uuid::Uuid;

use super::Finished;
use crate::{
    domain::tool::ToolCall,
    model::{ModelError, Step},
};

/// A turn, which goes on in a task of its own and may last longer than the call that began it.
pub(super) fn turn(id: Uuid) -> Span {
    let span = debug_span!(
        target: "errand_chat::trace",
        parent: None,
        "turn",
        otel.name = "invoke_agent errand",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = "errand",
        errand.turn.id = %id,
    );
    Place::here().adopt(&span);
    span
}

/// The model, asked for the next step.
pub(super) async fn chat(
    model: &str,
    next: impl Future<Output = Result<Step, ModelError>>,
) -> Result<Step, ModelError> {
    let span = debug_span!(
        target: "errand_chat::trace",
        "chat",
        otel.name = format_args!("chat {model}"),
        otel.status_code = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = "errand",
        gen_ai.request.model = model,
    );
    let answer = next.instrument(span.clone()).await;
    if answer.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

/// A tool that carries out a call.
pub(super) async fn tool(call: &ToolCall, work: impl Future<Output = Finished>) -> Finished {
    let name = &*call.name;
    let span = debug_span!(
        target: "errand_chat::trace",
        "tool",
        otel.name = format_args!("execute_tool {name}"),
        otel.status_code = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = name,
        gen_ai.tool.call.id = &*call.id,
        gen_ai.tool.type = "function",
        error.type = Empty,
    );
    let finished = work.instrument(span.clone()).await;
    if let Finished::Outcome(Err(failure)) = &finished {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", &*failure.reason);
    }
    finished
}
