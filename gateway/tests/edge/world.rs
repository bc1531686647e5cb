//! The edge with a scripted service behind it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use errand_chassis::{
    address::{ClientAddress, PeerAddress},
    clock::{Clock, ManualClock},
    health::Health,
    jwks::{KeySet, PublicKey},
    token::{ACCESS_LIFETIME, AUDIENCE, ISSUER, TYPE, Verifier},
    upstream::{Unreached, Upstream},
};
use errand_gateway::{Config, Upstreams, edge};
use errand_proto::google::rpc;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, request};
use http_body::Frame;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt, service_fn};
use uuid::Uuid;

/// A method that anybody may call.
pub(crate) const LOG_IN: &str = "/errand.auth.v1.AuthService/LogIn";
/// A method that needs a token.
pub(crate) const GET_TASK: &str = "/errand.task.v1.TaskService/GetTask";

/// What the scripted service does with a call.
#[derive(Clone)]
pub(crate) enum Script {
    /// Sends these messages and trailers.
    Stream(Vec<Vec<u8>>, HeaderMap),
    /// Sends these messages and breaks off.
    Cut(Vec<Vec<u8>>),
    /// Answers with an error and no body.
    Refuse(Status),
    /// Answers with this, whatever it is.
    Raw(StatusCode, HeaderMap),
    /// Can not be reached.
    Gone,
}

/// What the scripted service saw of a call.
pub(crate) struct Seen {
    pub(crate) head: request::Parts,
    /// The body, or the error that it ended with.
    pub(crate) body: Result<Bytes, Status>,
}

pub(crate) struct World {
    pub(crate) edge: Upstream,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) health: Health,
    signer: EncodingKey,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The pieces that the body came in.
    pub(crate) pieces: Vec<Bytes>,
}

/// A gRPC message frame.
pub(crate) fn message(payload: &[u8]) -> Vec<u8> {
    [&[0], u32::try_from(payload.len()).unwrap().to_be_bytes().as_slice(), payload].concat()
}

pub(crate) fn ok() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

pub(crate) fn world() -> World {
    World::new(Config::default(), Script::Stream(vec![message(b"answer")], ok()))
}

pub(crate) fn scripted(script: Script) -> World {
    World::new(Config::default(), script)
}

/// A POST with these headers, over HTTP/2.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Body> {
    let mut request = Request::post(path).version(Version::HTTP_2);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::new(Full::new(body.into()))).unwrap()
}

/// A native gRPC call with one message.
pub(crate) fn grpc(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let headers = [&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat();
    post(path, &headers, message(b"question"))
}

/// A gRPC-Web call with one message, over HTTP/1.1.
pub(crate) fn web(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let headers = [&[("content-type", "application/grpc-web+proto")], headers].concat();
    let mut request = post(path, &headers, message(b"question"));
    *request.version_mut() = Version::HTTP_11;
    request
}

impl World {
    pub(crate) fn new(config: Config, script: Script) -> Self {
        let seen = Arc::default();
        Self { seen: Arc::clone(&seen), ..Self::around(config, &upstream(seen, script)) }
    }

    /// The edge with this behind it, whatever it does.
    pub(crate) fn around(config: Config, upstream: &Upstream) -> Self {
        let clock = Arc::new(ManualClock::default());
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let keys = KeySet::empty();
        keys.publish(&[PublicKey { kid: "k1".to_owned(), x: point[1..33].to_vec(), y: point[33..65].to_vec() }]);
        let upstreams = [
            "errand.auth.v1.AuthService",
            "errand.task.v1.TaskService",
            "errand.chat.v1.ChatService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "errand.internal.v1.BackDoor",
        ]
        .into_iter()
        .fold(Upstreams::new(), |upstreams, name| upstreams.add(name, upstream.clone()));
        let health = Health::new(&[]);
        health.set_all(true);
        Self {
            edge: edge(config, upstreams, Arc::new(Verifier::new(keys, clock.clone())), clock.clone(), health.clone()),
            clock,
            health,
            signer: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
            seen: Arc::default(),
        }
    }

    /// A token with these scopes.
    pub(crate) fn token(&self, scope: &str) -> String {
        self.token_of(7, scope)
    }

    /// A token of a user with these scopes.
    pub(crate) fn token_of(&self, user: u128, scope: &str) -> String {
        let now = self.clock.now().as_second();
        let id = Uuid::from_u128(user);
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": id, "sid": id, "jti": id, "scope": scope, "zoneinfo": "UTC",
            "iat": now, "exp": now + ACCESS_LIFETIME.as_secs(),
        });
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.signer).unwrap()
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.edge.clone().oneshot(request).await.expect("the edge always answers");
        Answer::read(response).await
    }

    /// What the service saw, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The one call that the service saw.
    pub(crate) fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "the service saw {} calls", seen.len());
        seen.remove(0)
    }
}

fn upstream(seen: Arc<Mutex<Vec<Seen>>>, script: Script) -> Upstream {
    Upstream::new(service_fn(move |request: Request<Body>| {
        let (seen, script) = (seen.clone(), script.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(Collected::to_bytes);
            seen.lock().unwrap().push(Seen { head, body });
            perform(script)
        }
    }))
}

fn perform(script: Script) -> Result<Response<Body>, Unreached> {
    let stream = |messages: Vec<Vec<u8>>, end: Option<Result<Frame<Bytes>, Status>>| {
        let data = messages.into_iter().map(|message| Ok(Frame::data(Bytes::from(message))));
        let body = StreamBody::new(tokio_stream::iter(data.chain(end)));
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("x-secret-of-the-service", HeaderValue::from_static("1"));
        response.headers_mut().insert("etag", HeaderValue::from_static("7"));
        response
    };
    match script {
        Script::Stream(messages, trailers) => Ok(stream(messages, Some(Ok(Frame::trailers(trailers))))),
        Script::Cut(messages) => Ok(stream(messages, Some(Err(Status::unknown("h2 protocol error: 10.0.0.7"))))),
        Script::Refuse(status) => Ok(status.into_http()),
        Script::Raw(status, headers) => {
            let mut response = Response::new(Body::new(Full::from("<html>")));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        }
        Script::Gone => Err(Unreached::new("connection refused: 10.0.0.7")),
    }
}

/// A request as the server hands it on: with the other end of the connection.
pub(crate) fn from(mut request: Request<Body>, peer: &str) -> Request<Body> {
    request.extensions_mut().insert(PeerAddress(peer.parse::<SocketAddr>().unwrap()));
    request
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn client(&self) -> Option<String> {
        self.head.extensions.get::<ClientAddress>().map(|client| client.0.to_string())
    }
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (head, mut body) = response.into_parts();
        let (mut pieces, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.expect("no answer breaks off").into_data() {
                Ok(data) => pieces.push(data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Self { status: head.status, headers: head.headers, body: pieces.concat().into(), trailers, pieces }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code and reason of a trailers-only refusal.
    pub(crate) fn refusal(&self) -> (Code, String) {
        assert_eq!(self.status, StatusCode::OK);
        assert!(self.body.is_empty() && self.trailers.is_none(), "a refusal stands in the headers alone");
        refusal_in(&self.headers)
    }

    /// The body as JSON, with its `reason`.
    pub(crate) fn json(&self) -> (Value, String) {
        assert_eq!(self.header("content-type"), "application/json");
        let value: Value = serde_json::from_slice(&self.body).unwrap();
        let reason = value["details"][0]["reason"].as_str().unwrap_or_default().to_owned();
        (value, reason)
    }
}

/// The code and reason of an error in headers or trailers.
pub(crate) fn refusal_in(headers: &HeaderMap) -> (Code, String) {
    let code = Code::from_bytes(headers["grpc-status"].as_bytes());
    let details = STANDARD_NO_PAD.decode(&headers["grpc-status-details-bin"]).expect("unpadded base64");
    let status: rpc::Status = prost::Message::decode(details.as_slice()).unwrap();
    assert_eq!(status.code, code as i32);
    let names: Vec<_> = status.details.iter().filter_map(|any| any.type_url.rsplit('/').next()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"google.rpc.ErrorInfo"), Some(&"google.rpc.RequestInfo")));
    let status = Status::with_details(code, status.message.clone(), details.into());
    (code, errand_proto::status::reason(&status).unwrap())
}
