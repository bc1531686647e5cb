//! Wires the suite: three services on one data folder, the edge in front, health and reflection.
//!
//! Peers call each other through the same stack that a network caller meets, token check included,
//! without a socket. Nothing is decided here.

use std::sync::Arc;

use errand_chassis::{
    clock::{Clock, SystemClock},
    drain::Drain,
    health::Health,
    jwks::KeySet,
    secret::Secret,
    server::{self, Routes},
    token::Verifier,
    upstream::Upstream,
};
use errand_chat::model::planner::Planner;
use errand_gateway::Upstreams;
use errand_proto::{auth::auth_service_server, chat::chat_service_server, task::task_service_server};
use errand_storage::{Place, Ready};

use crate::{
    cli::{Failure, Kind},
    config::Config,
    data::Folder,
};

/// Everything that runs in this process.
pub(crate) struct Suite {
    auth: errand_auth::Role,
    task: errand_task::Role,
    chat: errand_chat::Role,
    health: Health,
    drain: Drain,
    edge: Upstream,
}

impl Suite {
    /// Opens the services on their files and puts the edge in front of them.
    pub(crate) async fn open(config: &Config, folder: &Folder<'_>, secret: &Secret) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = KeySet::empty();
        let verifier = Arc::new(Verifier::new(keys.clone(), clock.clone()));
        let role = |routes: Routes| {
            let names: Vec<_> = routes.names().collect();
            (names, server::role(routes, verifier.clone(), clock.clone()))
        };

        let drain = Drain::new();
        let dependencies =
            errand_task::Dependencies { clock: clock.clone(), secret: secret.clone(), drain: drain.clone() };
        let place = Place::File(folder.database("task"));
        let task = errand_task::open(place, dependencies, errand_task::Config::default()).await;
        let task = task.map_err(|error| failed("task", &error))?;
        tokio::spawn(task.clone().keep_house());
        let task_role = role(task.routes());

        let dependencies = errand_chat::Dependencies {
            clock: clock.clone(),
            secret: secret.clone(),
            task: task_role.1.clone(),
            model: Arc::new(Planner),
            drain: drain.clone(),
        };
        let place = Place::File(folder.database("chat"));
        let chat = errand_chat::open(place, dependencies, config.limits.chat()).await;
        let chat = chat.map_err(|error| failed("chat", &error))?;
        tokio::spawn(chat.clone().keep_house());
        let chat_role = role(chat.routes());

        // Last, because it goes on at once with what was left to erase.
        let holders = [&task_role, &chat_role];
        let erase = holders.into_iter().flat_map(|(names, role)| names.iter().map(|name| (*name, role.clone())));
        let dependencies =
            errand_auth::Dependencies { clock: clock.clone(), secret: secret.clone(), keys, erase: erase.collect() };
        let auth = errand_auth::open(Place::File(folder.database("auth")), dependencies, config.auth.service()).await;
        let auth = auth.map_err(|error| failed("auth", &error))?;

        let roles = [role(auth.routes()), task_role, chat_role];
        let names: Vec<_> = roles.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let health = Health::new(&names);
        let standard = role(standard(&health, config.server.reflection)?);
        let upstreams = roles.into_iter().chain([standard]).fold(Upstreams::new(), |upstreams, (names, role)| {
            names.into_iter().fold(upstreams, |upstreams, name| upstreams.add(name, role.clone()))
        });
        let edge = errand_gateway::edge(config.server.edge(), upstreams, verifier, clock, health.clone());
        Ok(Self { auth, task, chat, health, drain, edge })
    }

    /// What the network calls.
    pub(crate) fn edge(&self) -> Upstream {
        self.edge.clone()
    }

    /// Who serves.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Keeps health true: a service whose disk is full is not serving until there is room again. To be
    /// spawned, and ended before the suite is.
    pub(crate) fn follow_disks(&self) -> impl Future<Output = ()> + use<> {
        let follow = |mut ready: Ready, service| {
            let health = self.health.clone();
            async move {
                loop {
                    health.set(service, ready.changed().await);
                }
            }
        };
        let auth = follow(self.auth.ready(), auth_service_server::SERVICE_NAME);
        let task = follow(self.task.ready(), task_service_server::SERVICE_NAME);
        let chat = follow(self.chat.ready(), chat_service_server::SERVICE_NAME);
        async move {
            tokio::join!(auth, task, chat);
        }
    }

    /// What tells streams and loops to end.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Ends the services, callers before those they call.
    pub(crate) async fn close(&self) {
        self.auth.close().await;
        self.chat.close().await;
        self.task.close().await;
    }
}

/// What every gRPC server offers: health, and reflection unless it is switched off.
fn standard(health: &Health, reflection: bool) -> Result<Routes, Failure> {
    use tonic_reflection::{pb, server::Builder};

    let routes = Routes::new().add(health.server());
    if !reflection {
        return Ok(routes);
    }
    let contracts = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(errand_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false)
    };
    let v1 = contracts().build_v1().map_err(|error| failed("reflection", &error))?;
    let v1alpha = contracts().build_v1alpha().map_err(|error| failed("reflection", &error))?;
    Ok(routes.add(v1).add(v1alpha))
}

/// A part that does not start, with every cause, because the sentence on top seldom is the reason.
fn failed(part: &str, error: &dyn std::error::Error) -> Failure {
    let mut message = format!("{part} can not start: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Failure::new(Kind::Failed, message)
}
