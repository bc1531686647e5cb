//! Log in, refresh, log out, and the list of sessions.

use errand_proto::auth::{DeleteSessionRequest, ListSessionsRequest, ListSessionsResponse, LogOutRequest, Session};

use super::*;

impl Room {
    async fn log_out(&self, access_token: &str) -> Result<(), Status> {
        self.client().log_out(bearing(access_token, LogOutRequest {})).await.map(|_| ())
    }

    async fn list(&self, access_token: &str, page_size: i32, page_token: &str) -> Result<ListSessionsResponse, Status> {
        let request = ListSessionsRequest { page_size, page_token: page_token.into() };
        self.client().list_sessions(bearing(access_token, request)).await.map(Response::into_inner)
    }

    async fn sessions(&self, access_token: &str) -> Vec<Session> {
        self.list(access_token, 200, "").await.unwrap().sessions
    }

    async fn delete_session(&self, access_token: &str, session_id: &str) -> Result<(), Status> {
        let request = DeleteSessionRequest { session_id: session_id.into() };
        self.client().delete_session(bearing(access_token, request)).await.map(|_| ())
    }

    /// The kinds of the changes in everybody's log.
    fn kinds(&self) -> Vec<String> {
        let text = self.run("SELECT kind FROM auth.changes ORDER BY owner, seq");
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_gives_the_next() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let mut token = ada.refresh().to_owned();
    for _ in 0..5 {
        room.pass(60);
        let next = room.refresh(&token).await.unwrap();
        assert_ne!(next.refresh_token, token);
        assert_eq!(room.me(&next.access_token).await.unwrap().id, ada.user.id);
        token = next.refresh_token;
    }
    assert_eq!(room.sessions(ada.access()).await.len(), 1);
}

#[tokio::test]
async fn r_022_neither_token_does_the_other_ones_work() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    assert_eq!(refusal(room.me(ada.refresh()).await), (Code::Unauthenticated, "TOKEN_INVALID".into()));
    assert_eq!(
        refusal(room.refresh(&ada.access()[..512.min(ada.access().len())]).await),
        (Code::Unauthenticated, "REFRESH_TOKEN_INVALID".into())
    );
    for made_up in ["x", ".", "a.b", &"0".repeat(512)] {
        assert_eq!(reason(room.refresh(made_up).await), "REFRESH_TOKEN_INVALID", "{made_up}");
    }
    assert!(room.refresh(ada.refresh()).await.is_ok());
}

#[tokio::test]
async fn r_023_a_used_token_after_the_grace_revokes_the_session() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let elsewhere = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
    let next = room.refresh(ada.refresh()).await.unwrap();
    room.pass(11);
    assert_eq!(refusal(room.refresh(ada.refresh()).await), (Code::Unauthenticated, "REFRESH_TOKEN_REUSED".into()));
    assert_eq!(reason(room.refresh(&next.refresh_token).await), "REFRESH_TOKEN_INVALID");
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_INVALID");
    assert!(room.refresh(&elsewhere.refresh_token).await.is_ok(), "another session is no part of it");
    assert_eq!(room.kinds(), ["sign_up", "log_in", "log_in", "revoke_session"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_024_parallel_refresh_has_one_winner_and_everybody_gets_it() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let mut token = ada.refresh().to_owned();
    let rounds = rounds(20, 1000);
    for _ in 0..rounds {
        room.pass(11);
        let calls = (0..32).map(|_| {
            let (mut client, request) = (room.client(), RefreshTokenRequest { refresh_token: token.clone() });
            async move { client.refresh_token(request).await.unwrap().into_inner().credentials.unwrap().refresh_token }
        });
        let answers = side_by_side(calls).await;
        assert!(answers.iter().all(|answer| *answer == answers[0] && *answer != token));
        token.clone_from(&answers[0]);
    }
    assert_eq!(room.run("SELECT generation FROM auth.sessions"), rounds.to_string());
}

#[tokio::test]
async fn r_025_a_lost_answer_can_be_asked_for_again_and_a_grandparent_revokes() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let lost = room.refresh(ada.refresh()).await.unwrap();
    room.pass(10);
    let found = room.refresh(ada.refresh()).await.unwrap();
    assert_eq!(found.refresh_token, lost.refresh_token);
    assert_ne!(found.access_token, lost.access_token);
    let used = room.refresh(&found.refresh_token).await.unwrap();
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_REUSED");
    assert_eq!(reason(room.refresh(&used.refresh_token).await), "REFRESH_TOKEN_INVALID");
}

#[tokio::test]
async fn a_token_that_was_made_up_revokes_nothing() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let next = room.refresh(ada.refresh()).await.unwrap();
    room.pass(60);
    let (id, secret) = ada.refresh().split_once('.').unwrap();
    let mut forged = secret.to_owned();
    forged.replace_range(40..44, "AAAA");
    for forged in [format!("{id}.{forged}"), format!("{id}.AAAAAA")] {
        assert_eq!(reason(room.refresh(&forged).await), "REFRESH_TOKEN_INVALID");
    }
    assert!(room.refresh(&next.refresh_token).await.is_ok());
}

#[tokio::test]
async fn r_026_a_revoked_session_stays_revoked_over_a_restart() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let bob = room.sign_up("bob@example.com").await;
    room.log_out(ada.access()).await.unwrap();
    let room = room.again().await;
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_INVALID");
    assert!(room.refresh(bob.refresh()).await.is_ok(), "who was signed in still is");
    assert!(room.me(bob.access()).await.is_ok(), "and the signing key is the same");
}

#[tokio::test]
async fn r_027_log_out_ends_refreshing_at_once_and_access_with_its_lifetime() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.log_out(ada.access()).await.unwrap();
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_INVALID");
    room.log_out(ada.access()).await.unwrap();
    assert!(room.me(ada.access()).await.is_ok());
    room.pass(15 * 60 + 6);
    assert_eq!(refusal(room.me(ada.access()).await), (Code::Unauthenticated, "TOKEN_EXPIRED".into()));
    assert_eq!(room.kinds(), ["sign_up", "log_in", "log_out"]);
}

#[tokio::test]
async fn r_028_a_refresh_token_lives_seven_days_and_an_access_token_fifteen_minutes() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.pass(15 * 60 - 1);
    assert!(room.me(ada.access()).await.is_ok());
    room.pass(1 + 5 + 1);
    assert_eq!(reason(room.me(ada.access()).await), "TOKEN_EXPIRED");
    let week = 7 * 24 * 3600;
    room.pass(week - 15 * 60 - 6 - 1);
    let next = room.refresh(ada.refresh()).await.unwrap();
    room.pass(week - 1);
    let last = room.refresh(&next.refresh_token).await.unwrap();
    room.pass(week);
    assert_eq!(
        refusal(room.refresh(&last.refresh_token).await),
        (Code::Unauthenticated, "REFRESH_TOKEN_INVALID".into())
    );
    assert_eq!(room.count("session_owners"), 1);
    room.role.app().tidy().await.unwrap();
    assert_eq!(room.count("session_owners"), 0, "housekeeping drops what has expired");
}

#[tokio::test]
async fn r_029_tokens_of_a_rotated_key_are_good_until_they_expire() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.role.app().keys.rotate().await.unwrap();
    room.pass(600);
    let next = room.refresh(ada.refresh()).await.unwrap();
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid;
    assert_ne!(kid(&next.access_token), kid(ada.access()));
    assert!(room.me(ada.access()).await.is_ok());
    assert!(room.me(&next.access_token).await.is_ok());
}

#[tokio::test]
async fn sessions_say_where_and_when_and_which_is_this_one() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.pass(60);
    let mut request = from("2001:db8::7", LogInRequest { email: "ada@example.com".into(), password: PASSWORD.into() });
    request.metadata_mut().insert("user-agent", "my-client/1.0".parse().unwrap());
    let second = room.client().log_in(request).await.unwrap().into_inner().credentials.unwrap();
    room.pass(60);
    let second = room.refresh(&second.refresh_token).await.unwrap();
    let sessions = room.sessions(ada.access()).await;
    assert_eq!(sessions.iter().map(|session| session.current).collect::<Vec<_>>(), [false, true]);
    assert_eq!((sessions[0].user_agent.as_str(), sessions[0].ip_address.as_str()), ("my-client/1.0", "2001:db8::7"));
    let seconds = |time: &Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert_eq!(seconds(&sessions[0].refresh_time) - seconds(&sessions[0].create_time), 60);
    assert_eq!(seconds(&sessions[0].expire_time) - seconds(&sessions[0].refresh_time), 7 * 24 * 3600);
    assert!(room.sessions(&second.access_token).await[0].current);
}

#[tokio::test]
async fn r_053_r_054_pages_of_sessions_have_every_session_once() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    for _ in 0..4 {
        room.log_in("ada@example.com", PASSWORD).await.unwrap();
    }
    let bob = room.sign_up("bob@example.com").await;
    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let page = room.list(ada.access(), 2, &token).await.unwrap();
        ids.extend(page.sessions.into_iter().map(|session| session.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert_eq!(reason(room.list(bob.access(), 2, &token).await), "PAGE_TOKEN_INVALID");
        assert!(room.list(ada.access(), 200, &token).await.is_ok(), "another size with it is fine");
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert_eq!(refusal(room.list(ada.access(), -1, "").await), (Code::InvalidArgument, "INVALID_FIELDS".into()));
    assert_eq!(refusal(room.list(ada.access(), 0, "AAAA").await), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()));
    assert_eq!(room.list(ada.access(), 5, "").await.unwrap().next_page_token, "");
}

#[tokio::test]
async fn r_035_a_session_of_another_user_is_as_unknown_as_one_that_never_was() {
    let room = Room::new().await;
    let (ada, bob) = (room.sign_up("ada@example.com").await, room.sign_up("bob@example.com").await);
    let bobs = room.sessions(bob.access()).await[0].id.clone();
    let nobodys = "01890000-0000-7000-8000-000000000000";
    let mut seen = Vec::new();
    for id in [bobs.as_str(), nobodys] {
        let status = room.delete_session(ada.access(), id).await.unwrap_err();
        assert_eq!((status.code(), status::reason(&status).as_deref()), (Code::NotFound, Some("SESSION_NOT_FOUND")));
        seen.push(status.message().replace(id, "ID"));
    }
    assert_eq!(seen[0], seen[1]);
    assert!(room.refresh(bob.refresh()).await.is_ok());

    let adas = room.sessions(ada.access()).await[0].id.clone();
    room.delete_session(ada.access(), &adas).await.unwrap();
    assert_eq!(reason(room.delete_session(ada.access(), &adas).await), "SESSION_NOT_FOUND");
    assert_eq!(reason(room.refresh(ada.refresh()).await), "REFRESH_TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_071_no_token_lives_after_log_out_met_refresh() {
    let room = Room::new().await;
    room.sign_up("ada@example.com").await;
    for _ in 0..rounds(20, 1000) {
        let session = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
        let (mut client, access) = (room.client(), session.access_token.clone());
        let out = tokio::spawn(async move { client.log_out(bearing(&access, LogOutRequest {})).await.map(|_| ()) });
        let refreshed = room.refresh(&session.refresh_token).await;
        out.await.unwrap().unwrap();
        let newest = refreshed.map_or(session.refresh_token, |credentials| credentials.refresh_token);
        assert_eq!(reason(room.refresh(&newest).await), "REFRESH_TOKEN_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_071_no_session_of_an_old_password_lives_after_its_change() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..rounds(10, 1000) {
        let next = format!("password of round {round}");
        let session = room.log_in("ada@example.com", &password).await.unwrap().credentials.unwrap();
        // A log-in and a refresh race with the change.
        let (mut client, old) = (room.client(), password.clone());
        let logging_in = tokio::spawn(async move {
            let request = LogInRequest { email: "ada@example.com".into(), password: old };
            // From where the right password is used, too, which forgets the failures.
            client.log_in(from("192.0.2.1", request)).await
        });
        let (mut client, token) = (room.client(), session.refresh_token.clone());
        let refreshing =
            tokio::spawn(async move { client.refresh_token(RefreshTokenRequest { refresh_token: token }).await });
        room.change_password(ada.access(), &password, &next).await.unwrap();
        let mut left = Vec::new();
        left.extend(logging_in.await.unwrap().ok().and_then(|answer| answer.into_inner().credentials));
        left.extend(refreshing.await.unwrap().ok().and_then(|answer| answer.into_inner().credentials));
        for credentials in left {
            assert_eq!(reason(room.refresh(&credentials.refresh_token).await), "REFRESH_TOKEN_INVALID", "{round}");
        }
        assert_eq!(room.sessions(ada.access()).await.len(), 1);
        password = next;
    }
}

#[tokio::test]
async fn the_command_line_lists_and_rotates_the_keys_of_a_role_that_is_stopped() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    room.role.close().await;
    let place = || room.home.place();
    let secret = Secret::new(&[9; 32]).unwrap();
    let clock: Arc<dyn Clock> = room.clock.clone();
    assert_eq!(crate::list_keys(place(), &secret, clock.clone()).await.unwrap().len(), 1);
    let kid = crate::rotate_keys(place(), &secret, clock.clone()).await.unwrap();
    let listed = crate::list_keys(place(), &secret, clock.clone()).await.unwrap();
    assert_eq!((listed.len(), &listed[1].kid), (2, &kid));
    let wrong = Secret::new(&[8; 32]).unwrap();
    assert!(matches!(crate::list_keys(place(), &wrong, clock).await, Err(crate::Error::Keys(_))));
    let room = room.again().await;
    assert!(room.me(ada.access()).await.is_ok());
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let printed = format!("{:?}", room.role);
    for secret in [ada.access(), ada.refresh(), PASSWORD, "ada@example.com", "argon2id$"] {
        assert!(!printed.contains(secret), "{secret}");
    }
}
