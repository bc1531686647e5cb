//! The end of an account, and of what other services hold of it.

use std::{collections::VecDeque, sync::Mutex};

use errand_changelog::UserId;
use errand_chassis::{token::Claims, upstream::Unreached};
use errand_proto::auth::{DeleteMeRequest, DeleteSessionRequest, ListSessionsRequest, LogOutRequest};
use tokio::sync::mpsc;
use tower::{service_fn, util::BoxCloneSyncService};

use super::*;

const TASK: &str = "errand.task.v1.TaskService";
const CHAT: &str = "errand.chat.v1.ChatService";
const PATHS: [&str; 2] = ["/errand.task.v1.TaskService/EraseMe", "/errand.chat.v1.ChatService/EraseMe"];

/// Two services that take down what they are asked, and answer as they are told; OK otherwise.
struct Holders {
    task: Arc<Mutex<VecDeque<Code>>>,
    chat: Arc<Mutex<VecDeque<Code>>>,
    calls: mpsc::Receiver<(String, Claims)>,
    upstreams: Vec<(&'static str, Upstream)>,
}

impl Holders {
    fn new() -> Self {
        let (asked, calls) = mpsc::channel(64);
        let (task, chat) = (Arc::default(), Arc::default());
        let upstreams = vec![(TASK, holder(&task, &asked)), (CHAT, holder(&chat, &asked))];
        Self { task, chat, calls, upstreams }
    }

    /// Who was asked since the last time, in order of their names.
    fn asked(&mut self) -> Vec<(String, Claims)> {
        let mut asked: Vec<_> = std::iter::from_fn(|| self.calls.try_recv().ok()).collect();
        asked.sort_by(|one, other| one.0.cmp(&other.0).reverse());
        asked
    }

    fn paths(&mut self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }
}

fn holder(answers: &Arc<Mutex<VecDeque<Code>>>, asked: &mpsc::Sender<(String, Claims)>) -> Upstream {
    let (answers, asked) = (answers.clone(), asked.clone());
    BoxCloneSyncService::new(service_fn(move |request: http::Request<tonic::body::Body>| {
        let authorization = request.headers()["authorization"].to_str().unwrap();
        let token = authorization.strip_prefix("Bearer ").unwrap();
        let claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(token).unwrap().claims;
        asked.try_send((request.uri().path().to_owned(), claims)).unwrap();
        let code = answers.lock().unwrap().pop_front().unwrap_or(Code::Ok);
        std::future::ready(match code {
            Code::Aborted => Err(Unreached::new("nobody is there")),
            Code::Ok => {
                let body = tonic::body::Body::new(http_body_util::Full::from(&[0_u8; 5][..]));
                Ok(http::Response::builder().header("grpc-status", "0").body(body).unwrap())
            }
            code => Ok(Status::new(code, "").into_http()),
        })
    }))
}

impl Room {
    async fn beside(holders: &Holders) -> Self {
        let room = Self::with(Config::default()).await;
        room.role.close().await;
        Self::before(room.home, room.clock, Config::default(), holders.upstreams.clone()).await
    }

    async fn delete_me(&self, access_token: &str, password: &str) -> Result<(), Status> {
        let mut request = bearing(access_token, DeleteMeRequest { password: password.into() });
        request.extensions_mut().insert(ClientAddress("192.0.2.1".parse().unwrap()));
        self.client().delete_me(request).await.map(|_| ())
    }

    /// Asks who is due; in how many seconds somebody is due again.
    async fn erase_due(&self) -> Option<i64> {
        let next = self.role.app().erase_due().await.unwrap();
        next.map(|next| next.duration_since(self.clock.now()).as_secs())
    }
}

#[tokio::test]
async fn r_041_a_deleted_account_is_gone_at_once_and_its_address_free() {
    let room = Room::new().await;
    let (ada, bob) = (room.sign_up("ada@example.com").await, room.sign_up("bob@example.com").await);
    let elsewhere = room.log_in("ada@example.com", PASSWORD).await.unwrap().credentials.unwrap();
    room.delete_me(ada.access(), PASSWORD).await.unwrap();

    let gone = (Code::Unauthenticated, "ACCOUNT_DELETED".to_owned());
    for access in [ada.access(), &elsewhere.access_token] {
        let mut client = room.client();
        assert_eq!(refusal(room.me(access).await), gone);
        assert_eq!(
            refusal(
                room.update_me(access, UpdateMeRequest { user: Some(User::default()), ..Default::default() }).await
            ),
            gone
        );
        assert_eq!(refusal(room.change_password(access, PASSWORD, "another password").await), gone);
        assert_eq!(refusal(room.delete_me(access, PASSWORD).await), gone);
        assert_eq!(refusal(client.log_out(bearing(access, LogOutRequest {})).await), gone);
        assert_eq!(refusal(client.list_sessions(bearing(access, ListSessionsRequest::default())).await), gone);
        let session_id = "01890000-0000-7000-8000-000000000000".to_owned();
        assert_eq!(refusal(client.delete_session(bearing(access, DeleteSessionRequest { session_id })).await), gone);
    }
    for refresh in [ada.refresh(), &elsewhere.refresh_token] {
        assert_eq!(refusal(room.refresh(refresh).await), (Code::Unauthenticated, "REFRESH_TOKEN_INVALID".into()));
    }
    assert_eq!(reason(room.log_in("ada@example.com", PASSWORD).await), "CREDENTIALS_INVALID");
    assert!(room.me(bob.access()).await.is_ok());

    let again = room.sign_up("Ada@example.com").await;
    assert_ne!(again.user.id, ada.user.id);
    assert_eq!(again.user.etag, "1", "a log of its own");
    assert_eq!(refusal(room.me(ada.access()).await), gone);
}

#[tokio::test]
async fn nothing_of_a_deleted_account_stays_in_the_database() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    let renamed = UpdateMeRequest {
        user: Some(User { display_name: "Ada".into(), ..Default::default() }),
        request_id: "one".into(),
        ..Default::default()
    };
    room.update_me(ada.access(), renamed).await.unwrap();
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    for table in ["users", "emails", "sessions", "session_owners", "heads", "changes", "requests", "erasures"] {
        assert_eq!(room.count(table), 0, "{table}");
    }
}

#[tokio::test]
async fn r_009_deleting_needs_the_password_and_obeys_the_throttle() {
    let room = Room::new().await;
    let ada = room.sign_up("ada@example.com").await;
    for _ in 0..10 {
        let wrong = refusal(room.delete_me(ada.access(), "not it at all").await);
        assert_eq!(wrong, (Code::Unauthenticated, "CREDENTIALS_INVALID".into()));
    }
    let hashes = room.hashes();
    let throttled = (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS".to_owned());
    assert_eq!(refusal(room.delete_me(ada.access(), PASSWORD).await), throttled);
    assert_eq!(refusal(room.log_in("ada@example.com", PASSWORD).await), throttled);
    assert_eq!(room.hashes(), hashes);
    assert!(room.me(ada.access()).await.is_ok());
    room.pass(15);
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    let empty = room.delete_me(ada.access(), "").await.unwrap_err();
    assert_eq!(violations(&empty), [("password".to_owned(), "REQUIRED".to_owned())]);
}

#[tokio::test]
async fn every_holder_is_asked_once_with_a_token_that_allows_nothing_else() {
    let mut holders = Holders::new();
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    assert_eq!(room.erase_due().await, None);
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    assert_eq!(holders.paths(), [""; 0]);
    assert_eq!(room.erase_due().await, Some(1), "as far as is known while they are asked");
    let asked = holders.asked();
    assert_eq!(asked.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), PATHS);
    for (_, claims) in asked {
        assert_eq!((claims.sub.to_string(), claims.scope.as_str()), (ada.user.id.clone(), "erase"));
        assert_eq!((claims.exp - claims.iat, claims.sid.is_nil()), (60, true));
    }
    room.pass(60);
    assert_eq!(room.erase_due().await, None);
    assert_eq!(holders.paths(), [""; 0]);
}

#[tokio::test]
async fn a_holder_that_does_not_acknowledge_is_asked_again_with_growing_pauses() {
    let mut holders = Holders::new();
    holders.task.lock().unwrap().extend([Code::Unimplemented, Code::Unavailable, Code::Internal]);
    // This stands for a peer that is not there at all.
    holders.chat.lock().unwrap().extend([Code::Aborted]);
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    room.erase_due().await;
    assert_eq!(holders.paths(), PATHS);
    assert_eq!(room.erase_due().await, Some(1));
    assert_eq!(holders.paths(), [""; 0], "not before its time");
    room.pass(1);
    room.erase_due().await;
    assert_eq!(holders.paths(), PATHS);
    assert_eq!(room.erase_due().await, Some(2), "chat has acknowledged");
    for pause in [2, 4] {
        room.pass(pause);
        room.erase_due().await;
        assert_eq!(holders.paths(), PATHS[..1]);
    }
    assert_eq!(room.erase_due().await, None);
    assert_eq!(room.count("erasures"), 0);
}

#[tokio::test]
async fn what_was_left_to_erase_is_gone_on_with_after_a_restart() {
    let mut holders = Holders::new();
    holders.task.lock().unwrap().extend([Code::Unavailable]);
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    room.erase_due().await;
    assert_eq!(holders.paths(), PATHS);
    let Room { home, clock, role, .. } = room;
    drop(role);
    clock.advance(SignedDuration::from_secs(1));
    // The whole role this time, which keeps house by itself.
    let dependencies = Dependencies {
        clock: clock.clone(),
        secret: Secret::new(&[9; 32]).unwrap(),
        keys: KeySet::empty(),
        erase: holders.upstreams.clone(),
    };
    let role = crate::open(home.place(), dependencies, Config::default()).await.unwrap();
    let (path, claims) = holders.calls.recv().await.unwrap();
    assert_eq!((path.as_str(), UserId::from(claims.sub).to_string()), (PATHS[0], ada.user.id));
    role.close().await;
}

#[tokio::test]
async fn an_account_that_is_closed_while_the_role_runs_is_erased_without_being_asked() {
    let mut holders = Holders::new();
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    let housekeeping = tokio::spawn(room.role.app().clone().keep_house());
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    for _ in PATHS {
        assert_eq!(holders.calls.recv().await.unwrap().1.sub.to_string(), ada.user.id);
    }
    housekeeping.abort();
}

#[tokio::test]
async fn a_service_that_there_is_no_more_keeps_its_place() {
    let mut holders = Holders::new();
    holders.chat.lock().unwrap().extend([Code::Unavailable]);
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    room.delete_me(ada.access(), PASSWORD).await.unwrap();
    room.erase_due().await;
    let Room { home, clock, role, .. } = room;
    drop(role);
    holders.asked();
    let room = Room::before(home, clock, Config::default(), holders.upstreams[..1].to_vec()).await;
    room.pass(1);
    assert_eq!(room.erase_due().await, Some(2));
    assert_eq!(holders.paths(), [""; 0]);
    assert_eq!(room.count("erasures"), 1);
}

#[tokio::test]
async fn of_many_deletions_at_once_one_is_done_and_none_survives() {
    let holders = Holders::new();
    let room = Room::beside(&holders).await;
    let ada = room.sign_up("ada@example.com").await;
    let calls = (0..8).map(|_| {
        let (mut client, access) = (room.client(), ada.access().to_owned());
        async move { client.delete_me(bearing(&access, DeleteMeRequest { password: PASSWORD.into() })).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) = side_by_side(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 7));
    for answer in refused {
        assert_eq!(refusal(answer), (Code::Unauthenticated, "ACCOUNT_DELETED".into()));
    }
    assert_eq!(room.count("erasures"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r_071_no_session_lives_after_the_account_was_deleted_beside_log_in_and_refresh() {
    let room = Room::new().await;
    for round in 0..rounds(10, 1000) {
        room.pass(1);
        let email = format!("{round}@example.com");
        let ada = room.sign_up(&email).await;
        let (mut client, request) = (room.client(), LogInRequest { email, password: PASSWORD.into() });
        let logging_in = tokio::spawn(async move { client.log_in(request).await });
        let (mut client, token) = (room.client(), ada.refresh().to_owned());
        let refreshing =
            tokio::spawn(async move { client.refresh_token(RefreshTokenRequest { refresh_token: token }).await });
        room.delete_me(ada.access(), PASSWORD).await.unwrap();
        let mut left = Vec::new();
        left.extend(logging_in.await.unwrap().ok().and_then(|answer| answer.into_inner().credentials));
        left.extend(refreshing.await.unwrap().ok().and_then(|answer| answer.into_inner().credentials));
        for credentials in left {
            assert_eq!(reason(room.refresh(&credentials.refresh_token).await), "REFRESH_TOKEN_INVALID");
            assert_eq!(reason(room.me(&credentials.access_token).await), "ACCOUNT_DELETED");
        }
        assert_eq!(room.count("sessions"), 0);
    }
}
