//! Battery 2.9: a process that is killed without warning loses nothing that it acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use errand_proto::chat::{ResumeTurnRequest, SendMessageRequest, turn_event::Event};
use tonic::Code;

use crate::sandbox::{Person, Sandbox, rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_104_killed_under_load_it_keeps_every_acknowledged_write_once() {
    let mut sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    let acknowledged: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let mut attempted = BTreeSet::new();
    for round in 0..rounds(5, 40) {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let writers: Vec<_> = (0..8)
            .map(|writer| tokio::spawn(write(ann.clone(), format!("{round}.{writer}"), acknowledged.clone())))
            .collect();
        // The kill falls in the middle of the load, at another point each round.
        let enough = acknowledged.lock().unwrap().len() + 20 + round * 7;
        while acknowledged.lock().unwrap().len() < enough {
            tokio::task::yield_now().await;
        }
        sandbox.kill();
        for writer in writers {
            attempted.extend(writer.await.unwrap());
        }
        for service in sandbox.folder().map_or(&[][..], |_| &["auth", "task", "chat"]) {
            assert_eq!(sandbox.stored(service, "PRAGMA integrity_check").await, ["ok"], "{service}");
        }
        sandbox.start_again();
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let listed = ann.list().await;
        let by_title: BTreeMap<_, _> = listed.iter().map(|task| (task.title.clone(), task.id.clone())).collect();
        assert_eq!(by_title.len(), listed.len(), "nothing is there twice");
        for (title, id) in acknowledged.lock().unwrap().iter() {
            assert_eq!(by_title.get(title), Some(id), "{title} was acknowledged");
        }
        assert!(by_title.keys().all(|title| attempted.contains(title)));
    }
    let gaps = sandbox.stored("task", "SELECT max(seq) - count(*) FROM changes").await;
    assert_eq!(gaps, ["0"], "the log has no gap");
}

/// Creates tasks until the server is gone, and gives the titles that it tried.
async fn write(ann: Person, name: String, acknowledged: Arc<Mutex<BTreeMap<String, String>>>) -> Vec<String> {
    let mut tried = Vec::new();
    for number in 0.. {
        let title = format!("{name}.{number}");
        tried.push(title.clone());
        match ann.try_create(&title, &title).await {
            Ok(task) => drop(acknowledged.lock().unwrap().insert(task.title, task.id)),
            Err(status) => {
                // What tonic's own client makes of a broken connection varies; the server is gone.
                assert!(
                    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
                    "{status:?}"
                );
                break;
            }
        }
    }
    tried
}

#[tokio::test]
async fn r_068_an_intent_retried_over_crashes_happens_exactly_once() {
    let mut sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    for round in 0..rounds(3, 20) {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let (title, key) = (format!("intent {round}"), format!("key {round}").replace(' ', "-"));
        let sent = {
            let (ann, title, key) = (ann.clone(), title.clone(), key.clone());
            tokio::spawn(async move { ann.try_create(&title, &key).await })
        };
        tokio::task::yield_now().await;
        sandbox.kill();
        let _ = sent.await.unwrap();
        sandbox.start_again();
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let task = ann.try_create(&title, &key).await.unwrap();
        assert_eq!(ann.list().await.iter().filter(|listed| listed.title == title).collect::<Vec<_>>(), [&task]);
    }
}

#[tokio::test]
async fn a_message_whose_turn_was_cut_by_a_crash_is_answered_when_it_is_sent_again() {
    let mut sandbox = Sandbox::start();
    sandbox.sign_up_as("ann@example.com").await.unwrap();
    for round in 0..rounds(4, 40) {
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let request = errand_proto::chat::SendMessageRequest {
            content: format!("add item {round}"),
            request_id: format!("turn-{round}"),
            ..Default::default()
        };
        let sent = {
            let (ann, request) = (ann.clone(), request.clone());
            tokio::spawn(async move { ann.chat().send_message(ann.request(request)).await.map(|_| ()) })
        };
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        sandbox.kill();
        let _ = sent.await.unwrap();
        sandbox.start_again();
        let ann = sandbox.log_in("ann@example.com").await.unwrap();
        let answer = ann.chat().send_message(ann.request(request)).await.unwrap().into_inner();
        assert_eq!(answer.tool_calls.len(), 1);
        assert_eq!(ann.list().await.len(), round + 1, "the tool ran once");
    }
}

#[tokio::test]
async fn r_103_a_turn_that_is_killed_at_any_step_is_finished_by_resume_turn_and_does_nothing_twice() {
    let mut sandbox = Sandbox::start();
    let mut ann = sandbox.sign_up_as("ann@example.com").await.unwrap();
    let mut chat = String::new();
    for round in 0..rounds(6, 200) {
        // An answer that adds a task; a question; its answer, which takes all of them away.
        let said = match round % 3 {
            0 => format!("add buy thing {round}"),
            1 => "delete everything".to_owned(),
            _ => "yes".to_owned(),
        };
        if round % 3 == 0 {
            ann.create(&format!("beside {round}")).await;
        }
        let request = SendMessageRequest { conversation_id: chat.clone(), content: said, ..Default::default() };
        let mut stream = ann.chat().stream_message(ann.request(request)).await.unwrap().into_inner();
        let mut last = stream.message().await.unwrap().unwrap();
        let (turn_id, steps) = (last.turn_id.clone(), round / 3 % 4);
        for _ in 0..steps {
            match stream.message().await {
                Ok(Some(event)) => last = event,
                _ => break,
            }
        }
        chat.clone_from(&last.conversation_id);
        sandbox.kill_and_restart();

        ann = sandbox.log_in("ann@example.com").await.unwrap();
        let resume = ResumeTurnRequest { turn_id: turn_id.clone(), after_seq: last.seq };
        let mut stream = ann.chat().resume_turn(ann.request(resume)).await.unwrap().into_inner();
        let (mut seq, mut replied) = (last.seq, matches!(last.event, Some(Event::Replied(_))));
        while let Some(event) = stream.message().await.unwrap() {
            assert_eq!(event.seq, seq + 1, "without a gap, and nothing twice");
            seq = event.seq;
            replied = matches!(event.event, Some(Event::Replied(_)));
        }
        assert!(replied, "round {round} after {steps} steps");
        let mut titles = ann.titles().await;
        titles.sort();
        match round % 3 {
            0 => assert_eq!(titles, [format!("beside {round}"), format!("buy thing {round}")]),
            1 => assert_eq!(titles.len(), 2, "a question is no answer"),
            _ => assert!(titles.is_empty(), "{titles:?}"),
        }
    }
}
