//! One call of a remote peer: on which connections, for how long, and what comes of it.

use std::sync::Arc;

use bytes::Bytes;
use errand_proto::contract::Method;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    uri::{Parts, PathAndQuery, Scheme},
};
use tokio::time::timeout_at;
use tonic::{Code, Status, body::Body};
use tracing::debug;

use super::{
    Settings,
    answer::{self, Streamed, Whole},
    budget::Budget,
    exchange::Sent,
    link::{Load, Site},
    pool::{Background, Kind, NoLink, Pool},
};
use crate::{
    address::{ClientAddress, FORWARDED_FOR},
    deadline::{self, Deadline},
    drain::Drain,
    error::{self as errors, Error},
    protocol,
    request_id::RequestId,
    target::Targets,
    tls::ClientTls,
};

/// How often a call is sent at most, of which all but two were provably not read.
const ATTEMPTS: usize = 8;

/// How many replicas may turn a call away before the caller is told.
const MOST_TURNED_AWAY: usize = 2;

/// What a library's services answer once; everything else of theirs is a stream.
const ASKED: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List"];

/// What HTTP/2 has no place for.
static OF_A_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A peer in another process.
pub(super) struct Remote {
    pool: Arc<Pool>,
    is_secure: bool,
    budget: Budget,
    drain: Drain,
    _background: Background,
}

/// What of a call stays the same in each attempt.
struct Call {
    kind: Kind,
    /// Whether it may be repeated when its answer was lost.
    is_safe: bool,
    path: PathAndQuery,
    headers: HeaderMap,
    /// For all of it; a stream may have none.
    deadline: Option<Deadline>,
    /// For the head of its answer.
    head: Deadline,
    request_id: Option<RequestId>,
}

/// An answer, and its code as far as its head or all of it says.
struct Answered {
    code: Option<Code>,
    /// Whether it says that the call was turned away before anything was done.
    is_turned_away: bool,
    response: Response<Body>,
}

/// Why an attempt has no answer.
enum Failed {
    /// Nobody has read it, or can have: here it is again, unless it was taken apart.
    Unsent(Option<Sent>),
    /// It was sent, and the connection was lost.
    Lost,
    /// It is over.
    For(Error),
}

impl Remote {
    pub(super) fn new(targets: Targets, tls: Option<ClientTls>, settings: Settings) -> Self {
        let is_secure = tls.is_some();
        let (pool, background) = Pool::start(targets, tls, &settings);
        Self { pool, is_secure, budget: Budget::new(), drain: settings.drain, _background: background }
    }

    /// The answer, which is an error of ours where the peer gives none.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let request_id = request.extensions().get().cloned().or_else(|| RequestId::told(request.headers()));
        match self.answer(request, request_id.clone()).await {
            Ok(response) => response,
            Err(error) => {
                let mut response = Status::from(error).into_http();
                if let Some(request_id) = &request_id {
                    errors::complete(response.headers_mut(), request_id);
                }
                response
            }
        }
    }

    async fn answer(&self, request: Request<Body>, request_id: Option<RequestId>) -> Result<Response<Body>, Error> {
        let (call, body) = Call::new(request, request_id)?;
        self.budget.earn();
        if !protocol::takes_one_message(call.path.path()) {
            return self.stream(&call, body).await;
        }
        let message = within(call.head, protocol::one_message(body)).await??;
        self.repeat(&call, message).await
    }

    /// A call that the caller streams, and which can therefore be sent once only.
    async fn stream(&self, call: &Call, body: Body) -> Result<Response<Body>, Error> {
        let mut sent = Sent::Streamed(body);
        for _ in 0..ATTEMPTS {
            let load = self.load(call, None).await?;
            match self.attempt(call, load, sent).await {
                Ok(answered) => return Ok(answered.response),
                Err(Failed::Unsent(Some(back))) => sent = back,
                Err(Failed::Unsent(None) | Failed::Lost) => return Err(answer::broken_off()),
                Err(Failed::For(error)) => return Err(error),
            }
        }
        Err(answer::unreachable())
    }

    /// A call of one message.
    async fn repeat(&self, call: &Call, message: Bytes) -> Result<Response<Body>, Error> {
        let mut not: Option<Arc<Site>> = None;
        let mut may_repeat = call.is_safe;
        let mut turned_away = 0;
        for _ in 0..ATTEMPTS {
            let load = self.load(call, not.as_ref()).await?;
            let site = load.site().clone();
            match self.attempt(call, load, Sent::Whole(message.clone())).await {
                Ok(answered) => {
                    let elsewhere = self.pool.has_other(&site);
                    if answered.is_turned_away && elsewhere && turned_away < MOST_TURNED_AWAY {
                        turned_away += 1;
                        not = Some(site);
                        continue;
                    }
                    let is_unavailable = answered.code == Some(Code::Unavailable);
                    if !(is_unavailable && may_repeat && elsewhere && self.budget.spend()) {
                        return Ok(answered.response);
                    }
                    may_repeat = false;
                }
                Err(Failed::Unsent(_)) => {}
                Err(Failed::Lost) if may_repeat && self.budget.spend() => may_repeat = false,
                Err(Failed::Lost) if call.is_safe => return Err(answer::broken_off()),
                Err(Failed::Lost) => return Err(answer::outcome_unknown()),
                Err(Failed::For(error)) => return Err(error),
            }
            not = Some(site);
        }
        Err(answer::unreachable())
    }

    async fn load(&self, call: &Call, not: Option<&Arc<Site>>) -> Result<Load, Error> {
        within(call.head, self.pool.take(call.kind, not, call.head)).await?.map_err(|none| match none {
            NoLink::Unreachable => answer::unreachable(),
            NoLink::Crowded => answer::crowded(),
        })
    }

    async fn attempt(&self, call: &Call, mut load: Load, sent: Sent) -> Result<Answered, Failed> {
        let request = self.request(call, &load)?;
        let asked = load.send(request, sent).map_err(|sent| Failed::Unsent(Some(sent)))?;
        let answered = within(call.head, asked.answer()).await.map_err(Failed::For)?;
        let response = answered.map_err(|cause| failed(&cause))?;
        let in_head = code(response.headers());
        let (head, body) = response.into_parts();
        match call.kind {
            Kind::Unary => {
                let read = within(call.head, Whole::read(body)).await.map_err(Failed::For)?;
                let whole = read.map_err(|cause| {
                    debug!(%cause, "an answer broke off");
                    Failed::Lost
                })?;
                let code = in_head.or_else(|| whole.trailers().and_then(code));
                // What is no gRPC at all is shown to the caller as it is.
                if code.is_none() && head.status == StatusCode::OK {
                    return Err(Failed::Lost);
                }
                let is_turned_away = code == Some(Code::Unavailable)
                    && [Some(&head.headers), whole.trailers()].into_iter().flatten().any(turns_away);
                Ok(Answered { code, is_turned_away, response: Response::from_parts(head, Body::new(whole)) })
            }
            Kind::Streams => {
                let body = match in_head {
                    Some(_) => Body::empty(),
                    None => {
                        Body::new(Streamed::new(body, load, call.deadline, self.drain.clone(), call.request_id.clone()))
                    }
                };
                let is_turned_away = in_head == Some(Code::Unavailable) && turns_away(&head.headers);
                Ok(Answered { code: in_head, is_turned_away, response: Response::from_parts(head, body) })
            }
        }
    }

    fn request(&self, call: &Call, load: &Load) -> Result<Request<()>, Failed> {
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = Version::HTTP_2;
        // Put together of parts that were read before.
        let mut uri = Parts::from(Uri::from(call.path.clone()));
        uri.scheme = Some(if self.is_secure { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Some(load.site().found.authority.clone());
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Failed::For(Error::internal(&error)))?;
        *request.headers_mut() = call.headers.clone();
        if let Some(deadline) = call.deadline {
            let left = deadline.to_header().ok_or_else(|| Failed::For(deadline::exceeded()))?;
            request.headers_mut().insert(deadline::HEADER, left);
        }
        Ok(request)
    }
}

// === impl Call ===

impl Call {
    fn new(request: Request<Body>, request_id: Option<RequestId>) -> Result<(Self, Body), Error> {
        let (head, body) = request.into_parts();
        let (uri, mut headers, extensions) = (head.uri, head.headers, head.extensions);
        let method = Method::find(uri.path());
        // Only what the edge has found out about the client is told on, not what somebody else says.
        headers.remove(FORWARDED_FOR);
        // They are of the connection that the call came on.
        for name in &OF_A_CONNECTION {
            headers.remove(name);
        }
        if let Some(ClientAddress(client)) = extensions.get()
            && let Ok(client) = HeaderValue::from_str(&client.to_string())
        {
            headers.insert(FORWARDED_FOR, client);
        }
        let streams = match method {
            Some(method) => method.server_streaming,
            None => !ASKED.contains(&uri.path()),
        };
        let is_safe = method.is_none_or(|method| method.no_side_effects);
        let deadline = match (Deadline::arriving(method, &headers)?, Deadline::of(&extensions)) {
            (Some(asked), given) => Some(asked.sooner(given)),
            (None, given) => given,
        };
        let head = Deadline::after(deadline::UNARY);
        let call = Self {
            kind: if streams { Kind::Streams } else { Kind::Unary },
            is_safe,
            path: uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers,
            deadline,
            head: deadline.unwrap_or(head),
            request_id,
        };
        Ok((call, body))
    }
}

/// Whether a replica that is no use yet has said so: it has no keys to look at the token with, so it
/// has done nothing, whatever it was asked.
fn turns_away(headers: &HeaderMap) -> bool {
    let reason = Status::from_header_map(headers).and_then(|status| errand_proto::status::reason(&status));
    reason.as_deref() == Some("KEYS_NOT_LOADED")
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

async fn within<T>(deadline: Deadline, work: impl Future<Output = T>) -> Result<T, Error> {
    timeout_at(deadline.instant(), work).await.map_err(|_| deadline::exceeded())
}

/// What a failure of the transport says about what the peer has read.
fn failed(cause: &h2::Error) -> Failed {
    debug!(%cause, "a call was not answered");
    // RFC 9113, 8.7: a refused stream, and one above the last that a GOAWAY names, was not processed.
    let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    let not_taken = cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
    if cause.is_remote() && (refused || not_taken) { Failed::Unsent(None) } else { Failed::Lost }
}
