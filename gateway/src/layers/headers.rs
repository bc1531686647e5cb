//! What the outside may say in headers, and what it gets to hear.
//!
//! Everything is dropped but a list: a header that a service trusts can then not be forged by
//! forgetting to forbid it, in any spelling. The client's address is read from the hops before
//! their headers go.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use errand_chassis::{
    address::{ClientAddress, PeerAddress},
    clock::Clock,
    request_id::{self, RequestId},
};
use http::{HeaderMap, HeaderName, Request, Response, header};
use tonic::body::Body;

use super::Step;

/// What passes in, however often it is said: lists, and what a later room refuses when it is said
/// twice.
const PASSED_IN: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::TE,
    header::AUTHORIZATION,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("tracestate"),
];

/// What passes in when it is said once. Said twice it is dropped, so that no two rooms can believe
/// two different values.
const PASSED_IN_ONCE: [HeaderName; 4] = [
    header::USER_AGENT,
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("traceparent"),
];

/// What passes out, beside everything that starts with `grpc-`.
const PASSED_OUT: [HeaderName; 12] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::ALLOW,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Gives every call a name and returns it.
pub(crate) struct RequestIds {
    clock: Arc<dyn Clock>,
}

/// Drops the headers that are not for the other side.
pub(crate) struct Stripping {
    trusted: Vec<Network>,
}

/// A network of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

// === impl RequestIds ===

impl RequestIds {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Step for RequestIds {
    type Note = RequestId;

    fn enter(&self, request: &mut Request<Body>) -> Result<RequestId, Box<Response<Body>>> {
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

    /// The client as far as trusted hops vouch for it: the peer, or walking back through
    /// `x-forwarded-for`, the last hop that is not ours.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        for hop in hops {
            if !self.trusted.iter().any(|network| network.contains(client)) {
                break;
            }
            // A hop that can not be read vouches for nobody behind it.
            let Some(address) = address(hop) else { break };
            client = address;
        }
        client
    }
}

impl Step for Stripping {
    type Note = ();

    fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        if let Some(PeerAddress(peer)) = request.extensions().get() {
            let client = self.client(peer.ip(), request.headers());
            request.extensions_mut().insert(ClientAddress(client));
        }
        let outside = std::mem::take(request.headers_mut());
        let inside = request.headers_mut();
        for name in PASSED_IN.into_iter().chain([request_id::HEADER]) {
            for value in outside.get_all(&name) {
                inside.append(name.clone(), value.clone());
            }
        }
        for name in PASSED_IN_ONCE {
            let mut values = outside.get_all(&name).iter();
            if let (Some(value), None) = (values.next(), values.next()) {
                inside.insert(name, value.clone());
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

/// The address in one hop of `x-forwarded-for`, which may carry a port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    parsed.map(|address| address.to_canonical())
}

// === impl Network ===

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network; write `10.0.0.0/8`, `2001:db8::/32` or a single address");
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
            None => width,
        };
        if length > width {
            return Err(wrong());
        }
        let mask = u128::MAX.checked_shl(width - length).unwrap_or(0);
        Ok(Self { address: bits(address) & mask, mask })
    }
}

/// Both families in one space, IPv4 where IPv6 maps it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
