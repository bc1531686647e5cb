//! Battery 2.12 with roles apart: a service that others need is away.

use std::time::Duration;

use errand_proto::{
    auth::{GetMeRequest, LogInRequest},
    task::ListTasksRequest,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    sandbox::{PASSWORD, Person, Sandbox, from_elsewhere, reason, refusal, refused, rounds},
    shape::Role,
};

/// Asks until auth answers, as its refusals say that a client should.
async fn back(sandbox: &Sandbox, person: &Person) {
    let asking = async {
        while let Err(status) = sandbox.log_in(&person.user.email).await {
            let said = refusal(Err::<(), _>(status));
            assert_eq!(said.code, Code::Unavailable, "{said:?}");
            tokio::time::sleep(said.retry_after.unwrap()).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), asking).await.is_ok());
}

#[tokio::test]
async fn r_118_while_auth_is_down_valid_tokens_are_verified_and_only_auth_is_unavailable() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.create("before").await;
    sandbox.kill_one(sandbox.places(Role::Auth)[0]);

    ann.create("without auth").await;
    assert_eq!(ann.titles().await, ["before", "without auth"]);
    assert_eq!(ann.say("", "add by the assistant").await.tool_calls.len(), 1);
    let log_in = LogInRequest { email: ann.user.email.clone(), password: PASSWORD.to_owned() };
    let said = refusal(sandbox.auth().await.log_in(from_elsewhere(log_in)).await);
    assert_eq!((said.code, said.retry_after.is_some()), (Code::Unavailable, true), "{said:?}");
    let said = refusal(ann.auth().get_me(ann.request(GetMeRequest {})).await);
    assert_eq!(said.code, Code::Unavailable, "{said:?}");

    sandbox.start_one(sandbox.places(Role::Auth)[0]);
    back(&sandbox, &ann).await;
}

#[tokio::test]
async fn r_118_a_task_that_starts_while_auth_is_down_is_not_ready_until_it_has_the_keys() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let (auth, task) = (sandbox.places(Role::Auth)[0], sandbox.places(Role::Task)[0]);
    sandbox.kill_one(auth);
    sandbox.kill_one(task);
    sandbox.processes[task].again();
    let address = sandbox.processes[task].address();
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: "readiness".to_owned() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // The other one goes on alone; who meets this one is told to ask again.
    for number in 0..10 {
        while let Err(status) = ann.try_create(&format!("by the other {number}"), &format!("key-{number}")).await {
            assert_eq!(reason(Err::<(), _>(status)), refused(Code::Unavailable, "KEYS_NOT_LOADED"));
        }
    }
    sandbox.start_one(auth);
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    assert_eq!(ann.titles().await.len(), 10);
}

#[tokio::test]
async fn r_117_while_task_is_down_a_message_is_kept_and_the_conversation_goes_on_later() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let first = ann.say("", "add buy milk").await;
    let places = sandbox.places(Role::Task);
    places.iter().for_each(|place| sandbox.kill_one(*place));
    let request = errand_proto::chat::SendMessageRequest {
        conversation_id: first.conversation_id.clone(),
        content: "add buy bread".to_owned(),
        request_id: "two".to_owned(),
        ..Default::default()
    };
    // Either the turn says that its tool failed, or the call says that the turn could not be finished.
    let said = ann.chat().send_message(ann.request(request.clone())).await;
    if let Err(status) = said {
        assert_eq!(refusal(Err::<(), _>(status)).code, Code::Unavailable);
    }
    places.iter().for_each(|place| sandbox.start_one(*place));
    let again = ann.chat().send_message(ann.request(request)).await.unwrap().into_inner();
    assert_eq!(again.conversation_id, first.conversation_id);
    ann.say(&first.conversation_id, "add buy eggs").await;
    // The gateway looks for them once a second.
    while let Err(status) = ann.tasks().list_tasks(ann.request(ListTasksRequest::default())).await {
        let said = refusal(Err::<(), _>(status));
        assert_eq!(said.code, Code::Unavailable, "{said:?}");
        tokio::time::sleep(said.retry_after.unwrap()).await;
    }
    let titles = ann.titles().await;
    assert!(titles.starts_with(&["buy milk".to_owned()]) && titles.ends_with(&["buy eggs".to_owned()]), "{titles:?}");
}

#[tokio::test]
async fn r_117_who_waits_four_seconds_while_task_is_down_is_told_that_it_is_away() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let first = ann.say("", "add buy milk").await;
    sandbox.places(Role::Task).into_iter().for_each(|place| sandbox.kill_one(place));
    let mut request = ann.request(errand_proto::chat::SendMessageRequest {
        conversation_id: first.conversation_id,
        content: "add buy bread".to_owned(),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(4));
    let answer = ann.chat().send_message(request).await.unwrap().into_inner();
    let came: Vec<&str> = answer.tool_calls.iter().map(|call| call.error.as_str()).collect();
    assert_eq!(came, ["UNAVAILABLE"], "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_117_a_task_that_hangs_or_resets_in_the_middle_of_a_turn_loses_no_message_and_does_nothing_twice() {
    let mut sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let first = ann.say("", "add buy milk").await;
    let places = sandbox.places(Role::Task);
    for (round, kills) in [false, true].into_iter().enumerate() {
        places.iter().for_each(|place| sandbox.processes[*place].signal("STOP"));
        let request = errand_proto::chat::SendMessageRequest {
            conversation_id: first.conversation_id.clone(),
            content: format!("add buy thing {round}"),
            request_id: format!("item-{round}"),
            ..Default::default()
        };
        let sent = {
            let (ann, request) = (ann.clone(), request.clone());
            tokio::spawn(async move { ann.chat().send_message(ann.request(request)).await })
        };
        // Longer than one try of a call takes.
        tokio::time::sleep(Duration::from_secs(rounds(2, 6) as u64)).await;
        tokio::task::block_in_place(|| {
            for place in &places {
                if kills {
                    sandbox.kill_one(*place);
                    sandbox.start_one(*place);
                } else {
                    sandbox.processes[*place].signal("CONT");
                }
            }
        });
        if let Err(status) = sent.await.unwrap() {
            assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&refusal(Err::<(), _>(status)).code));
        }
        let again = ann.chat().send_message(ann.request(request)).await.unwrap().into_inner();
        let titles = ann.titles().await;
        let made = titles.iter().filter(|title| **title == format!("buy thing {round}")).count();
        let failed = again.tool_calls.iter().any(|call| !call.error.is_empty());
        assert!(made == 1 || (made == 0 && failed), "{made}: {again:?}");
    }
    ann.say(&first.conversation_id, "add buy eggs").await;
    assert!(ann.titles().await.contains(&"buy eggs".to_owned()));
}
