//! Where a call comes from, as request extensions.

use std::net::{IpAddr, SocketAddr};

/// The other end of the connection. Set by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The client's address as far as trusted hops vouch for it. Set by the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);
