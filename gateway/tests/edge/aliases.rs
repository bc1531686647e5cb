//! The three paths of the first users.

use errand_proto::{
    auth::{Credentials, LogInRequest, SignUpRequest, SignUpResponse, User},
    chat::{SendMessageRequest, SendMessageResponse},
};
use http::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use crate::world::{Script, World, message, ok, post, scripted};

const JSON: (&str, &str) = ("content-type", "application/json");

fn answering(answer: &impl Message) -> World {
    scripted(Script::Stream(vec![message(&answer.encode_to_vec())], ok()))
}

fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn signing_up_and_logging_in_answer_one_flat_object() {
    let answer = SignUpResponse {
        user: Some(User { id: "7".to_owned(), email: "a@b.c".to_owned(), ..User::default() }),
        credentials: Some(Credentials {
            access_token: "at".to_owned(),
            refresh_token: "rt".to_owned(),
            expires_in: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
        }),
    };
    let world = answering(&answer);
    let body = r#"{"email":"a@b.c","password":"correct horse"}"#;
    let flat = json!({"id": "7", "email": "a@b.c", "token": "at", "refresh_token": "rt", "expires_in": 900});
    let signed_up = world.call(post("/api/auth/signup", &[JSON], body)).await;
    assert_eq!((signed_up.status, value(&signed_up.body)), (StatusCode::CREATED, flat.clone()));
    assert_eq!(signed_up.header("cache-control"), "no-store");
    assert_eq!(SignUpRequest::decode(&world.only().body.unwrap()[5..]).unwrap().email, "a@b.c");
    let logged_in = world.call(post("/api/auth/login", &[JSON], body)).await;
    assert_eq!((logged_in.status, value(&logged_in.body)), (StatusCode::OK, flat));
    assert_eq!(LogInRequest::decode(&world.only().body.unwrap()[5..]).unwrap().password, "correct horse");
}

#[tokio::test]
async fn a_message_is_sent_by_the_user_in_the_path_and_by_nobody_else() {
    let world = answering(&SendMessageResponse { response: "done".to_owned(), ..SendMessageResponse::default() });
    let token = format!("Bearer {}", world.token("chat"));
    let headers = [JSON, ("authorization", token.as_str())];
    let own = uuid::Uuid::from_u128(7);
    let body = r#"{"message":"add buy milk"}"#;
    let answer = world.call(post(&format!("/api/{own}/chat"), &headers, body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        (value(&answer.body)["response"].clone(), value(&answer.body)["tool_calls"].clone()),
        (json!("done"), json!([]))
    );
    assert_eq!(SendMessageRequest::decode(&world.only().body.unwrap()[5..]).unwrap().content, "add buy milk");

    let keyed = [&headers[..], &[("idempotency-key", "k1")]].concat();
    world.call(post(&format!("/api/{own}/chat"), &keyed, body)).await;
    assert_eq!(SendMessageRequest::decode(&world.only().body.unwrap()[5..]).unwrap().request_id, "k1");

    let other = world.call(post(&format!("/api/{}/chat", uuid::Uuid::from_u128(8)), &headers, body)).await;
    assert_eq!((other.status, other.json().1.as_str()), (StatusCode::FORBIDDEN, "USER_MISMATCH"));
    let nobody = world.call(post(&format!("/api/{own}/chat"), &[JSON], body)).await;
    assert_eq!((nobody.status, nobody.json().1.as_str()), (StatusCode::UNAUTHORIZED, "TOKEN_MISSING"));
    let wrong = world.call(post(&format!("/api/{own}/chat"), &headers, r#"{"message":1}"#)).await;
    assert_eq!(wrong.json().0["details"][1]["fieldViolations"][0]["field"], "message");
    for (path, body) in [
        (format!("/api/{own}/chat"), r#"{"message":"a","message":"b"}"#),
        (format!("/api/{own}/chat"), r#"{"message":"a","content":"b"}"#),
        (format!("/api/{own}/chat?message=b"), r#"{"message":"a"}"#),
    ] {
        let refused = world.call(post(&path, &headers, body)).await;
        let field = &refused.json().0["details"][1]["fieldViolations"][0]["field"];
        assert_eq!((refused.status, field), (StatusCode::BAD_REQUEST, &json!("message")), "{path} {body}");
    }
    assert!(world.seen().is_empty());
}
