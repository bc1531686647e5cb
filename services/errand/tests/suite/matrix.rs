//! Who may call what, for every method of the descriptors: a matrix of every rpc and every token that is not enough,
//! at every door that the shape has.

use std::net::SocketAddr;

use errand_proto::{
    POOL,
    auth::SignUpRequest,
    contract::{Access, METHODS, Method, Scope},
    task::{WatchTasksRequest, task_service_client::TaskServiceClient, watch_tasks_response::Event},
};
use serde_json::json;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    forge::{FORGEABLE, Forge},
    requests::{Names, names_something, request},
    sandbox::{Person, Sandbox, from_elsewhere, raw, reason, refusal, refused, with_token},
    shape,
};

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The scopes of a session, without this one.
fn all_but(scope: Scope) -> String {
    let others = Scope::ALL.into_iter().chain([Scope::Erase]).filter(|other| *other != scope);
    others.map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn r_003_r_033_no_method_of_the_descriptors_takes_a_token_that_is_not_enough() {
    let sandbox = Sandbox::with(FORGEABLE);
    let forge = Forge::of(&sandbox).await;
    let ann = sandbox.sign_up().await;
    let names = Names::of(&ann, "secret").await;
    let before = ann.list().await;
    let expired = forge.expired(&ann);
    let elsewhere = forge.token(&ann, &[("aud", json!("somebody-else"))]);
    let unauthenticated = |reason| refused(Code::Unauthenticated, reason);
    let mut cells = 0;
    for method in METHODS.iter().filter(|method| method.access == Access::User) {
        let narrow = forge.token(&ann, &[("scope", json!(all_but(method.scope)))]);
        let row = [
            (None, unauthenticated("TOKEN_MISSING")),
            (Some("x.y.z"), unauthenticated("TOKEN_INVALID")),
            (Some(ann.credentials.refresh_token.as_str()), unauthenticated("TOKEN_INVALID")),
            (Some(expired.as_str()), unauthenticated("TOKEN_EXPIRED")),
            (Some(elsewhere.as_str()), unauthenticated("TOKEN_INVALID")),
            (Some(narrow.as_str()), refused(Code::PermissionDenied, "SCOPE_MISSING")),
        ];
        for door in shape::doors(&sandbox, method.service) {
            let channel = connect(door).await;
            for (token, expected) in &row {
                let said = raw(&channel, method.path, request(method, &names), *token).await;
                assert_eq!(reason(said), *expected, "{} with {token:?} at {door}", method.path);
                cells += 1;
            }
        }
    }
    assert!(cells >= 6 * METHODS.iter().filter(|method| method.access == Access::User).count());
    assert_eq!(ann.list().await, before, "nothing was done");
}

#[tokio::test]
async fn a_token_with_nothing_but_the_scope_of_a_method_is_enough_for_it() {
    let sandbox = Sandbox::with(FORGEABLE);
    let forge = Forge::of(&sandbox).await;
    for method in METHODS.iter().filter(|method| method.access == Access::User && method.name != "WatchTasks") {
        // Somebody new each time: some of these end their caller's account.
        let ann = sandbox.sign_up().await;
        let names = Names::of(&ann, "mine").await;
        let token = forge.token(&ann, &[("scope", json!(method.scope.as_str()))]);
        let said = raw(&ann.channel, method.path, request(method, &names), Some(&token)).await;
        if let Err(status) = said {
            // What is left is about the state of things: the request itself is valid, the caller may ask.
            let said = refusal(Err::<(), _>(status));
            if method.name == "UndoTurn" {
                // It changes tasks with the token that it is called with, so it needs that one's scope, too.
                assert_eq!((said.code, said.reason.as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
                continue;
            }
            assert!(
                matches!(said.code, Code::FailedPrecondition | Code::AlreadyExists),
                "{}: {said:?}; teach requests.rs what a valid request of it is",
                method.path
            );
        }
    }
}

#[tokio::test]
async fn methods_for_anybody_ask_for_no_token() {
    let sandbox = Sandbox::start();
    let channel = sandbox.channel().await;
    let public: Vec<_> = METHODS.iter().filter(|method| method.access == Access::Public).collect();
    let names: Vec<_> = public.iter().map(|method| method.name).collect();
    assert_eq!(names, ["SignUp", "LogIn", "RefreshToken", "GetJwks"], "a public method is a decision to look at");
    for method in public {
        if let Err(status) = raw(&channel, method.path, request(method, &Names::of_nobody()), None).await {
            assert!(
                ["CREDENTIALS_INVALID", "REFRESH_TOKEN_INVALID"]
                    .contains(&refusal(Err::<(), _>(status)).reason.as_str())
            );
        }
    }
    let again =
        SignUpRequest { email: "ann@example.com".into(), password: "a good passphrase".into(), ..Default::default() };
    assert!(sandbox.auth().await.sign_up(from_elsewhere(again)).await.is_ok());
}

/// Everything that an answer says, once what differs by nature is replaced.
fn told(answer: Result<Vec<u8>, Status>, names: &Names) -> String {
    let said = match answer {
        Ok(bytes) => return names.hide(&String::from_utf8_lossy(&bytes)),
        Err(status) => status,
    };
    let request_id = refusal(Err::<(), _>(said.clone())).request_id;
    let mut headers: Vec<_> = said.metadata().clone().into_headers().keys().map(ToString::to_string).collect();
    headers.sort();
    let details = String::from_utf8_lossy(said.details()).replace(&request_id, "REQUEST");
    format!("{:?} {} {} {headers:?}", said.code(), names.hide(said.message()), names.hide(&details))
}

#[tokio::test]
async fn r_035_anothers_id_is_answered_as_one_that_nobody_has_by_every_method_that_takes_one() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let (theirs, nobodys) = (Names::of(&ann, "secret").await, Names::of_nobody());
    let before = owned(&sandbox, &ann).await;
    let mut tried = Vec::new();
    for method in METHODS.iter().filter(|method| method.access == Access::User && names_something(method, &theirs)) {
        let foreign = raw(&bob.channel, method.path, request(method, &theirs), Some(bob.token())).await;
        let missing = raw(&bob.channel, method.path, request(method, &nobodys), Some(bob.token())).await;
        match &foreign {
            // No more than cursors.
            Ok(bytes) => assert!(bytes.len() < 128 && !told(foreign.clone(), &theirs).contains("secret")),
            Err(status) => assert_eq!(status.code(), Code::NotFound, "{}: {status:?}", method.path),
        }
        assert_eq!(told(foreign, &theirs), told(missing, &nobodys), "{}", method.path);
        tried.push(method.name);
    }
    assert_eq!(tried.len(), taking_an_id(), "{tried:?}");
    assert_eq!(owned(&sandbox, &ann).await, before, "nothing of hers changed");
}

/// How many methods have a field for an id anywhere in their request, counted another way than requests are made.
fn taking_an_id() -> usize {
    fn has(message: &prost_reflect::MessageDescriptor, depth: u32) -> bool {
        message.fields().any(|field| match field.kind() {
            prost_reflect::Kind::Message(inner) if depth < 4 => has(&inner, depth + 1),
            _ => {
                let of_update = message.name().ends_with("Task") || message.name().ends_with("Conversation");
                ["task_id", "conversation_id", "turn_id", "session_id"].contains(&field.name())
                    || (field.name() == "id" && of_update)
            }
        })
    }
    let takes = |method: &&Method| {
        let creates = method.name.contains("Create");
        method.access == Access::User && !creates && has(&POOL.get_message_by_name(method.input).unwrap(), 0)
    };
    METHODS.iter().filter(takes).count()
}

/// What is stored of a person's tasks and conversations.
async fn owned(sandbox: &Sandbox, person: &Person) -> (Vec<errand_proto::task::Task>, usize) {
    let list = person.request(Default::default());
    let conversations = person.chat().list_conversations(list).await.unwrap().into_inner().conversations;
    assert!(sandbox.log_in(&person.user.email).await.is_ok());
    (person.list().await, conversations.len())
}

#[tokio::test]
async fn r_038_a_watch_shows_its_callers_changes_only() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let request = bob.request(WatchTasksRequest::default());
    let mut stream = bob.tasks().watch_tasks(request).await.unwrap().into_inner();
    for number in 0..5 {
        ann.create(&format!("secret {number}")).await;
    }
    let own = bob.create("own").await;
    let Some(Event::Change(change)) = stream.message().await.unwrap().unwrap().event else { panic!() };
    assert_eq!(change.after, Some(own));
}

#[tokio::test]
async fn r_039_a_service_asked_without_the_gateway_believes_nobodys_word_for_who_they_are() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.create("secret").await;
    for door in shape::doors(&sandbox, "errand.task.v1.TaskService") {
        let mut client = TaskServiceClient::new(connect(door).await);
        for header in ["x-user-id", "x-errand-user", "x-errand-owner", "x-forwarded-user"] {
            let mut request = tonic::Request::new(errand_proto::task::ListTasksRequest::default());
            request.metadata_mut().insert(header, ann.user.id.parse().unwrap());
            let said = client.list_tasks(request).await;
            assert_eq!(reason(said), refused(Code::Unauthenticated, "TOKEN_MISSING"), "{header} at {door}");
        }
        let bob = sandbox.sign_up().await;
        let mut request = with_token(errand_proto::task::ListTasksRequest::default(), bob.token());
        request.metadata_mut().insert("x-user-id", ann.user.id.parse().unwrap());
        assert!(client.list_tasks(request).await.unwrap().into_inner().tasks.is_empty());
    }
}
