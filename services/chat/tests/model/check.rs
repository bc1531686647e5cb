//! What `errand llm check` finds out.

use errand_chat::model::openai::check::{Finding, Verdict, check};
use errand_model::{Dialect, Fault, ModelServer, Quirks, Reply};
use jiff::Timestamp;
use serde_json::json;

use crate::{DIALECTS, settings};

fn able(dialect: Dialect) -> ModelServer {
    ModelServer::start(dialect, |asked| match asked.said() {
        "Show me my open tasks." => Reply::call("list_tasks", json!({ "completed": false })),
        _ if asked.wants_stream() => Reply::text("{\"reply\": \"Hello to you.\"}"),
        _ => Reply::text("Hello."),
    })
}

async fn found(server: &ModelServer) -> Vec<(&'static str, Verdict)> {
    let findings: Vec<Finding> = check(settings(server), Timestamp::UNIX_EPOCH).await.unwrap();
    findings.iter().map(|finding| (finding.what, finding.verdict)).collect()
}

#[tokio::test]
async fn a_server_that_can_everything_is_found_to() {
    for dialect in DIALECTS {
        let expected = ["list of models", "streamed reply", "usage", "tool calls", "JSON by a schema"];
        assert_eq!(found(&able(dialect)).await, expected.map(|what| (what, Verdict::Works)), "{dialect:?}");
    }
}

#[tokio::test]
async fn what_is_missing_and_not_needed_is_told_apart_from_what_is_wrong() {
    let server = able(Dialect::Ollama);
    server.set(|quirks| (quirks.no_tools, quirks.no_stream_options) = (true, true));
    let found = found(&server).await;
    for expected in [("usage", Verdict::Absent), ("tool calls", Verdict::Absent), ("JSON by a schema", Verdict::Works)]
    {
        assert!(found.contains(&expected), "{found:?}");
    }
    for change in [|quirks: &mut Quirks| quirks.no_limit = true, |quirks: &mut Quirks| quirks.no_max_tokens = true] {
        let server = able(Dialect::OpenAi);
        server.set(change);
        let found = self::found(&server).await;
        assert!(found.iter().all(|(_, verdict)| *verdict == Verdict::Works), "{found:?}");
    }
    let server = able(Dialect::OpenAi);
    server.set(|quirks| (quirks.no_tools, quirks.no_schema) = (true, true));
    let found = self::found(&server).await;
    assert!(found.contains(&("tool calls", Verdict::Broken)), "{found:?}");
}

#[tokio::test]
async fn a_server_that_is_away_or_refuses_the_key_is_asked_no_further() {
    let server = ModelServer::start(Dialect::OpenAi, |_| Reply::Fault(Fault::status(401)));
    assert_eq!(found(&server).await.last(), Some(&("streamed reply", Verdict::Refused)));
    let settings = settings(&server);
    drop(server);
    let findings = check(settings, Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(findings.last().is_some_and(|finding| finding.verdict == Verdict::NotReady), "{findings:?}");
}
