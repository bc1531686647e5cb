//! Where a call comes from, as request extensions, and whose word about it is taken.
//!
//! Between the processes of a suite the client's address travels in `x-forwarded-for`. Anybody can
//! write that header, so it is believed only as far as every hop that it passed is ours.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, Request};
use tonic::body::Body;
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::upstream::Upstream;

/// The header in which hops name whom they speak for, nearest last.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection. Set by the server; who comes through a Unix socket is this
/// machine, 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The client's address as far as trusted hops vouch for it. Set by the edge, and by [`believing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

/// The other end has shown a certificate that the listener demands: it is one of ours, wherever it
/// connects from. Set by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerVerified;

/// A network of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    mask: u128,
}

/// The client as far as trusted hops vouch for it: the peer, or walking back through
/// `x-forwarded-for`, the last hop that is not ours.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, is_ours: impl Fn(IpAddr) -> bool) -> IpAddr {
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let hops = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer.to_canonical();
    for hop in hops {
        if !is_ours(client) {
            break;
        }
        // A hop that can not be read vouches for nobody behind it.
        let Some(address) = address(hop) else { break };
        client = address;
    }
    client
}

/// The same role behind a socket: its calls carry the [`ClientAddress`] that peers of these
/// networks, and peers with a certificate of ours, name in `x-forwarded-for`.
#[must_use]
pub fn believing(role: Upstream, trusted: Vec<Network>) -> Upstream {
    let trusted: Arc<[Network]> = trusted.into();
    BoxCloneSyncService::new(role.map_request(move |mut request: Request<Body>| {
        if let Some(PeerAddress(peer)) = request.extensions().get().copied() {
            let verified = request.extensions().get::<PeerVerified>().map(|_| peer.ip().to_canonical());
            let is_ours =
                |address| verified == Some(address) || trusted.iter().any(|network| network.contains(address));
            let client = client(peer.ip(), request.headers(), is_ours);
            request.extensions_mut().insert(ClientAddress(client));
        }
        request
    }))
}

/// What a limit of an address is for: itself, or the network of one in IPv6, because who has one has the
/// 2^64 around it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
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
    /// This machine: whom a role believes when nothing else is said.
    #[must_use]
    pub fn this_machine() -> Vec<Self> {
        let v4 = Self { address: bits(Ipv4Addr::new(127, 0, 0, 0).into()), mask: u128::MAX << 24 };
        let v6 = Self { address: bits(Ipv6Addr::LOCALHOST.into()), mask: u128::MAX };
        vec![v4, v6]
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn told(peer: &str, forwarded: &str, trusted: &[Network]) -> String {
        let headers = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_str(forwarded).unwrap())]);
        let is_ours = |address| trusted.iter().any(|network| network.contains(address));
        client(peer.parse().unwrap(), &headers, is_ours).to_string()
    }

    #[test]
    fn only_hops_of_ours_vouch_for_who_is_behind_them() {
        let here = Network::this_machine();
        assert_eq!(told("127.0.0.1", "192.0.2.1", &here), "192.0.2.1");
        assert_eq!(told("127.8.9.1", "198.51.100.1, 192.0.2.1", &here), "192.0.2.1", "the nearest that is not ours");
        assert_eq!(told("::1", "192.0.2.1", &here), "192.0.2.1");
        assert_eq!(told("128.0.0.1", "192.0.2.1", &here), "128.0.0.1");
        assert_eq!(told("::2", "192.0.2.1", &here), "::2");
        assert_eq!(told("127.0.0.1", "a hop", &here), "127.0.0.1");
    }
}
