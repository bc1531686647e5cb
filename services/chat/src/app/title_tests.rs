//! Titles that a model makes after the first exchange.

use std::time::Duration;

use super::*;
use crate::testing::Titler;

const COST: Usage = Usage { prompt: 60, completion: 40 };

/// A model that calls conversations so.
fn naming(title: Titler) -> Puppet {
    Puppet { cost: Some(COST), title: Some(title), ..Puppet::saying("All right.") }
}

fn titled(said: &str, answered: &str) -> Result<Step, ModelError> {
    Ok(Step::Reply(format!("**About {said} and {answered}**")))
}

async fn title(world: &World, conversation: Uuid) -> String {
    world.app.conversation(user(1), conversation).await.unwrap().title
}

/// Until the conversation is called so.
async fn becomes(world: &World, conversation: Uuid, expected: &str) {
    let waiting = async {
        while title(world, conversation).await != expected {
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(found.is_ok(), "it is {:?}", title(world, conversation).await);
}

#[tokio::test]
async fn a_conversation_gets_a_title_from_its_first_exchange_and_keeps_it() {
    for kept in Kept::each().await {
        let world = world(kept.open().await, Arc::new(naming(titled)), &FakeTask::default(), 8);
        let first = world.send(say(None, "milk")).await.unwrap();
        becomes(&world, first.conversation, "About milk and All right").await;
        world.send(say(Some(first.conversation), "eggs")).await.unwrap();
        // Whoever was asked for a title before this one has answered.
        let other = world.send(say(None, "tea")).await.unwrap();
        becomes(&world, other.conversation, "About tea and All right").await;
        assert_eq!(title(&world, first.conversation).await, "About milk and All right");
        let changes = world.app.conversation(user(1), first.conversation).await.unwrap();
        assert!(changes.version > 1, "it is a version of its own");
        world.close().await;
    }
}

#[tokio::test]
async fn r_046_what_is_no_title_leaves_the_start_of_the_first_message() {
    let hostile: [Titler; 4] = [
        |_, _| Ok(Step::Reply("\u{202e}\0 ** \n".to_owned())),
        |_, _| Ok(Step::Reply(String::new())),
        |_, _| Ok(Step::Call(vec![crate::testing::call("x", "delete_tasks", serde_json::json!({}))])),
        |_, _| Err(ModelError::Unavailable("no".to_owned())),
    ];
    for no_title in hostile {
        let file = File::new();
        let world = world(Arc::new(file.open()), Arc::new(naming(no_title)), &FakeTask::default(), 8);
        let first = world.send(say(None, "# milk\u{202e}\neggs")).await.unwrap();
        world.runner.close().await;
        assert_eq!(title(&world, first.conversation).await, "milk eggs");
        assert_eq!(world.task.made(), 0);
        world.store.close().await;
    }
}

#[tokio::test]
async fn r_083_a_title_is_not_asked_for_beyond_the_budget_and_is_counted_within_it() {
    for (budget, expected, is_spent) in
        [(100, "milk", true), (101, "About milk and All right", true), (201, "About milk and All right", false)]
    {
        let file = File::new();
        let clock = Arc::new(StillClock);
        let task = FakeTask::default();
        let world = thrifty(Arc::new(file.open()), Arc::new(naming(titled)), &task, 8, clock, Some(budget));
        let first = world.send(say(None, "milk")).await.unwrap();
        becomes(&world, first.conversation, expected).await;
        // Each answer costs a hundred, and so does a title.
        let again = world.send(say(Some(first.conversation), "eggs")).await;
        assert_eq!(matches!(again, Err(Error::BudgetSpent { .. })), is_spent, "{budget}: {again:?}");
        world.close().await;
    }
}
