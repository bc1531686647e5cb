//! A real connection to a running server, for the commands that are clients of it.

use std::{future::Future, time::Duration};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    cli::{Failure, Kind, Target},
    config::Config,
};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a client on a thread of its own making: one is enough.
pub(crate) fn block_on<T>(client: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Failed, format!("can not start: {error}")))?
        .block_on(client)
}

/// Where the server is that the command means.
pub(crate) fn url(config: &Config, target: &Target) -> Result<String, Failure> {
    match &target.url {
        Some(url) => Ok(url.trim_end_matches('/').to_owned()),
        None if config.server.listen.port() == 0 => {
            Err(Failure::new(Kind::Usage, "the port is any free one: say with --url where the server listens"))
        }
        None => Ok(config.server.local_url()),
    }
}

/// Opens the connection.
pub(crate) async fn connect(url: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .ok()
        .filter(|endpoint| endpoint.uri().scheme_str() == Some("http"))
        .ok_or_else(|| Failure::new(Kind::Usage, format!("`{url}` is not a url such as http://127.0.0.1:8080")))?;
    let endpoint = endpoint.connect_timeout(PATIENCE).timeout(Duration::from_secs(60));
    endpoint.connect().await.map_err(|error| {
        Failure::new(
            Kind::NotReady,
            format!("nothing answers at {url}: start `errand` there first ({})", chain(&error)),
        )
    })
}

/// A call that failed, for the person at the terminal.
pub(crate) fn refused(what: &str, status: &Status) -> Failure {
    let kind = match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Kind::NotReady,
        _ => Kind::Failed,
    };
    let reason = errand_proto::status::reason(status).unwrap_or_else(|| format!("{:?}", status.code()));
    Failure::new(kind, format!("{what} failed: {} ({reason})", status.message()))
}

/// The innermost cause, which says more than "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
