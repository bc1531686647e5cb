//! A peer as a boxed tower service: a caller can not tell an in-process role from a remote one.

use std::error::Error;

use tower::util::BoxCloneSyncService;

/// A peer that answers gRPC requests: a role's whole stack in this process, or a connection.
pub type Upstream = BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<tonic::body::Body>, Unreached>;

/// A peer gave no answer at all. A type with a name, because the futures of a generated client over
/// a boxed error can not be spawned.
#[derive(Debug, thiserror::Error)]
#[error("the peer could not be reached")]
pub struct Unreached(#[source] Box<dyn Error + Send + Sync>);

impl Unreached {
    /// Names the error of a transport.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}
