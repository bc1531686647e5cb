//! A peer as a boxed tower service: a caller can not tell an in-process role from a remote one.
//!
//! A remote one is called over connections of our own. Calls with one answer and calls with a stream
//! of answers have separate ones, so that streams, however many, never stand in the way of a call;
//! of two connections taken by chance the less loaded one is used. What was provably not sent goes
//! to another connection, and a method without side effects is repeated once when its answer was
//! lost, as long as not more than a tenth of all calls are. Everything else is the caller's to
//! repeat: only the caller has the `request_id`.

mod alive;
mod answer;
mod budget;
mod call;
mod dial;
mod exchange;
mod link;
mod pool;
mod resolve;

use std::{error::Error, sync::Arc, time::Duration};

use tower::{service_fn, util::BoxCloneSyncService};

use crate::{drain::Drain, target::Targets, tls::ClientTls, trace};

pub(crate) use alive::Heard;
pub use resolve::{Resolve, SystemResolver};

/// A peer that answers gRPC requests: a role's whole stack in this process, or a connection.
pub type Upstream = BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<tonic::body::Body>, Unreached>;

/// A peer gave no answer at all. A type with a name, because the futures of a generated client over
/// a boxed error can not be spawned.
#[derive(Debug, thiserror::Error)]
#[error("the peer could not be reached")]
pub struct Unreached(#[source] Box<dyn Error + Send + Sync>);

/// How a peer in another process is called.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a call waits for a connection when the last one has just been lost; after that calls
    /// fail at once, until there is one again.
    pub patience: Duration,
    /// How often names are looked up again.
    pub resolve: Duration,
    /// How often a silent connection is asked whether its peer is there, and how long that may take.
    pub ping: Duration,
    /// Connections to each address that are kept open for calls with one answer.
    pub connections: usize,
    /// Who looks names up.
    pub resolver: Arc<dyn Resolve>,
    /// When it begins, streams of answers end with SHUTTING_DOWN, because this process is about to.
    pub drain: Drain,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            patience: Duration::from_secs(4),
            resolve: Duration::from_secs(30),
            ping: Duration::from_secs(10),
            connections: 2,
            resolver: Arc::new(SystemResolver),
            drain: Drain::new(),
        }
    }
}

impl Unreached {
    /// Names the error of a transport.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// A peer in another process. It always answers: when it can not be reached, with UNAVAILABLE.
///
/// To be called in a runtime; what goes on in the background ends with the last clone.
#[must_use]
pub fn remote(targets: Targets, tls: Option<ClientTls>, settings: Settings) -> Upstream {
    let remote = Arc::new(call::Remote::new(targets, tls, settings));
    trace::calling(BoxCloneSyncService::new(service_fn(move |request| {
        let remote = remote.clone();
        async move { Ok(remote.call(request).await) }
    })))
}
