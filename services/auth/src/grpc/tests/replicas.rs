//! Several replicas of the role on one database.

use errand_proto::auth::{GetJwksRequest, LogOutRequest};

use super::world::*;
use crate::keys::{LEAD, State};

type Room = super::world::Room<true>;

/// Replicas that were started at the same time; none where there is no shared database.
async fn replicas(count: usize) -> Vec<Room> {
    let home = Room::home();
    if matches!(home, Home::Folder(_)) {
        return Vec::new();
    }
    let clock = Arc::new(ManualClock::default());
    side_by_side((0..count).map(|_| Room::open(home.clone(), clock.clone(), Config::default()))).await
}

async fn kids(room: &Room) -> Vec<String> {
    let keys = room.client().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    keys.into_iter().map(|key| key.kid).collect()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_on_an_empty_database_make_one_key_and_believe_each_other() {
    let rooms = replicas(4).await;
    let Some(first) = rooms.first() else { return };
    assert_eq!(first.count("signing_keys"), 1);
    let ada = first.sign_up("ada@example.com").await;
    for room in &rooms {
        assert!(room.me(ada.access()).await.is_ok());
        let credentials = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
        assert!(first.me(&credentials.access_token).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_made_elsewhere_is_told_at_once_and_signs_everywhere_in_time() {
    let rooms = replicas(2).await;
    let [one, other] = rooms.as_slice() else { return };
    let ada = one.sign_up("ada@example.com").await;
    let secret = Secret::new(&[9; 32]).unwrap();
    let new = crate::rotate_keys(one.home.place(), &secret, one.clock.clone()).await.unwrap();
    one.pass(1);
    for room in [one, other] {
        assert_eq!(kids(room).await, [kid(ada.access()), new.clone()], "asked for, it is read");
    }
    // Nobody keeps house here: it is the signing itself that looks.
    one.clock.advance(LEAD);
    for room in [one, other] {
        let credentials = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
        assert_eq!(kid(&credentials.access_token), new);
        assert!(one.me(&credentials.access_token).await.is_ok() && other.me(&credentials.access_token).await.is_ok());
    }
    let states = crate::list_keys(one.home.place(), &secret, one.clock.clone()).await.unwrap();
    assert_eq!(states.iter().map(|key| key.state).collect::<Vec<_>>(), [State::Verifying, State::Signing]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_rotate_at_once_lose_no_key() {
    let rooms = replicas(4).await;
    let Some(first) = rooms.first() else { return };
    let apps: Vec<_> = rooms.iter().map(|room| room.role.app().clone()).collect();
    let mut made = side_by_side(apps.into_iter().map(|app| async move { app.keys.rotate().await.unwrap() })).await;
    first.pass(1);
    let mut told = kids(first).await.split_off(1);
    made.sort();
    told.sort();
    assert_eq!(told, made);
    assert_eq!(first.run("SELECT count(*) FROM auth.signing_keys WHERE not_after IS NULL"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_024_parallel_refreshes_at_several_replicas_have_one_successor() {
    let rooms = replicas(2).await;
    let Some(first) = rooms.first() else { return };
    let ada = first.sign_up("ada@example.com").await;
    let mut token = ada.refresh().to_owned();
    let rounds = rounds(10, 1000);
    for _ in 0..rounds {
        first.pass(11);
        let calls = (0..32).map(|number| {
            let mut client = rooms[number % 2].client();
            let request = RefreshTokenRequest { refresh_token: token.clone() };
            async move { client.refresh_token(request).await.unwrap().into_inner().credentials.unwrap().refresh_token }
        });
        let answers = side_by_side(calls).await;
        assert!(answers.iter().all(|answer| *answer == answers[0] && *answer != token));
        token.clone_from(&answers[0]);
    }
    assert_eq!(first.run("SELECT generation FROM auth.sessions"), rounds.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_071_log_out_at_one_replica_beside_refresh_at_another_leaves_no_live_token() {
    let rooms = replicas(2).await;
    let [one, other] = rooms.as_slice() else { return };
    one.sign_up("ada@example.com").await;
    for round in 0..rounds(20, 1000) {
        one.pass(11);
        let credentials = one.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
        let (mut client, mut beside) = (one.client(), other.client());
        let log_out = bearing(&credentials.access_token, LogOutRequest {});
        let refresh = RefreshTokenRequest { refresh_token: credentials.refresh_token.clone() };
        let (ended, refreshed) = tokio::join!(client.log_out(log_out), beside.refresh_token(refresh));
        ended.unwrap();
        let next = refreshed.ok().map(|answer| answer.into_inner().credentials.unwrap().refresh_token);
        for token in [Some(credentials.refresh_token), next].into_iter().flatten() {
            for room in [one, other] {
                assert_eq!(reason(room.refresh(&token).await), "REFRESH_TOKEN_INVALID", "round {round}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_070_sign_ups_with_one_address_at_several_replicas_have_one_winner() {
    let rooms = replicas(2).await;
    if rooms.is_empty() {
        return;
    }
    for round in 0..rounds(3, 500) {
        rooms[0].pass(60);
        let calls = (0..8).map(|number| {
            let mut client = rooms[number % 2].client();
            let email = format!("{round}@example.com");
            let request = SignUpRequest { email, password: PASSWORD.into(), ..Default::default() };
            async move {
                // Each from another address, which is throttled by itself.
                let address = format!("192.0.2.{number}");
                client.sign_up(from(&address, request)).await
            }
        });
        let answers = side_by_side(calls).await;
        let taken: Vec<_> = answers.into_iter().filter_map(|answer| answer.err().map(|status| status.code())).collect();
        // A throttle of one address lets five a minute through at each replica, which is more than are sent.
        assert_eq!(taken, [Code::AlreadyExists; 7]);
    }
    assert_eq!(rooms[0].count("users"), rounds(3, 500));
}
