//! Peers that do what a test says, and calls of them.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use errand_chassis::{
    listener::{Address, Listener},
    server::{self, Limits},
    tls::{ClientTls, ServerTls},
    upstream::{self, Settings, Upstream},
};
use errand_proto::{google::rpc, status};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt, service_fn};

/// A method that changes nothing.
pub(crate) const READ: &str = "/errand.task.v1.TaskService/GetTask";
/// A method that writes.
pub(crate) const WRITE: &str = "/errand.task.v1.TaskService/CreateTask";
/// A method that answers with a stream.
pub(crate) const WATCH: &str = "/errand.task.v1.TaskService/WatchTasks";

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A server that can end in every way.
pub(crate) struct Peer {
    pub(crate) address: Address,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// What a peer does, and what it saw.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Answers are held back while this is closed.
    pub(crate) closed: Arc<Mutex<bool>>,
    pub(crate) opened: Arc<Notify>,
    /// How many calls came in, and how many are in the handler now.
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) inside: Arc<AtomicUsize>,
    /// The heads of all calls.
    pub(crate) heads: Arc<Mutex<Vec<http::request::Parts>>>,
    /// Answers this code, when it is not OK.
    pub(crate) code: Arc<Mutex<Option<Code>>>,
    /// The reason that it gives then.
    pub(crate) reason: Arc<Mutex<Option<&'static str>>>,
}

/// Counts as long as it lives.
struct Inside(Arc<AtomicUsize>);

pub(crate) struct Outcome {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) retries: bool,
    pub(crate) names_call: bool,
}

// === impl Peer ===

impl Peer {
    pub(crate) fn start(script: &Script) -> Self {
        Self::on(&"127.0.0.1:0".parse().unwrap(), None, Limits::default(), script.upstream())
    }

    pub(crate) fn with(script: &Script, limits: Limits) -> Self {
        Self::on(&"127.0.0.1:0".parse().unwrap(), None, limits, script.upstream())
    }

    pub(crate) fn on(address: &Address, tls: Option<ServerTls>, limits: Limits, service: Upstream) -> Self {
        let listener = Listener::bind(address).unwrap();
        let address = listener.address().unwrap();
        let listener = match tls {
            Some(tls) => listener.with_tls(tls),
            None => listener,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server::serve(listener, service, limits, async move {
            _ = stopped.await;
        }));
        Self { address, stop: Some(stop), server }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => 0,
        }
    }

    /// Ends as it should.
    pub(crate) async fn stop(mut self) {
        _ = self.stop.take().unwrap().send(());
        (&mut self.server).await.unwrap();
    }

    /// Ends as a process that is killed: every connection breaks.
    pub(crate) async fn kill(mut self) {
        self.server.abort();
        _ = (&mut self.server).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

// === impl Script ===

impl Script {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_waiters();
    }

    pub(crate) fn fail(&self, code: Option<Code>) {
        *self.code.lock().unwrap() = code;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    pub(crate) fn upstream(&self) -> Upstream {
        let script = self.clone();
        Upstream::new(service_fn(move |request| {
            let answer = script.clone().answer(request);
            async move { Ok(answer.await) }
        }))
    }

    fn answer(self, request: Request<Body>) -> Answer {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let path = head.uri.path().to_owned();
            // As in a role: a call is one when all of its message is there.
            let Ok(message) = body.collect().await else { return Status::cancelled("").into_http() };
            let message = message.to_bytes();
            assert_eq!(message.len(), 7, "a message that ends is whole");
            self.heads.lock().unwrap().push(head);
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.inside.fetch_add(1, Ordering::SeqCst);
            let inside = Inside(self.inside.clone());
            if path == WATCH {
                return stream(message, inside);
            }
            loop {
                let opened = self.opened.notified();
                if !*self.closed.lock().unwrap() {
                    break;
                }
                opened.await;
            }
            if let Some(code) = *self.code.lock().unwrap() {
                let reason = self.reason.lock().unwrap().unwrap_or("UNAVAILABLE");
                return Status::from(errand_chassis::Error::new(code, reason, "as the test says")).into_http();
            }
            let frames = [Frame::data(message), Frame::trailers(ok())].map(Ok::<_, Status>);
            grpc(Body::new(StreamBody::new(tokio_stream::iter(frames))))
        })
    }
}

/// One message, and then nothing for ever.
fn stream(message: Bytes, inside: Inside) -> Response<Body> {
    use tokio_stream::StreamExt;

    let first = tokio_stream::iter([Ok::<_, Status>(Frame::data(message))]);
    let rest = tokio_stream::pending().map(move |frame| {
        let _ = &inside;
        frame
    });
    grpc(Body::new(StreamBody::new(first.chain(rest))))
}

fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn ok() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// === calls ===

/// Short where a test would wait, generous where it must not fail.
pub(crate) fn settings() -> Settings {
    Settings { patience: Duration::from_secs(5), ..Settings::default() }
}

pub(crate) fn remote(peers: &[&Peer]) -> Upstream {
    let targets: Vec<_> = peers.iter().map(|peer| peer.address.to_string()).collect();
    upstream::remote(targets.join(",").parse().unwrap(), None, settings())
}

pub(crate) fn remote_over_tls(targets: &str, tls: ClientTls, patience: Duration) -> Upstream {
    upstream::remote(targets.parse().unwrap(), Some(tls), Settings { patience, ..settings() })
}

pub(crate) fn request(path: &str) -> Request<Body> {
    let message = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
    Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-request-id", "the-call")
        .body(Body::new(Full::new(message)))
        .unwrap()
}

pub(crate) fn within(mut request: Request<Body>, timeout: &'static str) -> Request<Body> {
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
    request
}

pub(crate) async fn send(upstream: &Upstream, request: Request<Body>) -> Response<Body> {
    upstream.clone().oneshot(request).await.expect("a remote peer always answers")
}

/// The outcome of a call with one answer.
pub(crate) async fn ask(upstream: &Upstream, request: Request<Body>) -> Outcome {
    outcome(send(upstream, request).await).await
}

pub(crate) async fn outcome(response: Response<Body>) -> Outcome {
    let (head, body) = response.into_parts();
    let collected = body.collect().await.expect("no answer breaks off");
    let status = Status::from_header_map(&head.headers)
        .or_else(|| collected.trailers().and_then(Status::from_header_map))
        .expect("an answer has a status");
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    let has = |name: &str| details.iter().any(|detail| detail.type_url.ends_with(name));
    Outcome {
        code: status.code(),
        reason: status::reason(&status).unwrap_or_default(),
        retries: has("RetryInfo"),
        names_call: has("RequestInfo"),
    }
}

/// Waits for something that will be so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
