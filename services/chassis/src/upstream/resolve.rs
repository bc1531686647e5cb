//! From names to places, again and again.

use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use http::uri::Authority;
use tokio::{net::lookup_host, time::timeout};

use crate::target::{Target, Targets};

/// How long looking a name up may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many addresses of a name are used.
const MOST: usize = 64;

/// Looks names up.
#[tonic::async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a port of a host.
    ///
    /// # Errors
    /// When there are none, or nobody can be asked.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Asks the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[tonic::async_trait]
impl Resolve for SystemResolver {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        lookup_host((host, port)).await.map(Iterator::collect)
    }
}

/// One place where a peer listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A place, and the name by which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    /// What the peer's certificate has to be for.
    pub(super) host: String,
    /// `host:port`, as the peer is told whom we mean.
    pub(super) authority: Authority,
}

/// Finds the places of targets, and remembers where they were when nobody answers.
pub(super) struct Finder {
    targets: Vec<(Target, Vec<Found>)>,
}

impl Finder {
    pub(super) fn new(targets: Targets) -> Self {
        Self { targets: targets.into_iter().map(|target| (target, Vec::new())).collect() }
    }

    /// Whether looking again may find others.
    pub(super) fn may_change(&self) -> bool {
        self.targets
            .iter()
            .any(|(target, _)| matches!(target, Target::Host { host, .. } if host.parse::<std::net::IpAddr>().is_err()))
    }

    /// Where the targets are now.
    pub(super) async fn find(&mut self, resolver: &dyn Resolve) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        for (target, last) in &mut self.targets {
            match places(target, resolver).await {
                Ok(places) if !places.is_empty() => *last = places,
                Ok(_) => tracing::warn!(%target, "a name has no addresses"),
                Err(error) => tracing::warn!(%target, %error, "a name was not found"),
            }
            for found in last {
                // Two names for one place are one place.
                if all.iter().all(|other| other.place != found.place) {
                    all.push(found.clone());
                }
            }
        }
        all
    }
}

async fn places(target: &Target, resolver: &dyn Resolve) -> io::Result<Vec<Found>> {
    match target {
        Target::Unix(path) => {
            let (host, authority) = ("localhost".to_owned(), Authority::from_static("localhost"));
            Ok(vec![Found { place: Place::Unix(path.clone()), host, authority }])
        }
        Target::Host { host, port } => {
            let authority: Authority = target.to_string().parse().map_err(io::Error::other)?;
            let found =
                |address| Found { place: Place::Tcp(address), host: host.clone(), authority: authority.clone() };
            if let Ok(address) = host.parse() {
                return Ok(vec![found(SocketAddr::new(address, *port))]);
            }
            let looked_up = timeout(PATIENCE, resolver.look_up(host, *port)).await;
            let addresses = looked_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            Ok(addresses.into_iter().take(MOST).map(found).collect())
        }
    }
}
