//! The main job, as a person lives it.

use errand_proto::{
    auth::GetMeRequest,
    chat::{ListConversationsRequest, ListMessagesRequest, Role, SendMessageRequest},
    task::{
        CompleteTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ReopenTaskRequest, Task,
        UndeleteTaskRequest, UpdateTaskRequest,
    },
};
use prost_types::FieldMask;

use crate::sandbox::{PASSWORD, Sandbox, from_elsewhere, with_token};

#[tokio::test]
async fn a_person_signs_up_tells_the_assistant_and_finds_the_task() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let answer = ann.say("", "add buy milk tomorrow").await;
    assert_eq!(answer.tool_calls.len(), 1, "{answer:?}");
    assert_eq!(answer.tool_calls[0].name, "add_tasks");
    assert!(answer.response.contains("buy milk"), "{}", answer.response);
    let tasks = ann.list().await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].title, "buy milk");
    assert!(tasks[0].due_time.is_some());
}

#[tokio::test]
async fn a_conversation_adds_lists_completes_reopens_renames_and_deletes() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let chat = ann.say("", "add call the dentist").await.conversation_id;
    ann.say(&chat, "add pay rent").await;
    let listed = ann.say(&chat, "what is on my list?").await.response;
    assert!(listed.contains("call the dentist") && listed.contains("pay rent"), "{listed}");
    ann.say(&chat, "I'm done with the dentist").await;
    let done: Vec<_> = ann.list().await.into_iter().filter(|task| task.completed).map(|task| task.title).collect();
    assert_eq!(done, ["call the dentist"]);
    ann.say(&chat, "reopen the dentist").await;
    assert!(ann.list().await.iter().all(|task| !task.completed));
    ann.say(&chat, "rename pay rent to pay the rent").await;
    assert!(ann.titles().await.contains(&"pay the rent".to_owned()));
    ann.say(&chat, "delete call the dentist").await;
    assert_eq!(ann.titles().await, ["pay the rent"]);
    let small_talk = ann.say(&chat, "thank you!").await;
    assert!(small_talk.tool_calls.is_empty());
    let unknown = ann.say(&chat, "colourless green ideas sleep furiously").await;
    assert!(unknown.tool_calls.is_empty() && !unknown.response.is_empty());
    assert_eq!(ann.titles().await, ["pay the rent"]);

    let request = ListMessagesRequest { conversation_id: chat.clone(), page_size: 200, ..Default::default() };
    let messages = ann.chat().list_messages(ann.request(request)).await.unwrap().into_inner().messages;
    assert_eq!(messages.len(), 18, "nine messages and nine answers");
    assert!(messages.chunks(2).all(|pair| pair[0].role() == Role::User && pair[1].role() == Role::Assistant));
    let conversations = ann.chat().list_conversations(ann.request(ListConversationsRequest::default())).await.unwrap();
    assert_eq!(conversations.into_inner().conversations.len(), 1);
}

#[tokio::test]
async fn the_assistant_asks_when_two_tasks_fit_and_changes_nothing_until_it_is_told() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.create("call the dentist").await;
    ann.create("call the plumber").await;
    let asked = ann.say("", "delete call").await;
    assert!(asked.response.contains("dentist") && asked.response.contains("plumber"), "{}", asked.response);
    assert_eq!(ann.list().await.len(), 2);
    ann.say(&asked.conversation_id, "the plumber").await;
    assert_eq!(ann.titles().await, ["call the dentist"]);
}

#[tokio::test]
async fn days_are_read_in_the_time_zone_of_the_message() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let request = SendMessageRequest {
        content: "add water the plants on 2027-04-15 at 9:00".to_owned(),
        time_zone: "America/New_York".to_owned(),
        ..Default::default()
    };
    ann.chat().send_message(ann.request(request)).await.unwrap();
    // 09:00 in New York in April is 13:00 UTC.
    assert_eq!(ann.list().await[0].due_time.unwrap().seconds, 1_807_794_000);
}

#[tokio::test]
async fn a_task_lives_through_every_rpc() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut tasks = ann.tasks();
    let created = ann.create("write the report").await;
    let update = UpdateTaskRequest {
        task: Some(Task {
            id: created.id.clone(),
            description: "two pages".to_owned(),
            title: "ignored, as the mask does not name it".to_owned(),
            etag: created.etag.clone(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["description".to_owned()] }),
        ..Default::default()
    };
    let updated = tasks.update_task(ann.request(update)).await.unwrap().into_inner();
    assert_eq!((updated.title.as_str(), updated.description.as_str()), ("write the report", "two pages"));
    assert_ne!(updated.etag, created.etag);
    let task_id = created.id.clone();
    let complete = CompleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
    let completed = tasks.complete_task(ann.request(complete)).await.unwrap().into_inner();
    assert!(completed.completed && completed.complete_time.is_some());
    let reopen = ReopenTaskRequest { task_id: task_id.clone(), ..Default::default() };
    let reopened = tasks.reopen_task(ann.request(reopen)).await.unwrap().into_inner();
    assert!(!reopened.completed && reopened.complete_time.is_none());
    let delete = DeleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
    assert!(tasks.delete_task(ann.request(delete)).await.unwrap().into_inner().delete_time.is_some());
    assert!(ann.list().await.is_empty());
    let get = GetTaskRequest { task_id: task_id.clone() };
    assert!(tasks.get_task(ann.request(get)).await.unwrap().into_inner().delete_time.is_some());
    let deleted = ListTasksRequest { show_deleted: true, ..Default::default() };
    assert_eq!(tasks.list_tasks(ann.request(deleted)).await.unwrap().into_inner().tasks.len(), 1);
    let undelete = UndeleteTaskRequest { task_id, ..Default::default() };
    assert!(tasks.undelete_task(ann.request(undelete)).await.unwrap().into_inner().delete_time.is_none());
    assert_eq!(ann.titles().await, ["write the report"]);
}

#[tokio::test]
async fn r_001_sign_up_log_in_me_refresh_and_log_out_in_order() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let again = sandbox.log_in("ann@example.com").await.unwrap();
    assert_eq!(again.user.id, ann.user.id);
    let me = again.auth().get_me(again.request(GetMeRequest {})).await.unwrap().into_inner();
    assert_eq!((me.id, me.email.as_str(), me.time_zone.as_str()), (ann.user.id.clone(), "ann@example.com", "UTC"));
    let refreshed = sandbox.refresh(&again.credentials.refresh_token).await.unwrap();
    let request = with_token(errand_proto::auth::LogOutRequest {}, &refreshed.access_token);
    again.auth().log_out(request).await.unwrap();
    assert!(sandbox.refresh(&refreshed.refresh_token).await.is_err());
    // The other session goes on.
    assert!(sandbox.refresh(&ann.credentials.refresh_token).await.is_ok());
    let wrong = errand_proto::auth::LogInRequest { email: "ann@example.com".into(), password: format!("{PASSWORD}!") };
    assert!(sandbox.auth().await.log_in(from_elsewhere(wrong)).await.is_err());
}
