//! Wires the roles of this process: services on their ground, what calls them in front, health and
//! reflection beside them.
//!
//! A role that is here is called through the same stack that a network caller meets, token check
//! included, without a socket; one that is elsewhere over the network. Who calls can not tell. Nothing
//! is decided here.

mod front;
mod services;

use std::{convert::Infallible, sync::Arc};

use errand_chassis::{
    clock::{Clock, SystemClock},
    drain::Drain,
    health::Health,
    jwks::KeySet,
    server::{self, Routes},
    token::Verifier,
    upstream::{self, Upstream},
};
use errand_proto::{auth::auth_service_server, chat::chat_service_server, task::task_service_server};
use errand_storage::Ready;

use crate::{
    cli::{Failure, Kind},
    config::Config,
    ground::Ground,
    roles::Role,
};
use services::Services;

/// Everything that runs in this process.
pub(crate) struct Suite {
    services: Services,
    keys: KeySet,
    health: Health,
    drain: Drain,
    front: Upstream,
    /// The services that are answered for here and are not.
    elsewhere: Vec<&'static str>,
}

/// A service as the others call it.
#[derive(Clone)]
struct Peer {
    /// Its full name.
    name: &'static str,
    call: Upstream,
}

/// What everything is wired with.
struct Wiring<'a> {
    config: &'a Config,
    clock: Arc<dyn Clock>,
    drain: Drain,
    keys: KeySet,
    verifier: Arc<Verifier>,
}

impl Suite {
    /// Opens the services that are here, finds those that are not, and puts what faces callers in front.
    pub(crate) async fn open(config: &Config, roles: &[Role], ground: &Ground) -> Result<Self, Failure> {
        let here = |role: Role| roles.contains(&role);
        let tls = config.peers.client().map_err(|error| misconfigured(&error))?;
        let drain = Drain::new();
        let remote = |service: Role| {
            let settings = upstream::Settings { drain: drain.clone(), ..upstream::Settings::default() };
            let targets = config.peers.target(service).cloned();
            let targets = targets.ok_or_else(|| Failure::new(Kind::Failed, format!("{service} has no target")))?;
            Ok(Peer { name: full_name(service), call: upstream::remote(targets, tls.clone(), settings) })
        };

        let far_auth = if here(Role::Auth) { None } else { Some(remote(Role::Auth)?) };
        let keys = far_auth.as_ref().map_or_else(KeySet::empty, |auth| KeySet::fetched(auth.call.clone()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let verifier = Arc::new(Verifier::new(keys.clone(), clock.clone()));
        let wiring = Wiring { config, clock, drain: drain.clone(), keys, verifier };

        let mut services = Services::default();
        let mut peers = Vec::new();
        if here(Role::Task) {
            let task = services.task.insert(wiring.task(ground).await?);
            peers.push(wiring.peer(Role::Task, task.routes()));
        } else {
            peers.push(remote(Role::Task)?);
        }
        if here(Role::Chat) {
            let task = peers[0].call.clone();
            let chat = services.chat.insert(wiring.chat(ground, task).await?);
            peers.push(wiring.peer(Role::Chat, chat.routes()));
        } else if here(Role::Auth) || here(Role::Gateway) {
            peers.push(remote(Role::Chat)?);
        }
        match far_auth {
            Some(auth) => peers.push(auth),
            None => {
                // Last, because it goes on at once with what was left to erase.
                let auth = services.auth.insert(wiring.auth(ground, &peers).await?);
                peers.push(wiring.peer(Role::Auth, auth.routes()));
            }
        }
        let (health, front) = wiring.front(roles, peers)?;
        let away = |service: &Role| here(Role::Gateway) && !here(*service);
        let elsewhere = Role::SERVICES.into_iter().filter(away).map(full_name).collect();
        Ok(Self { services, keys: wiring.keys, health, drain, front, elsewhere })
    }

    /// What the network calls.
    pub(crate) fn front(&self) -> Upstream {
        self.front.clone()
    }

    /// Who serves.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Keeps health true: nothing serves before there are keys to verify tokens with, and a service
    /// whose database takes no writes does not. Never ends: to be spawned, and ended before the suite is.
    pub(crate) fn follow(&self) -> impl Future<Output = ()> + use<> {
        let (keys, health, elsewhere) = (self.keys.clone(), self.health.clone(), self.elsewhere.clone());
        let readies = self.services.ready();
        async move {
            keys.loaded().await;
            // Whether a service elsewhere takes calls is told by its own process.
            elsewhere.into_iter().for_each(|name| health.set(name, true));
            // Polled here, not spawned: when this ends none of them can say another word.
            let mut following: Vec<_> =
                readies.into_iter().map(|(service, ready)| Box::pin(follow(health.clone(), service, ready))).collect();
            std::future::poll_fn(|context| {
                for one in &mut following {
                    _ = one.as_mut().poll(context);
                }
                std::task::Poll::<()>::Pending
            })
            .await;
        }
    }

    /// What tells streams and loops to end.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Ends the services, callers before those they call.
    pub(crate) async fn close(&self) {
        self.services.close().await;
    }
}

async fn follow(health: Health, service: Role, mut ready: Ready) -> Infallible {
    let mut serves = ready.takes_writes();
    loop {
        health.set(full_name(service), serves);
        serves = ready.changed().await;
    }
}

impl Wiring<'_> {
    fn stack(&self, routes: Routes) -> Upstream {
        server::role(routes, self.verifier.clone(), self.clock.clone())
    }

    /// A service that is here.
    fn peer(&self, service: Role, routes: Routes) -> Peer {
        Peer { name: full_name(service), call: self.stack(routes) }
    }
}

/// The full name of a service's contract; the gateway has none.
const fn full_name(service: Role) -> &'static str {
    match service {
        Role::Auth => auth_service_server::SERVICE_NAME,
        Role::Task => task_service_server::SERVICE_NAME,
        Role::Chat => chat_service_server::SERVICE_NAME,
        Role::Gateway => "",
    }
}

/// A part that does not start, with every cause, because the sentence on top seldom is the reason.
fn failed(part: impl std::fmt::Display, kind: Kind, error: &dyn std::error::Error) -> Failure {
    Failure::new(kind, format!("{part} can not start: {}", causes(error)))
}

/// Certificates that can not be used.
pub(crate) fn misconfigured(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Configuration, format!("TLS: {}", causes(error)))
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
