//! The edge with a service behind it that says what a target tells it to.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use errand_chassis::{
    health::Health,
    upstream::{Unreached, Upstream},
};
use errand_gateway::{Config, Quotas, Rates, Upstreams, edge};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tonic::{Status, body::Body};
use tower::{ServiceExt, service_fn};
use uuid::Uuid;

use crate::tokens::Signer;

/// How the service answers.
#[derive(Debug, Clone, Default)]
pub enum Script {
    /// With the bytes of the request, in the same pieces, and trailers that say OK.
    #[default]
    Echo,
    /// With these pieces and then this.
    Say(Vec<Bytes>, End),
}

/// How an answer ends.
#[derive(Debug, Clone)]
pub enum End {
    /// With these trailers.
    Trailers(HeaderMap),
    /// With an error of the connection.
    Broken,
    /// With nothing.
    Nothing,
}

/// What the service saw of a call.
#[derive(Debug)]
pub struct Seen {
    /// The path that was called.
    pub path: String,
    /// The request to its end, or the error that it ended with.
    pub body: Result<Bytes, Status>,
}

/// An answer of the edge, to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The edge, what its service does and what it saw.
pub struct Edge {
    edge: Upstream,
    bearer: HeaderValue,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    runtime: tokio::runtime::Runtime,
}

thread_local! {
    static EDGE: RefCell<Edge> = RefCell::new(Edge::new());
}

/// Sends a request with a valid token to the edge, and gives its answer and what the service saw of it.
pub fn call(script: Script, request: Request<Body>) -> (Answer, Vec<Seen>) {
    EDGE.with_borrow(|edge| edge.call(script, request))
}

/// Makes the edge and all that it makes only once, so that a target can measure what a call costs.
pub fn start() {
    for (path, content_type) in
        [("/v1/tasks", "application/json"), ("/errand.task.v1.TaskService/GetTask", "application/grpc-web+proto")]
    {
        let request = Request::post(path).header("content-type", content_type).body(body(&[b"{}"]));
        call(Script::Echo, request.expect("a request"));
    }
    let request = Request::get("/v1/tasks:watch").body(Body::empty()).expect("a request");
    call(Script::Say(vec![], End::Broken), request);
}

/// A body that arrives in these pieces.
pub fn body(pieces: &[&[u8]]) -> Body {
    let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    // A frame has room for trailers: it is three times what a piece is, so they are made one by one.
    Body::new(StreamBody::new(stream::iter(pieces).map(|piece| Ok::<_, Status>(Frame::data(piece)))))
}

impl Edge {
    fn new() -> Self {
        let signer = Signer::new();
        let bearer = format!("Bearer {}", signer.sign(&signer.claims(Uuid::from_u128(7))));
        let (script, seen) = (Arc::<Mutex<Script>>::default(), Arc::<Mutex<Vec<Seen>>>::default());
        let service = upstream(script.clone(), seen.clone());
        let upstreams = ["errand.auth.v1.AuthService", "errand.task.v1.TaskService", "errand.chat.v1.ChatService"]
            .into_iter()
            .fold(Upstreams::new(), |upstreams, name| upstreams.add(name, service.clone()));
        let none = Quotas::none();
        let config = Config { rates: Rates { user: none, address: none, replicas: 1 }, ..Config::default() };
        let health = Health::new(&[]);
        Self {
            edge: edge(config, upstreams, signer.verifier(), signer.clock.clone(), health),
            bearer: bearer.try_into().expect("a token can stand in a header"),
            script,
            seen,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
        }
    }

    fn call(&self, script: Script, mut request: Request<Body>) -> (Answer, Vec<Seen>) {
        request.headers_mut().insert("authorization", self.bearer.clone());
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
        let answer = self.runtime.block_on(async {
            let response = self.edge.clone().oneshot(request).await.expect("the edge always answers");
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("an answer never breaks off").to_bytes().to_vec();
            Answer { status: head.status, headers: head.headers, body }
        });
        (answer, std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn upstream(script: Arc<Mutex<Script>>, seen: Arc<Mutex<Vec<Seen>>>) -> Upstream {
    Upstream::new(service_fn(move |request: Request<Body>| {
        let (script, seen) = (script.lock().unwrap_or_else(PoisonError::into_inner).clone(), seen.clone());
        async move {
            let (head, mut body) = request.into_parts();
            let mut pieces = Vec::new();
            let mut broken = None;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => pieces.extend(frame.into_data().ok()),
                    Err(status) => broken = Some(status),
                }
            }
            let path = head.uri.path().to_owned();
            let body = broken.map_or_else(|| Ok(pieces.concat().into()), Err);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { path, body });
            let (pieces, end) = match script {
                Script::Echo => (pieces, End::Trailers(trailers(&[("grpc-status", "0")]))),
                Script::Say(pieces, end) => (pieces, end),
            };
            Ok::<_, Unreached>(answer(pieces, end))
        }
    }))
}

fn answer(pieces: Vec<Bytes>, end: End) -> Response<Body> {
    let last = match end {
        End::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
        End::Broken => Some(Err(Status::unknown("the connection was reset"))),
        End::Nothing => None,
    };
    let frames = stream::iter(pieces).map(|piece| Ok(Frame::data(piece))).chain(stream::iter(last));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// Headers of these names and values.
pub fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().expect("a name"), HeaderValue::from_static(value))).collect()
}

impl Answer {
    /// A header as text; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the edge or a service says that it has made a mistake itself.
    pub fn blames_itself(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR || ["2", "13", "15"].contains(&self.header("grpc-status"))
    }
}
