//! Battery 2.3: nobody sees or touches what is another's.

use std::collections::BTreeMap;

use errand_proto::{
    chat::{GetConversationRequest, ListConversationsRequest, ListMessagesRequest, SendMessageRequest},
    contract::{Access, METHODS},
    task::{DeleteTaskRequest, ListTasksRequest, Task, UpdateTaskRequest},
};
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::sandbox::{Person, Sandbox, raw, reason, refusal, refused};

/// The same error once what differs by nature is replaced.
fn shape(status: &Status, id: &str) -> (Code, String, String, Vec<String>) {
    let said = refusal(Err::<(), _>(status.clone()));
    (said.code, said.reason, status.message().replace(id, "ID"), said.fields)
}

#[tokio::test]
async fn r_035_anothers_id_is_answered_as_one_that_does_not_exist_by_every_method_that_takes_one() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let task = ann.create("secret").await.id;
    let conversation = ann.say("", "hello").await.conversation_id;
    let sessions = ann.auth().list_sessions(ann.request(Default::default())).await.unwrap().into_inner().sessions;
    let unknown = "01890000-0000-7000-8000-000000000000";
    let mut tried = 0;
    for method in METHODS.iter().filter(|method| method.access == Access::User) {
        let own = match method.service {
            "errand.task.v1.TaskService" => &task,
            "errand.chat.v1.ChatService" => &conversation,
            _ => &sessions[0].id,
        };
        let Some(theirs) = with_id(method.input, own) else { continue };
        let foreign = raw(&bob.channel, method.path, theirs, Some(bob.token())).await.unwrap_err();
        let nothing = with_id(method.input, unknown).unwrap();
        let missing = raw(&bob.channel, method.path, nothing, Some(bob.token())).await.unwrap_err();
        assert_eq!(shape(&foreign, own), shape(&missing, unknown), "{}", method.path);
        assert_eq!(foreign.code(), Code::NotFound, "{}", method.path);
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
    assert_eq!(ann.titles().await, ["secret"]);
}

/// A valid request of this type that names the id, when the type has a place for one.
fn with_id(input: &str, id: &str) -> Option<Vec<u8>> {
    use prost_reflect::{DynamicMessage, Value};
    let descriptor = errand_proto::POOL.get_message_by_name(input)?;
    let mut message = DynamicMessage::new(descriptor.clone());
    if let Some(field) =
        descriptor.fields().find(|field| ["task_id", "conversation_id", "session_id"].contains(&field.name()))
    {
        message.set_field(&field, Value::String(id.to_owned()));
    } else if let (Some(field), true) = (descriptor.get_field_by_name("task"), input.ends_with("UpdateTaskRequest")) {
        let mut task = DynamicMessage::new(field.kind().as_message()?.clone());
        task.set_field_by_name("id", Value::String(id.to_owned()));
        task.set_field_by_name("title", Value::String("mine now".to_owned()));
        message.set_field(&field, Value::Message(task));
    } else {
        return None;
    }
    if descriptor.get_field_by_name("content").is_some() {
        message.set_field_by_name("content", Value::String("hello".to_owned()));
    }
    Some(prost::Message::encode_to_vec(&message))
}

#[tokio::test]
async fn r_036_many_users_writing_at_once_each_see_exactly_their_own() {
    let sandbox = Sandbox::start();
    let mut workers = Vec::new();
    for number in 0..10u32 {
        let person = sandbox.sign_up().await;
        workers.push(tokio::spawn(async move { live(person, number).await }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

/// A user's own random life, checked against a model of it.
async fn live(person: Person, number: u32) {
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    let mut random = number.wrapping_mul(2_654_435_761) | 1;
    for step in 0..100 {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let some = model.keys().nth(random as usize % model.len().max(1)).cloned();
        match (random % 4, some) {
            (0, Some(id)) => {
                let delete = DeleteTaskRequest { task_id: id.clone(), ..Default::default() };
                person.tasks().delete_task(person.request(delete)).await.unwrap();
                model.remove(&id);
            }
            (1, Some(id)) => {
                let title = format!("user {number} again {step}");
                let task = Task { id: id.clone(), title: title.clone(), ..Default::default() };
                let update = UpdateTaskRequest { task: Some(task), ..Default::default() };
                person.tasks().update_task(person.request(update)).await.unwrap();
                model.insert(id, title);
            }
            _ => {
                let task = person.create(&format!("user {number} step {step}")).await;
                model.insert(task.id, task.title);
            }
        }
        if step % 10 == 9 {
            let listed: BTreeMap<_, _> = person.list().await.into_iter().map(|task| (task.id, task.title)).collect();
            assert_eq!(listed, model);
        }
    }
}

#[tokio::test]
async fn r_037_an_owner_named_by_the_client_is_ignored_or_refused() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let mut request = bob.request(errand_proto::task::CreateTaskRequest {
        task: Some(Task { title: "bob's".into(), ..Default::default() }),
        ..Default::default()
    });
    for header in ["x-user-id", "x-errand-user", "x-owner", "user-id"] {
        request.metadata_mut().insert(header, ann.user.id.parse().unwrap());
    }
    let task = bob.tasks().create_task(request).await.unwrap().into_inner();
    assert!(ann.list().await.is_empty());
    for path in ["owner", "user_id", "id", "create_time"] {
        let update = UpdateTaskRequest {
            task: Some(Task { id: task.id.clone(), ..Default::default() }),
            update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
            ..Default::default()
        };
        assert_eq!(
            reason(bob.tasks().update_task(bob.request(update)).await),
            refused(Code::InvalidArgument, "INVALID_FIELDS"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn r_038_tokens_and_ids_of_another_open_nothing() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    for title in ["one", "two"] {
        ann.create(title).await;
    }
    let list = ListTasksRequest { page_size: 1, ..Default::default() };
    let page_token = ann.tasks().list_tasks(ann.request(list.clone())).await.unwrap().into_inner().next_page_token;
    let stolen = ListTasksRequest { page_token, ..list };
    assert_eq!(
        reason(bob.tasks().list_tasks(bob.request(stolen)).await),
        refused(Code::InvalidArgument, "PAGE_TOKEN_INVALID")
    );

    let conversation_id = ann.say("", "hello").await.conversation_id;
    let missing = refused(Code::NotFound, "CONVERSATION_NOT_FOUND");
    let get = GetConversationRequest { conversation_id: conversation_id.clone() };
    assert_eq!(reason(bob.chat().get_conversation(bob.request(get)).await), missing);
    let list = ListMessagesRequest { conversation_id: conversation_id.clone(), ..Default::default() };
    assert_eq!(reason(bob.chat().list_messages(bob.request(list)).await), missing);
    let send = SendMessageRequest { conversation_id, content: "hello".into(), ..Default::default() };
    assert_eq!(reason(bob.chat().send_message(bob.request(send)).await), missing);
    let own = bob.chat().list_conversations(bob.request(ListConversationsRequest::default())).await.unwrap();
    assert!(own.into_inner().conversations.is_empty());
}

#[tokio::test]
async fn the_assistant_reaches_only_what_its_user_could() {
    let sandbox = Sandbox::start();
    let (ann, bob) = (sandbox.sign_up().await, sandbox.sign_up().await);
    let secret = ann.create("the secret plan").await;
    for words in
        ["delete the secret plan", "list everything", "complete the secret plan", &format!("delete task {}", secret.id)]
    {
        let answer = bob.say("", words).await;
        assert!(!answer.response.contains("secret plan") || words.contains("secret plan"), "{}", answer.response);
    }
    assert_eq!(ann.list().await, [secret]);
}

#[tokio::test]
async fn r_043_internal_headers_from_outside_are_dropped() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut request = ann.request(errand_proto::task::CreateTaskRequest {
        task: Some(Task { title: "by hand".into(), ..Default::default() }),
        ..Default::default()
    });
    request.metadata_mut().insert("x-errand-turn", "01890000-0000-7000-8000-000000000000".parse().unwrap());
    ann.tasks().create_task(request).await.unwrap();
    // The log on disk says whose hand it was.
    let actors = changes_actors(&sandbox);
    assert_eq!(actors, ["user"]);
}

fn changes_actors(sandbox: &Sandbox) -> Vec<String> {
    let database = rusqlite::Connection::open(sandbox.data.path().join("task.db")).unwrap();
    let mut statement = database.prepare("SELECT actor FROM changes ORDER BY seq").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_the_assistant_did_is_written_down_as_its_turn() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.say("", "add buy milk").await;
    assert_eq!(changes_actors(&sandbox), ["assistant"]);
}
