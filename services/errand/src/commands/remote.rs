//! A real connection to a running server, for the commands that are clients of it.

use std::{fmt::Display, future::Future, time::Duration};

use errand_chassis::{
    listener::Address,
    target::Targets,
    tls::ClientTls,
    upstream::{self, Upstream},
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tonic::{Code, Status};

use crate::{
    cli::{Failure, Kind, Target},
    compose,
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
    match (&target.url, &config.server.listen) {
        (Some(url), _) => Ok(url.trim_end_matches('/').to_owned()),
        (None, Some(Address::Tcp(listen))) if listen.port() == 0 => {
            Err(Failure::new(Kind::Usage, "the port is any free one: say with --url where the server listens"))
        }
        (None, _) => Ok(config.local_url()),
    }
}

/// Makes sure that somebody listens, and answers what calls are made with.
pub(crate) async fn connect(config: &Config, url: &str) -> Result<Upstream, Failure> {
    let wrong = || {
        let message =
            format!("`{url}` is not a url such as http://127.0.0.1:8080, https://errand.example or unix:/path");
        Failure::new(Kind::Usage, message)
    };
    let (place, tls) = match url.split_once("://") {
        Some(("http", place)) => (with_port(place, 80), None),
        Some(("https", place)) => (with_port(place, 443), Some(trust(config, url)?)),
        _ if url.starts_with("unix:") => (url.to_owned(), None),
        _ => return Err(wrong()),
    };
    let targets: Targets = place.parse().map_err(|_| wrong())?;
    let knocked = match place.strip_prefix("unix:") {
        Some(path) => timeout(PATIENCE, UnixStream::connect(path)).await.map(|done| done.map(drop)),
        None => timeout(PATIENCE, TcpStream::connect(&place)).await.map(|done| done.map(drop)),
    };
    let silent = |why: &dyn Display| {
        Failure::new(Kind::NotReady, format!("nothing answers at {url}: start `errand` there first ({why})"))
    };
    match knocked {
        Ok(Ok(())) => Ok(upstream::remote(targets, tls, upstream::Settings::default())),
        Ok(Err(error)) => Err(silent(&error)),
        Err(_) => Err(silent(&"it takes too long")),
    }
}

fn with_port(place: &str, port: u16) -> String {
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { place.to_owned() } else { format!("{place}:{port}") }
}

/// Whose certificates are believed: on the port that `serve` has here the one that it shows.
fn trust(config: &Config, url: &str) -> Result<ClientTls, Failure> {
    let tls = if url == config.local_url() { config.own_client() } else { config.peers.client() };
    let tls = tls.map_err(|error| compose::misconfigured(&error))?;
    tls.ok_or_else(|| {
        let message = "https needs to know whom to trust: set ERRAND_PEER_TLS_CA to the certificates of the issuer";
        Failure::new(Kind::Configuration, message)
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
