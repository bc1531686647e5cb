//! A peer as a boxed tower service: a caller can not tell an in-process role from a remote one.

use tower::util::BoxCloneSyncService;

/// An error of a transport.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A peer that answers gRPC requests: a role's whole stack in this process, or a connection.
pub type Upstream = BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<tonic::body::Body>, BoxError>;
