//! The spans of a turn, for traces: what the assistant was asked, what the model said to it and what
//! tools did. Names and attributes are OpenTelemetry's for generative AI; nothing that was said or
//! done is in them. They cost nothing while nobody traces.

use errand_chassis::trace::Place;
use tracing::{Instrument, Span, debug_span, field::Empty};
use uuid::Uuid;

use super::Finished;
use crate::{
    domain::tool::ToolCall,
    model::{Answer, Failure, Model},
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
    model: &dyn Model,
    next: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let (name, provider) = (model.name(), model.provider());
    let span = debug_span!(
        target: "errand_chat::trace",
        "chat",
        otel.name = format_args!("chat {name}"),
        otel.status_code = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = name,
        server.address = Empty,
        server.port = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        error.type = Empty,
    );
    if let Some((host, port)) = model.server() {
        span.record("server.address", host);
        span.record("server.port", port);
    }
    let answer = next.instrument(span.clone()).await;
    let usage = match &answer {
        Ok(answer) => {
            if let Some(model) = &answer.model {
                span.record("gen_ai.response.model", model.as_str());
            }
            answer.usage
        }
        Err(failure) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", failure.error.kind());
            failure.usage
        }
    };
    if let Some(usage) = usage {
        span.record("gen_ai.usage.input_tokens", usage.prompt);
        span.record("gen_ai.usage.output_tokens", usage.completion);
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
