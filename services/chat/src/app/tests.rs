use errand_chassis::{clock::Clock, secret::Secret};
use tonic::{Code, Status};

use super::*;
use crate::{
    domain::{conversation::Role, rules::Rules, turn::runs, usage::Usage},
    model::{Model, ModelError, Step},
    store,
    task_tools::TaskTools,
    testing::{FakeTask, File, Kept, Puppet, StillClock, busy_model, named, refusal, user},
};

#[path = "approval_tests.rs"]
mod approval;

#[path = "answers_tests.rs"]
mod answers;

#[path = "crash_tests.rs"]
mod crash;

#[path = "replica_tests.rs"]
mod replica;

#[path = "spending_tests.rs"]
mod spending;

#[path = "statement_tests.rs"]
mod statement;

#[path = "text_tests.rs"]
mod text;

#[path = "title_tests.rs"]
mod title;

const LIST: &str = "/errand.chat.v1.ChatService/ListMessages";

/// The service, but for its face.
pub(super) struct World {
    pub(super) app: App,
    pub(super) runner: Runner,
    store: Arc<dyn Store>,
    pub(super) model: Arc<Puppet>,
    pub(super) task: FakeTask,
    pub(super) drain: Drain,
}

pub(super) fn world(store: Arc<dyn Store>, model: Arc<Puppet>, task: &FakeTask, slots: u32) -> World {
    timed(store, model, task, slots, Arc::new(StillClock))
}

pub(super) fn timed(
    store: Arc<dyn Store>,
    model: Arc<Puppet>,
    task: &FakeTask,
    slots: u32,
    clock: Arc<dyn Clock>,
) -> World {
    thrifty(store, model, task, slots, clock, None)
}

/// A world in which a user may spend so many tokens a day.
fn thrifty(
    store: Arc<dyn Store>,
    model: Arc<Puppet>,
    task: &FakeTask,
    slots: u32,
    clock: Arc<dyn Clock>,
    budget: Option<u64>,
) -> World {
    let pages = PageTokens::new(&Secret::new(&[1; 32]).unwrap(), clock.clone()).unwrap();
    let thinking: Arc<dyn Model> = model.clone();
    let drain = Drain::new();
    let tools = TaskTools::new(task.upstream());
    let runner = Runner::new(store.clone(), thinking, tools.clone(), clock.clone(), slots, Rules::default(), budget);
    let app = App::new(store.clone(), runner.clone(), tools, clock, pages, drain.clone(), budget);
    World { app, runner, store, model, task: task.clone(), drain }
}

pub(super) fn simple(file: &File, model: Puppet) -> World {
    world(Arc::new(file.open()), Arc::new(model), &FakeTask::default(), 8)
}

pub(super) fn voice() -> Voice {
    Voice::new("token", None, None)
}

pub(super) fn say(conversation: Option<Uuid>, content: &str) -> Say {
    Say { conversation, after: None, content: content.to_owned(), time_zone: ("UTC".to_owned(), false), request: None }
}

pub(super) fn repeatable(content: &str) -> Say {
    Say { request: named("r", content), ..say(None, content) }
}

pub(super) fn code_and_reason(error: Error) -> (Code, &'static str) {
    let out = errand_chassis::Error::from(error);
    (out.code(), out.reason())
}

impl World {
    pub(super) async fn send(&self, say: Say) -> Result<Answered, Error> {
        self.app.send(user(1), &voice(), say).await
    }

    async fn said(&self, conversation: Uuid) -> Vec<(Role, String)> {
        let wanted = Wanted { method: LIST, size: 200, token: String::new() };
        let page = self.app.messages(user(1), conversation, &wanted).await.unwrap();
        page.items.into_iter().map(|said| (said.message.role, said.message.content)).collect()
    }

    async fn conversations(&self) -> Vec<Uuid> {
        let wanted = Wanted { method: LIST, size: 0, token: String::new() };
        let page = self.app.conversations(user(1), &wanted).await.unwrap();
        page.items.into_iter().map(|conversation| conversation.id).collect()
    }

    /// Until the model has been asked this often.
    pub(super) async fn asked(&self, times: usize) {
        while self.model.asked() < times {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn close(self) {
        self.runner.close().await;
        self.store.close().await;
    }
}

#[tokio::test]
async fn a_message_is_answered_after_its_tools_ran() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let answered = world.send(say(None, "add milk and eggs")).await.unwrap();
    assert_eq!(answered.text, "Done.");
    let names: Vec<_> = runs(&answered.events).iter().map(|run| run.call.name.clone()).collect();
    assert_eq!(names, ["add_tasks", "add_tasks", "delete_tasks"]);
    assert_eq!((world.task.made(), world.task.deleted().len()), (2, 1));
    let expected = [(Role::User, "add milk and eggs".to_owned()), (Role::Assistant, "Done.".to_owned())];
    assert_eq!(world.said(answered.conversation).await, expected);
    world.close().await;
}

#[tokio::test]
async fn the_model_reads_what_was_said_and_done_before() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let first = world.send(say(None, "add milk and eggs")).await.unwrap();
    world.send(say(Some(first.conversation), "and again")).await.unwrap();
    let transcript = world.model.read.lock().unwrap().last().unwrap().clone();
    // The first turn: user, 3 calls, 3 results, assistant; the second up to its last answer.
    assert_eq!(transcript.entries.len(), 8 + 7);
    assert_eq!((transcript.time_zone.as_str(), transcript.now), ("UTC", crate::testing::now()));
    world.close().await;
}

#[tokio::test]
async fn r_046_blank_content_and_unknown_time_zones_are_refused() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi"));
    let blank = world.send(say(None, " \n")).await.unwrap_err();
    assert_eq!(code_and_reason(blank), (Code::InvalidArgument, "INVALID_FIELDS"));
    let zone = Say { time_zone: ("Mars/Olympus".to_owned(), true), ..say(None, "hi") };
    assert!(matches!(world.app.check(user(1), zone.clone()).await, Err(Error::TimeZoneUnknown(_))));
    assert!(matches!(world.send(zone).await, Err(Error::TimeZoneUnknown(_))));
    let own = Say { time_zone: ("Mars/Olympus".to_owned(), false), ..say(None, "hi") };
    assert!(world.send(own).await.is_ok(), "the user's own zone is not this call's fault");
    assert_eq!(world.conversations().await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn r_046_no_u_0000_reaches_a_store() {
    use errand_proto::{
        chat::{CancelTurnRequest, Conversation, CreateConversationRequest, SendMessageRequest},
        validation::{Incoming, validate},
    };
    let nul = || "a\0b".to_owned();
    let content = SendMessageRequest { content: nul(), ..Default::default() };
    let request = SendMessageRequest { content: "a".to_owned(), request_id: nul(), ..Default::default() };
    let conversation = Some(Conversation { title: nul(), ..Default::default() });
    let title = CreateConversationRequest { conversation, ..Default::default() };
    let id = CancelTurnRequest { turn_id: nul(), ..Default::default() };
    assert_eq!((validate(&content).len(), validate(&request).len()), (1, 1));
    assert_eq!((title.violations().len(), id.violations().len()), (1, 1));
    for kept in Kept::each().await {
        // What contracts do not hold back, and what a model says.
        let model = Arc::new(Puppet::saying("o\0k"));
        let world = world(kept.open().await, model, &FakeTask::default(), 8);
        let zone = Say { time_zone: (nul(), true), ..say(None, "hi") };
        assert_eq!(code_and_reason(world.send(zone).await.unwrap_err()), (Code::InvalidArgument, "INVALID_FIELDS"));
        let own = Say { time_zone: (nul(), false), ..say(None, "hi") };
        let answered = world.send(own).await.unwrap();
        assert_eq!(answered.text, "ok");
        assert_eq!(world.said(answered.conversation).await[1].1, "ok");
        world.close().await;
    }
}

#[tokio::test]
async fn checking_a_message_changes_nothing() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi"));
    assert_eq!(world.app.check(user(1), say(None, "hi")).await.unwrap(), None);
    let unknown = Uuid::from_u128(5);
    let refused = world.app.check(user(1), say(Some(unknown), "hi")).await.unwrap_err();
    assert_eq!(code_and_reason(refused), (Code::NotFound, "CONVERSATION_NOT_FOUND"));
    let checked = world.app.create_conversation(user(1), "a".to_owned(), None, true).await.unwrap();
    assert_eq!(checked.title, "a");
    assert_eq!((world.model.asked(), world.conversations().await.len()), (0, 0));
    world.close().await;
}

#[tokio::test]
async fn r_035_another_users_conversation_is_one_that_does_not_exist() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi"));
    let mine = world.send(say(None, "hi")).await.unwrap().conversation;
    let bob = user(2);
    for id in [mine, Uuid::from_u128(99)] {
        let wanted = Wanted { method: LIST, size: 0, token: String::new() };
        let answers = [
            world.app.send(bob, &voice(), say(Some(id), "hi")).await.map(drop),
            world.app.check(bob, say(Some(id), "hi")).await.map(drop),
            world.app.conversation(bob, id).await.map(drop),
            world.app.messages(bob, id, &wanted).await.map(drop),
        ];
        for answer in answers {
            let error = errand_chassis::Error::from(answer.unwrap_err());
            assert_eq!((error.code(), error.reason()), (Code::NotFound, "CONVERSATION_NOT_FOUND"));
            assert_eq!(error.message().replace(&id.to_string(), "ID"), "there is no conversation ID");
        }
    }
    assert_eq!(world.said(mine).await.len(), 2);
    world.close().await;
}

#[tokio::test]
async fn r_038_a_page_token_is_its_callers_and_its_conversations() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi"));
    let mine = world.send(say(None, "one")).await.unwrap().conversation;
    let other = world.send(say(None, "two")).await.unwrap().conversation;
    let wanted = |token: &str| Wanted { method: LIST, size: 1, token: token.to_owned() };
    let first = world.app.messages(user(1), mine, &wanted("")).await.unwrap();
    assert!(!first.next.is_empty());
    let second = world.app.messages(user(1), mine, &wanted(&first.next)).await.unwrap();
    assert_eq!((second.items[0].message.role, second.next.as_str()), (Role::Assistant, ""));
    let elsewhere = world.app.messages(user(1), other, &wanted(&first.next)).await.unwrap_err();
    assert_eq!(code_and_reason(elsewhere), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
    assert!(world.app.messages(user(2), mine, &wanted(&first.next)).await.is_err());
    world.close().await;
}

#[tokio::test]
async fn r_069_a_repeated_message_gets_the_same_answer_and_runs_nothing_again() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let first = world.send(repeatable("add")).await.unwrap();
    let asked = world.model.asked();
    let again = world.send(repeatable("add")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!((world.model.asked(), world.task.calls()), (asked, 3));
    assert_eq!(world.said(first.conversation).await.len(), 2);
    let other = Say { request: named("r", "other"), ..say(None, "other") };
    let reused = world.send(other).await.unwrap_err();
    assert_eq!(code_and_reason(reused), (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r_069_fifty_at_once_with_one_request_id_are_one_message() {
    let file = File::new();
    let world = Arc::new(world(Arc::new(file.open()), Arc::new(busy_model()), &FakeTask::default(), 64));
    let sends: Vec<_> = (0..50)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.send(repeatable("add")).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for send in sends {
        answers.push(send.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.conversations().await.len(), 1);
    assert_eq!((world.task.made(), world.model.asked()), (2, 3));
}

#[tokio::test]
async fn r_075_a_second_message_meanwhile_is_refused_and_none_is_lost() {
    let file = File::new();
    let world = Arc::new(simple(&file, Puppet::saying("hi").waiting()));
    let conversation = world.app.create_conversation(user(1), String::new(), None, false).await.unwrap().id;
    let first = tokio::spawn({
        let world = world.clone();
        async move { world.send(say(Some(conversation), "first")).await }
    });
    world.asked(1).await;
    let refused = world.send(say(Some(conversation), "second")).await.unwrap_err();
    let status = Status::from(errand_chassis::Error::from(refused));
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(errand_proto::status::reason(&status).as_deref(), Some("TURN_IN_PROGRESS"));
    assert_eq!(world.said(conversation).await, [(Role::User, "first".to_owned())]);
    world.model.gate.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap().text, "hi");
    world.send(say(Some(conversation), "second")).await.unwrap();
    let said: Vec<_> = world.said(conversation).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["first", "hi", "second", "hi"]);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_stop_the_turn() {
    let file = File::new();
    let world = simple(&file, Puppet::saying("hi").waiting());
    tokio::select! {
        answered = world.send(repeatable("hello")) => panic!("{answered:?}"),
        () = world.asked(1) => {}
    }
    world.model.gate.add_permits(1);
    assert_eq!(world.send(repeatable("hello")).await.unwrap().text, "hi");
    assert_eq!(world.model.asked(), 1);
    world.close().await;
}

#[tokio::test]
async fn r_110_more_turns_than_may_run_are_refused_before_anything_is_stored() {
    let file = File::new();
    let store: Arc<dyn Store> = Arc::new(file.open());
    let model = Arc::new(Puppet::saying("hi").waiting());
    let world = Arc::new(world(store, model, &FakeTask::default(), 1));
    let first = tokio::spawn({
        let world = world.clone();
        async move { world.send(say(None, "first")).await }
    });
    world.asked(1).await;
    let refused = world.send(say(None, "second")).await.unwrap_err();
    assert_eq!(code_and_reason(refused), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(world.conversations().await.len(), 1);
    world.model.gate.add_permits(2);
    first.await.unwrap().unwrap();
    world.send(say(None, "second")).await.unwrap();
}

#[tokio::test]
async fn r_117_while_task_is_down_the_turn_ends_with_a_clear_answer_and_later_ones_work() {
    let file = File::new();
    let model = Puppet::new(|transcript| {
        Ok(match transcript.entries.last() {
            Some(crate::model::Entry::Result(result)) => Step::Reply(match &result.outcome {
                Ok(_) => "Added.".to_owned(),
                Err(failure) => format!("I cannot: {}", failure.reason),
            }),
            _ => Step::Call(vec![crate::testing::call(
                "a",
                "add_tasks",
                serde_json::json!({"requests": [{"task": {"title": "milk"}}]}),
            )]),
        })
    });
    let world = simple(&file, model);
    world.task.tasks().is_down = true;
    let answered = world.send(say(None, "add milk")).await.unwrap();
    assert_eq!(answered.text, "I cannot: UNAVAILABLE");
    world.task.tasks().is_down = false;
    let later = world.send(say(Some(answered.conversation), "add milk")).await.unwrap();
    assert_eq!(later.text, "Added.");
    assert_eq!(world.said(answered.conversation).await.len(), 4);
    world.close().await;
}

#[tokio::test]
async fn r_117_a_model_that_fails_ends_the_turn_and_keeps_the_message() {
    let file = File::new();
    let model = Puppet::new(|transcript| match transcript.entries.len() {
        1 => Err(ModelError::Unavailable("502 from http://internal".to_owned())),
        _ => Ok(Step::Reply("hi".to_owned())),
    });
    let world = simple(&file, model);
    let failed = world.send(repeatable("hello")).await.unwrap_err();
    let out = errand_chassis::Error::from(failed);
    assert_eq!((out.code(), out.reason()), (Code::Unavailable, "TURN_FAILED"));
    assert!(!out.message().contains("internal"));
    assert!(matches!(world.send(repeatable("hello")).await, Err(Error::TurnFailed { .. })), "and again the same");
    assert_eq!(world.model.asked(), 1);
    let conversation = world.conversations().await[0];
    assert_eq!(world.said(conversation).await, [(Role::User, "hello".to_owned())]);
    assert_eq!(world.send(say(Some(conversation), "hello")).await.unwrap().text, "hi");
    world.close().await;
}

#[tokio::test]
async fn a_turn_whose_token_runs_out_waits_and_goes_on_with_a_new_one() {
    let file = File::new();
    let world = simple(&file, busy_model());
    world.task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "TOKEN_EXPIRED"));
    let parked = world.send(repeatable("add")).await.unwrap_err();
    assert_eq!(code_and_reason(parked), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!((world.task.made(), world.model.asked()), (0, 1));
    let answered = world.send(repeatable("add")).await.unwrap();
    assert_eq!(answered.text, "Done.");
    assert_eq!((world.task.made(), world.model.asked()), (2, 3), "the model was not asked again");
    world.close().await;
}

#[tokio::test]
async fn any_new_message_finishes_a_turn_that_waits_first() {
    let file = File::new();
    let world = simple(&file, busy_model());
    let conversation = world.app.create_conversation(user(1), String::new(), None, false).await.unwrap().id;
    world.task.tasks().refusals.push_back(refusal(Code::Unauthenticated, "TOKEN_EXPIRED"));
    world.send(say(Some(conversation), "first")).await.unwrap_err();
    world.send(say(Some(conversation), "second")).await.unwrap();
    let said: Vec<_> = world.said(conversation).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["first", "Done.", "second", "Done."]);
    assert_eq!(world.task.made(), 4);
    world.close().await;
}

#[tokio::test]
async fn r_114_closing_parks_what_runs_and_a_retry_after_the_restart_finishes_it() {
    let file = File::new();
    let world = Arc::new(simple(&file, Puppet::saying("hi").waiting()));
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.send(repeatable("hello")).await }
    });
    world.asked(1).await;
    world.runner.close().await;
    let parked = waiting.await.unwrap().unwrap_err();
    assert!(matches!(parked, Error::ShuttingDown), "{parked:?}");
    assert!(matches!(world.send(say(None, "x")).await, Err(Error::ShuttingDown)));
    world.store.close().await;
    let world = simple(&file, Puppet::saying("hi"));
    assert_eq!(world.send(repeatable("hello")).await.unwrap().text, "hi");
    assert_eq!(world.conversations().await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn a_turn_that_another_process_works_on_is_waited_for_and_its_conversation_takes_no_other() {
    for place in Kept::each().await {
        let task = FakeTask::default();
        let one = Arc::new(world(place.open().await, Arc::new(Puppet::saying("hi").waiting()), &task, 8));
        // A file has one store in one process; a server has one for each.
        let store = if matches!(place, Kept::File(_)) { one.store.clone() } else { place.open().await };
        let two = Arc::new(world(store, Arc::new(Puppet::saying("hi")), &task, 8));
        let send = |world: &Arc<World>| {
            let world = world.clone();
            tokio::spawn(async move { world.send(repeatable("hello")).await })
        };
        let first = send(&one);
        one.asked(1).await;
        let again = send(&two);
        let conversation = two.conversations().await[0];
        let next = two.send(say(Some(conversation), "and?")).await;
        assert!(matches!(next, Err(Error::TurnInProgress(_))), "{next:?}");
        one.model.gate.add_permits(1);
        let answered = first.await.unwrap().unwrap();
        assert_eq!(answered.text, "hi");
        assert_eq!(again.await.unwrap().unwrap(), answered);
        assert_eq!(two.send(repeatable("hello")).await.unwrap(), answered);
        assert_eq!(two.model.asked(), 0);
        one.store.close().await;
        two.store.close().await;
    }
}
