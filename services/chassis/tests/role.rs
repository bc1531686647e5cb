//! A role's stack from outside, with a service that misbehaves on purpose.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use errand_chassis::{
    clock::ManualClock,
    health::Health,
    jwks::KeySet,
    server::{self, Limits, Routes},
    token::Verifier,
    upstream::Upstream,
};
use errand_proto::{google::rpc, status};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::sync::oneshot;
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::{Service, ServiceExt};

/// Public, so that the stack lets it through without a token.
const PUBLIC: &str = "/errand.auth.v1.AuthService/GetJwks";
const PRIVATE: &str = "/errand.auth.v1.AuthService/GetMe";

/// Does what its behaviour says, and counts how often it was asked.
#[derive(Clone)]
struct Misbehaving {
    calls: Arc<AtomicU32>,
    behaviour: Behaviour,
}

#[derive(Clone, Copy)]
enum Behaviour {
    Answer,
    Panic,
    Hang,
}

impl NamedService for Misbehaving {
    const NAME: &'static str = "errand.auth.v1.AuthService";
}

impl Service<Request<Body>> for Misbehaving {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.behaviour;
        Box::pin(async move {
            match behaviour {
                Behaviour::Answer => Ok(Status::ok("").into_http()),
                Behaviour::Panic => panic!("on purpose"),
                Behaviour::Hang => std::future::pending().await,
            }
        })
    }
}

fn role(behaviour: Behaviour) -> (Upstream, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let health = Health::new(&[]);
    let routes = Routes::new().add(Misbehaving { calls: calls.clone(), behaviour }).add(health.server());
    let clock = Arc::new(ManualClock::default());
    let verifier = Arc::new(Verifier::new(KeySet::empty(), clock.clone()));
    (server::role(routes, verifier, clock), calls)
}

fn request(path: &str) -> http::request::Builder {
    Request::post(format!("http://errand{path}")).header("content-type", "application/grpc")
}

async fn ask(role: &Upstream, request: http::request::Builder) -> (Code, String) {
    ask_with(role, request, &[0, 0, 0, 0, 0]).await
}

async fn ask_with(role: &Upstream, request: http::request::Builder, body: &'static [u8]) -> (Code, String) {
    let request = request.body(Body::new(Full::new(Bytes::from_static(body)))).unwrap();
    let response = role.clone().oneshot(request).await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    let status = Status::from_header_map(response.headers()).unwrap();
    if status.code() != Code::Ok {
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let last = details.last().unwrap();
        assert!(last.type_url.ends_with("RequestInfo"), "every error names its call: {last:?}");
    }
    (status.code(), status::reason(&status).unwrap_or_default())
}

#[tokio::test]
async fn a_panic_ends_one_call_and_nothing_else() {
    let (role, calls) = role(Behaviour::Panic);
    for _ in 0..2 {
        assert_eq!(ask(&role, request(PUBLIC)).await, (Code::Internal, "INTERNAL".to_owned()));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_is_dropped_at_the_deadline() {
    let (role, calls) = role(Behaviour::Hang);
    let exceeded = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
    assert_eq!(ask(&role, request(PUBLIC).header("grpc-timeout", "200m")).await, exceeded);
    // Without a wish of the caller the server's own limit holds.
    assert_eq!(ask(&role, request(PUBLIC)).await, exceeded);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_is_ended_at_its_deadline_with_a_reason() {
    let (role, _) = role(Behaviour::Answer);
    let watch = request("/grpc.health.v1.Health/Watch").header("grpc-timeout", "1500m");
    let request = watch.body(Body::new(Full::new(Bytes::from_static(&[0, 0, 0, 0, 0])))).unwrap();
    let collected = role.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    assert_eq!(
        (status.code(), status::reason(&status).as_deref()),
        (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED"))
    );
    assert!(rpc::Status::decode(status.details()).unwrap().details.last().unwrap().type_url.ends_with("RequestInfo"));
    assert_eq!(collected.to_bytes().len(), 7, "the state of now was told before");
}

#[tokio::test]
async fn what_the_stack_refuses_never_reaches_the_service() {
    let (role, calls) = role(Behaviour::Answer);
    assert_eq!(ask(&role, request(PRIVATE)).await, (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    let bearer = request(PRIVATE).header("authorization", "Bearer a.b.c");
    assert_eq!(ask(&role, bearer).await, (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
    let late = request(PUBLIC).header("grpc-timeout", "soon");
    assert_eq!(ask(&role, late).await, (Code::InvalidArgument, "TIMEOUT_INVALID".to_owned()));
    assert_eq!(ask_with(&role, request(PUBLIC), b"").await, (Code::InvalidArgument, "MESSAGE_MISSING".to_owned()));
    for path in ["/errand.auth.v1.AuthService/Nothing", "/errand.task.v1.TaskService/GetTask", "/x", "/a/b/c"] {
        assert_eq!(ask(&role, request(path)).await, (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()), "{path}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(ask(&role, request(PUBLIC)).await.0, Code::Ok);
}

#[tokio::test]
async fn r_039_a_forged_user_header_is_no_token() {
    let (role, calls) = role(Behaviour::Answer);
    let forged = request(PRIVATE).header("x-user-id", "1").header("x-errand-user", "1");
    assert_eq!(ask(&role, forged).await, (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn r_048_a_broken_message_to_a_librarys_service_is_the_senders_fault_too() {
    let (role, _) = role(Behaviour::Answer);
    let answer = ask_with(&role, request("/grpc.health.v1.Health/Check"), b"\0\0\0\0\x04\x0a\x02\xff\xfe").await;
    assert_eq!(answer, (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
    let unknown = ask_with(&role, request("/grpc.health.v1.Health/Check"), b"\0\0\0\0\x03\x0a\x01x").await;
    assert_eq!(unknown.0, Code::NotFound);
}

#[tokio::test]
async fn r_114_a_stream_that_never_ends_is_cut_at_the_drain_deadline() {
    let (role, calls) = role(Behaviour::Hang);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let server = tokio::spawn(server::serve(listener, role, limits, async move { drop(stopped.await) }));

    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let head = request(PUBLIC).body(()).unwrap();
    let (answer, mut upload) = client.send_request(head, false).unwrap();
    upload.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), true).unwrap();
    while calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(answer.await.is_err(), "the stream was cut");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
