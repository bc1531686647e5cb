//! Feeds a stack from a listener, and ends connections in their own good way.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tracing::{debug, warn};

use super::{connection::connection, entrance::Entrance};
use crate::{
    address::Network,
    admission::{self, Arrivals},
    drain::Drain,
    listener::Listener,
    upstream::Upstream,
};

/// What a listener allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once, so that who tries another replica can.
    pub connections: usize,
    /// Those of them that one network address may have; nothing for as many as there are. Who comes
    /// through a Unix socket has no address.
    pub of_an_address: Option<usize>,
    /// Who may have any number of them: proxies, which speak for many.
    pub exempt: Arc<[Network]>,
    /// Concurrent streams of one connection.
    pub streams: u32,
    /// Calls of one connection that may be taken back before they were looked at. Who takes back
    /// more is cut off; a peer that passes on the calls of many users takes back many.
    pub resets: usize,
    /// Calls of one connection that may be taken back in a row, looked at or not; half as many a second
    /// are always let.
    pub cancels: u32,
    /// Calls of all connections that are under way without anybody being refused for having waited.
    pub spared: usize,
    /// How long a peer has to say what it speaks, and to go on with what it has begun to say.
    pub opening: Duration,
    /// How long an answer waits for a reader that makes no room for it.
    pub patience: Duration,
    /// How long a connection may be open without a call; nothing for any time.
    pub idle: Option<Duration>,
    /// How long open calls may go on after the listener was told to stop.
    pub drain: Duration,
    /// After how long a connection is asked to end, give or take a tenth, so that calls find replicas
    /// that came later; nothing for never.
    pub connection_age: Option<Duration>,
    /// How long after that its streams may go on before they are told.
    pub handover: Duration,
}

impl Limits {
    /// The age of connections between roles, where nothing else is said.
    pub const AGE: Duration = Duration::from_secs(30 * 60);
    /// The age of connections from clients, where nothing else is said.
    pub const CLIENTS_AGE: Duration = Duration::from_secs(5 * 60);
    /// Connections of one network address, behind which a whole office may be, where nothing else is said.
    pub const OF_AN_ADDRESS: usize = 1000;
    /// Calls of one connection between roles, which carries those of many users.
    pub const STREAMS_BETWEEN_ROLES: u32 = 10_000;

    /// What the edge allows its clients.
    #[must_use]
    pub fn of_clients() -> Self {
        Self {
            of_an_address: Some(Self::OF_AN_ADDRESS),
            connection_age: Some(Self::CLIENTS_AGE),
            idle: Some(Duration::from_secs(60)),
            ..Self::default()
        }
    }

    /// What a role allows the others.
    #[must_use]
    pub fn between_roles() -> Self {
        Self {
            streams: Self::STREAMS_BETWEEN_ROLES,
            resets: 1024,
            cancels: Self::STREAMS_BETWEEN_ROLES,
            // Longer than the edge's own: it gives up a slow reader before its connection suffers.
            patience: Duration::from_secs(60),
            connection_age: Some(Self::AGE),
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            of_an_address: None,
            exempt: Arc::from([]),
            streams: 100,
            resets: 20,
            cancels: 150,
            spared: admission::spared(),
            opening: Duration::from_secs(8),
            patience: Duration::from_secs(20),
            idle: None,
            drain: Duration::from_secs(10),
            connection_age: None,
            handover: Duration::from_secs(30),
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 on a listener until `stop` resolves, then drains.
///
/// On `stop`: no new connections, GOAWAY on the open ones, and what is still running when the
/// drain deadline passes is cut. hyper alone would wait for the last stream forever.
pub async fn serve(listener: impl Into<Listener>, service: Upstream, limits: Limits, stop: impl Future<Output = ()>) {
    let mut entrance = Entrance::new(listener.into(), &limits);
    let (arrivals, stopping) = (Arc::new(Arrivals::new(limits.spared)), Drain::new());
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // Reap finished connections, so that the set holds only open ones.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = entrance.accept() => accepted,
        };
        let Some((accepted, slot)) = accepted else { continue };
        let (service, limits) = (service.clone(), limits.clone());
        let (arrivals, stopping) = (arrivals.clone(), stopping.clone());
        connections.spawn(async move {
            let peer = accepted.peer;
            if let Err(error) = connection(accepted, service, &limits, &arrivals, &stopping).await {
                debug!(%peer, error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(entrance);
    stopping.begin();
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, ended).await.is_err() {
        warn!(connections = connections.len(), "drain deadline passed; cutting what is still open");
    }
    connections.shutdown().await;
}
