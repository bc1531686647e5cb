//! Battery 2.3: an account that was deleted is gone, here and in the other services, whatever happens
//! meanwhile.

use std::time::Duration;

use errand_proto::{
    auth::{ChangePasswordRequest, DeleteMeRequest, GetMeRequest, LogOutRequest},
    chat::ListConversationsRequest,
    contract::{METHODS, Method},
};
use tonic::{Code, Status};

use crate::sandbox::{PASSWORD, Person, Sandbox, raw, reason, refusal, refused};

/// Words that are found wherever something of the deleted user is left.
const CANARY: &str = "canary-of-ann";

/// Longer than any test has to wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// How each service that holds data of users is asked to erase it.
fn holders() -> Vec<&'static Method> {
    METHODS.iter().filter(|method| method.name == "EraseMe").collect()
}

/// The services where nothing may be left: `errand.task.v1.TaskService` is `task`.
fn services() -> Vec<&'static str> {
    let holders = holders().into_iter().map(|holder| holder.service.split('.').nth(1).unwrap());
    holders.chain(["auth"]).collect()
}

/// Waits until every service has acknowledged that it erased what it held of closed accounts.
async fn erased(sandbox: &Sandbox) {
    let waiting = async {
        for holder in holders() {
            let left = format!("SELECT 1 FROM erasures WHERE service = '{}'", holder.service);
            while !sandbox.stored("auth", &left).await.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("everything is erased in time");
}

/// The places of everything stored where these words are left.
async fn found(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for service in services() {
        let contents = sandbox.contents(service).await.into_iter();
        found.extend(contents.filter(|value| words.iter().any(|word| value.contains(word))));
    }
    found
}

async fn busy_life(sandbox: &Sandbox) -> Person {
    let ann = sandbox.sign_up_as(&format!("{CANARY}@example.com")).await.unwrap();
    for number in 0..3 {
        ann.create(&format!("{CANARY} {number}")).await;
    }
    ann.try_create(&format!("{CANARY} asked twice"), "one").await.unwrap();
    let conversation = ann.say("", &format!("add {CANARY} by the assistant")).await.conversation_id;
    ann.say(&conversation, "list my tasks").await;
    ann
}

async fn delete_me(person: &Person, password: &str) -> Result<(), Status> {
    let request = person.request(DeleteMeRequest { password: password.to_owned() });
    person.auth().delete_me(request).await.map(|_| ())
}

#[tokio::test]
async fn r_041_who_signs_up_again_is_somebody_else_and_sees_nothing_old() {
    let sandbox = Sandbox::start();
    let ann = busy_life(&sandbox).await;
    let elsewhere = sandbox.log_in(&ann.user.email).await.unwrap();
    assert_eq!(reason(delete_me(&ann, "not it at all").await), refused(Code::Unauthenticated, "CREDENTIALS_INVALID"));
    delete_me(&ann, PASSWORD).await.unwrap();

    // At once, before anything is erased elsewhere.
    let gone = refused(Code::Unauthenticated, "ACCOUNT_DELETED");
    for old in [&ann, &elsewhere] {
        assert_eq!(reason(old.auth().get_me(old.request(GetMeRequest {})).await), gone);
        assert_eq!(reason(old.auth().log_out(old.request(LogOutRequest {})).await), gone);
        let change = ChangePasswordRequest { current_password: PASSWORD.into(), new_password: "another one".into() };
        assert_eq!(reason(old.auth().change_password(old.request(change)).await), gone);
        assert_eq!(reason(delete_me(old, PASSWORD).await), gone);
        let refreshed = sandbox.refresh(&old.credentials.refresh_token).await;
        assert_eq!(reason(refreshed), refused(Code::Unauthenticated, "REFRESH_TOKEN_INVALID"));
    }
    let log_in = sandbox.log_in(&ann.user.email).await.map(|_| ());
    assert_eq!(reason(log_in), refused(Code::Unauthenticated, "CREDENTIALS_INVALID"));

    let again = sandbox.sign_up_as(&ann.user.email).await.unwrap();
    assert_ne!(again.user.id, ann.user.id);
    assert_eq!(again.titles().await, [""; 0]);
    let request = again.request(ListConversationsRequest::default());
    let conversations = again.chat().list_conversations(request).await.unwrap().into_inner().conversations;
    assert!(conversations.is_empty());
    again.create("of the new account").await;

    erased(&sandbox).await;
    assert_eq!(again.titles().await, ["of the new account"], "only the old account's data was erased");
}

#[tokio::test]
async fn r_041_old_tokens_write_nothing_more_once_the_data_is_erased() {
    let sandbox = Sandbox::start();
    let ann = busy_life(&sandbox).await;
    delete_me(&ann, PASSWORD).await.unwrap();
    erased(&sandbox).await;
    let gone = refused(Code::Unauthenticated, "ACCOUNT_DELETED");
    assert_eq!(reason(ann.try_create("too late", "").await), gone);
    assert_eq!(reason(ann.try_create(&format!("{CANARY} asked twice"), "one").await), gone, "no answer is replayed");
    assert_eq!(found(&sandbox, &[CANARY, "too late"]).await, [""; 0]);
}

#[tokio::test]
async fn an_account_whose_process_is_killed_right_after_its_deletion_is_erased_all_the_same() {
    let mut sandbox = Sandbox::start();
    let ann = busy_life(&sandbox).await;
    let bob = sandbox.sign_up().await;
    bob.create("of bob").await;
    assert!(found(&sandbox, &[CANARY]).await.len() > 10);
    delete_me(&ann, PASSWORD).await.unwrap();
    sandbox.kill_and_restart();
    erased(&sandbox).await;
    assert_eq!(found(&sandbox, &[CANARY]).await, [""; 0]);
    let bob = sandbox.log_in(&bob.user.email).await.unwrap();
    assert_eq!(bob.titles().await, ["of bob"]);
}

#[tokio::test]
async fn nobody_erases_with_a_token_of_their_own() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.create("still here").await;
    for method in holders() {
        let said = refusal(raw(&ann.channel, method.path, vec![], Some(ann.token())).await);
        assert_eq!((said.code, said.reason.as_str()), (Code::PermissionDenied, "SCOPE_MISSING"), "{}", method.path);
    }
    assert_eq!(ann.titles().await, ["still here"]);
}
