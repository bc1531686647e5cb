//! The scripted model speaks as the servers do that it stands in for.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use errand_model::{Call, Dialect, ModelServer, Reply};
use serde_json::{Value, json};

fn ask(server: &ModelServer, body: &Value) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let body = body.to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length:";
    write!(stream, "{head} {}\r\n\r\n{body}", body.len()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_answer_is_whole_or_streamed_as_it_was_asked_for() {
    let server = ModelServer::saying(Dialect::OpenAi, "Hello there.");
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let whole = ask(&server, &json!({ "messages": messages }));
    assert!(whole.contains("\"content\":\"Hello there.\""), "{whole}");
    let streamed = ask(&server, &json!({ "messages": messages, "stream": true }));
    assert!(streamed.contains("\"content\":\"Hello \"") && streamed.contains("data: [DONE]"), "{streamed}");
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].said()), (2, "hi"));
}

#[test]
fn a_script_sees_what_tools_have_answered_in_this_turn() {
    let server = ModelServer::start(Dialect::Ollama, |asked| match asked.results().as_slice() {
        [] => Reply::Calls(vec![Call::new("list_tasks", json!({}))]),
        results => Reply::Text(results[0]["tasks"].to_string()),
    });
    let user = json!({ "role": "user", "content": "list" });
    let first = ask(&server, &json!({ "messages": [user] }));
    assert!(first.contains("list_tasks"), "{first}");
    let result = json!({ "role": "tool", "content": "<tool_result>\n{\"tasks\": [7]}\n</tool_result>" });
    let second = ask(&server, &json!({ "messages": [user, result] }));
    assert!(second.contains("[7]"), "{second}");
}
