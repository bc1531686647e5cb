//! What the outside may say in headers, and what it gets to hear.
//!
//! Everything is dropped but a list: a header that a service trusts can then not be forged by
//! forgetting to forbid it, in any spelling. The client's address is read from the hops before
//! their headers go.

use std::sync::Arc;

use errand_chassis::{
    address::{self, ClientAddress, Network, PeerAddress},
    clock::Clock,
    replay,
    request_id::{self, RequestId},
};
use http::{HeaderName, Request, Response, header};
use tonic::body::Body;

use super::Step;

/// What passes in, however often it is said: lists, and what a later room refuses when it is said
/// twice.
static PASSED_IN: [HeaderName; 13] = [
    header::CONTENT_TYPE,
    header::TE,
    header::AUTHORIZATION,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("tracestate"),
];

/// What passes in when it is said once. Said twice it is dropped, so that no two rooms can believe
/// two different values.
static PASSED_IN_ONCE: [HeaderName; 6] = [
    header::USER_AGENT,
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("connect-timeout-ms"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("traceparent"),
];

/// What passes out, beside everything that starts with `grpc-`.
static PASSED_OUT: [HeaderName; 15] = [
    header::CONTENT_TYPE,
    header::CONTENT_SECURITY_POLICY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::CONTENT_LENGTH,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WWW_AUTHENTICATE,
    replay::HEADER,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// Gives every call a name and returns it.
pub(crate) struct RequestIds {
    clock: Arc<dyn Clock>,
}

/// Drops the headers that are not for the other side.
pub(crate) struct Stripping {
    trusted: Vec<Network>,
}

/// How a header passes in.
enum Passes {
    Always,
    Once,
}

impl Passes {
    fn of(name: &HeaderName) -> Option<Self> {
        if *name == request_id::HEADER || PASSED_IN.contains(name) {
            Some(Self::Always)
        } else {
            PASSED_IN_ONCE.contains(name).then_some(Self::Once)
        }
    }
}

// === impl RequestIds ===

impl RequestIds {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Step for RequestIds {
    type Note = RequestId;

    async fn enter(&self, request: &mut Request<Body>) -> Result<RequestId, Box<Response<Body>>> {
        if request.headers().get_all(request_id::HEADER).iter().nth(1).is_some() {
            request.headers_mut().remove(request_id::HEADER);
        }
        let id = RequestId::of(request.headers(), &*self.clock);
        request.headers_mut().insert(request_id::HEADER, id.to_header());
        request.extensions_mut().insert(id.clone());
        tracing::debug!(request_id = %id, method = %request.method(), path = ?request.uri().path(), "call arrived");
        Ok(id)
    }

    fn leave(&self, id: RequestId, response: &mut Response<Body>) {
        tracing::debug!(request_id = %id, status = response.status().as_u16(), "call answered");
        response.headers_mut().insert(request_id::HEADER, id.to_header());
    }
}

// === impl Stripping ===

impl Stripping {
    pub(crate) fn new(trusted: Vec<Network>) -> Self {
        Self { trusted }
    }
}

impl Step for Stripping {
    type Note = ();

    async fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        if let Some(PeerAddress(peer)) = request.extensions().get() {
            let is_ours = |address| self.trusted.iter().any(|network| network.contains(address));
            let client = address::client(peer.ip(), request.headers(), is_ours);
            request.extensions_mut().insert(ClientAddress(client));
        }
        let outside = std::mem::take(request.headers_mut());
        let inside = request.headers_mut();
        inside.reserve(outside.keys_len());
        let mut said = None;
        for (name, value) in outside {
            // Of a name that is said again only the value comes.
            match name {
                Some(name) => {
                    said = Passes::of(&name).map(|passes| (name.clone(), passes));
                    if said.is_some() {
                        inside.append(name, value);
                    }
                }
                None => match &said {
                    Some((name, Passes::Always)) => _ = inside.append(name.clone(), value),
                    Some((name, Passes::Once)) => _ = inside.remove(name),
                    None => {}
                },
            }
        }
        Ok(())
    }

    fn leave(&self, (): (), response: &mut Response<Body>) {
        let headers = response.headers_mut();
        let foreign: Vec<_> = headers
            .keys()
            .filter(|name| !name.as_str().starts_with("grpc-") && !PASSED_OUT.contains(name))
            .cloned()
            .collect();
        for name in foreign {
            headers.remove(name);
        }
    }
}
