//! Feeds a stack from a listener, and ends connections in their own good way.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::body::Body;
use tower::{ServiceExt, service_fn};
use tracing::{debug, warn};

use crate::{
    address::{PeerAddress, PeerVerified},
    chance,
    drain::Drain,
    error::Error,
    listener::{Accepted, Lingering, Listener},
    protocol::Refusal,
    upstream::Upstream,
};

/// How long calls may go on after their connection has reached its age: as long as the longest.
const GRACE: Duration = crate::deadline::ASSISTANT;

/// What a listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Concurrent streams of one connection.
    pub streams: u32,
    /// Calls of one connection that may be taken back before they were looked at. Who takes back
    /// more is cut off; a peer that passes on the calls of many users takes back many.
    pub resets: usize,
    /// How long open calls may go on after the listener was told to stop.
    pub drain: Duration,
    /// After how long a connection is asked to end, give or take a tenth, so that calls find replicas
    /// that came later; nothing for never.
    pub connection_age: Option<Duration>,
}

impl Limits {
    /// The age of connections between roles, where nothing else is said.
    pub const AGE: Duration = Duration::from_secs(30 * 60);

    /// What a role allows the others.
    #[must_use]
    pub fn between_roles() -> Self {
        Self { resets: 1024, connection_age: Some(Self::AGE), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, streams: 100, resets: 20, drain: Duration::from_secs(10), connection_age: None }
    }
}

/// Serves HTTP/1.1 and HTTP/2 on a listener until `stop` resolves, then drains.
///
/// On `stop`: no new connections, GOAWAY on the open ones, and what is still running when the
/// drain deadline passes is cut. hyper alone would wait for the last stream forever.
pub async fn serve(listener: impl Into<Listener>, service: Upstream, limits: Limits, stop: impl Future<Output = ()>) {
    let listener = listener.into();
    let slots = Arc::new(Semaphore::new(limits.connections));
    let stopping = Drain::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // Reap finished connections, so that the set holds only open ones.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((accepted, slot)) = accepted else { continue };
        let (service, stopping) = (service.clone(), stopping.clone());
        connections.spawn(async move {
            let peer = accepted.peer;
            if let Err(error) = connection(accepted, service, limits, &stopping).await {
                debug!(%peer, error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    stopping.begin();
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, ended).await.is_err() {
        warn!(connections = connections.len(), "drain deadline passed; cutting what is still open");
    }
    connections.shutdown().await;
}

/// The next connection. Nothing when accepting failed: out of file descriptors must not end the
/// listener, only slow it down.
async fn accept(listener: &Listener, slots: &Arc<Semaphore>) -> Option<(Accepted, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(accepted) => Some((accepted, slot)),
        Err(error) => {
            warn!(%error, "accepting a connection failed");
            sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

/// Speaks on one connection until its end, its age, or the end of the server.
async fn connection(
    accepted: Accepted,
    service: Upstream,
    limits: Limits,
    stopping: &Drain,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (peer, verified) = (PeerAddress(accepted.peer), accepted.is_mutual().then_some(PeerVerified));
    let stream = tokio::select! {
        stream = accepted.open() => stream?,
        () = stopping.begun() => return Ok(()),
    };
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        if let Some(verified) = verified {
            request.extensions_mut().insert(verified);
        }
        let service = service.clone();
        async move {
            let response = service.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|error| Refusal::Grpc(Error::internal(&error)).into_response()))
        }
    });
    let builder = builder(limits);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(Lingering::new(stream)), TowerToHyperService::new(service)));
    let aged = async {
        match limits.connection_age {
            Some(age) => sleep(chance::around(age)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stopping.begun() => {
            // The server itself says how long this may take.
            connection.as_mut().graceful_shutdown();
            return connection.await;
        }
        () = aged => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => ended,
        () = sleep(GRACE) => Err("its age was told, and it did not end".into()),
    }
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        // Above our own limit, so that ours answers with a reason.
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(limits.resets)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(64 * 1024);
    builder
}
