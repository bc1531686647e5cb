//! How many statements each rpc costs: what `docs/statements.md` says.

use std::collections::BTreeMap;

use errand_proto::{
    auth::{
        DeleteMeRequest, DeleteSessionRequest, GetJwksRequest, ListSessionsRequest, LogOutRequest,
        auth_service_server::SERVICE_NAME,
    },
    contract::METHODS,
};

use super::world::*;

type Room = super::world::Room<true>;

/// The table of the page.
fn said() -> BTreeMap<String, u64> {
    let page = include_str!("../../../../../docs/statements.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Auth\n")).unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

/// What calls of one rpc cost, in order.
struct Bill<'r> {
    room: &'r Room,
    rpcs: BTreeMap<String, u64>,
}

impl Bill<'_> {
    async fn add<T, E: std::fmt::Debug>(&mut self, rpc: &str, call: impl Future<Output = Result<T, E>>) -> T {
        let (answer, statements) = cost(self.room, call).await;
        self.rpcs.insert(rpc.to_owned(), statements);
        answer.unwrap()
    }
}

async fn cost<T>(room: &Room, call: impl Future<Output = T>) -> (T, u64) {
    let before = room.statements().unwrap();
    let answer = call.await;
    (answer, room.statements().unwrap() - before)
}

#[tokio::test]
async fn every_rpc_costs_the_statements_that_the_page_says() {
    let room = Room::new().await;
    if room.statements().is_none() {
        return;
    }
    let mut bill = Bill { room: &room, rpcs: BTreeMap::new() };
    let mut client = room.client();
    let ada = bill.add("SignUp", room.try_sign_up("ada@example.com", PASSWORD)).await.credentials.unwrap();
    let other = bill.add("LogIn", room.log_in("ada@example.com", PASSWORD)).await.credentials.unwrap();
    let token = ada.access_token.as_str();
    bill.add("RefreshToken", room.refresh(&ada.refresh_token)).await;
    bill.add("GetMe", room.me(token)).await;
    let renamed = UpdateMeRequest {
        user: Some(User { display_name: "Ada".into(), ..Default::default() }),
        request_id: "one".into(),
        ..Default::default()
    };
    bill.add("UpdateMe", room.update_me(token, renamed)).await;
    let sessions = client.list_sessions(bearing(token, ListSessionsRequest::default()));
    let sessions = bill.add("ListSessions", sessions).await.into_inner().sessions;
    let session_id = sessions.into_iter().find(|session| !session.current).unwrap().id;
    bill.add("DeleteSession", client.delete_session(bearing(token, DeleteSessionRequest { session_id }))).await;
    bill.add("ChangePassword", room.change_password(token, PASSWORD, "another password")).await;
    bill.add("GetJwks", client.get_jwks(GetJwksRequest {})).await;
    bill.add("LogOut", client.log_out(bearing(token, LogOutRequest {}))).await;
    let request = DeleteMeRequest { password: "another password".into() };
    bill.add("DeleteMe", client.delete_me(bearing(&other.access_token, request))).await;
    assert_eq!(bill.rpcs, said());
    let all: Vec<_> = METHODS
        .iter()
        .filter_map(|method| method.path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?.strip_prefix('/'))
        .collect();
    assert_eq!(bill.rpcs.len(), all.len());
    assert!(all.iter().all(|rpc| bill.rpcs.contains_key(*rpc)), "every rpc: {all:?}");
}

#[tokio::test]
async fn r_035_an_id_of_another_costs_what_an_id_of_nobody_costs() {
    let room = Room::new().await;
    if room.statements().is_none() {
        return;
    }
    let (ada, bob) = (room.sign_up("ada@example.com").await, room.sign_up("bob@example.com").await);
    let list = room.client().list_sessions(bearing(bob.access(), ListSessionsRequest::default())).await;
    let of_bob = list.unwrap().into_inner().sessions.remove(0).id;
    let of_nobody = "0197c7ae-7b7a-7000-8000-000000000000".to_owned();
    let mut costs = Vec::new();
    for session_id in [of_bob, of_nobody] {
        let mut client = room.client();
        let call = client.delete_session(bearing(ada.access(), DeleteSessionRequest { session_id }));
        let (answer, statements) = cost(&room, call).await;
        costs.push((reason(answer), statements));
    }
    assert_eq!(costs, [("SESSION_NOT_FOUND".to_owned(), 2), ("SESSION_NOT_FOUND".to_owned(), 2)]);
    for (email, expected) in [("ada@example.com", 2), ("nobody@example.com", 2)] {
        let (answer, statements) = cost(&room, room.log_in(email, "a wrong password")).await;
        assert_eq!((reason(answer), statements), ("CREDENTIALS_INVALID".to_owned(), expected), "{email}");
    }
}
