//! The services that hold data of our users, as the end of an account calls them.
//!
//! They are reached like any peer, with a token that allows nothing but to erase one user's data, and
//! of each no more is known than its name and that it has `EraseMe`. When and how often it is called
//! is decided in `app`.

use std::{fmt, time::Duration};

use errand_chassis::upstream::Upstream;
use errand_proto::status::reason;
use http::uri::PathAndQuery;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Code, Request, Status, client::Grpc, metadata::MetadataValue};
use tonic_prost::ProstCodec;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The services, by their full names.
#[derive(Clone, Default)]
pub struct Peers(Vec<(&'static str, Upstream)>);

/// Why a service did not erase.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not one of ours, or not any more.
    #[error("there is no such service here")]
    Unknown,
    /// Its name or the token can not be sent.
    #[error("the call can not be made")]
    Unspeakable,
    /// It refused, or was not reached.
    #[error("{code:?} {reason}")]
    Refused {
        /// The code of its answer.
        code: Code,
        /// The reason, when it gave one.
        reason: String,
    },
}

impl Peers {
    /// These services.
    #[must_use]
    pub const fn new(services: Vec<(&'static str, Upstream)>) -> Self {
        Self(services)
    }

    /// Their full names.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    /// Has a service erase all that it holds of the user whom the token is about.
    ///
    /// # Errors
    /// Unless it acknowledged.
    pub async fn erase(&self, service: &str, token: &SecretString) -> Result<(), Error> {
        let (_, upstream) = self.0.iter().find(|(name, _)| *name == service).ok_or(Error::Unknown)?;
        let path: PathAndQuery = format!("/{service}/EraseMe").parse().map_err(|_| Error::Unspeakable)?;
        let authorization = format!("Bearer {}", token.expose_secret());
        let mut authorization = MetadataValue::try_from(authorization).map_err(|_| Error::Unspeakable)?;
        authorization.set_sensitive(true);
        let mut request = Request::new(());
        request.metadata_mut().insert("authorization", authorization);
        request.set_timeout(PATIENCE);
        let mut client = Grpc::new(upstream.clone());
        let call = async move {
            client.ready().await.map_err(|_| Status::unavailable(""))?;
            // An empty message each way, whatever it is called.
            client.unary(request, path, ProstCodec::<(), ()>::default()).await
        };
        // The peer keeps to the timeout, if it can be reached at all.
        let answer = tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("")));
        answer.map(|_| ()).map_err(|status| refused(&status))
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn refused(status: &Status) -> Error {
    Error::Refused { code: status.code(), reason: reason(status).unwrap_or_default() }
}
