//! Battery 2.3: nobody sees or touches what is another's.

use errand_proto::{
    chat::{GetConversationRequest, ListConversationsRequest, ListMessagesRequest, SendMessageRequest},
    task::{ListTasksRequest, Task, UpdateTaskRequest},
};
use prost_types::FieldMask;
use tonic::Code;

use crate::sandbox::{Sandbox, reason, refused};

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
    assert_eq!(sandbox.stored("task", "SELECT actor FROM changes ORDER BY seq").await, ["user"]);
}

#[tokio::test]
async fn what_the_assistant_did_is_written_down_as_its_turn() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.say("", "add buy milk").await;
    assert_eq!(sandbox.stored("task", "SELECT actor FROM changes ORDER BY seq").await, ["assistant"]);
}
