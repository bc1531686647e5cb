//! What faces callers: the gateway's edge when it is here, else the services' own stacks; with health
//! and reflection beside them.

use std::{collections::HashMap, sync::Arc};

use errand_chassis::{
    address,
    health::Health,
    server::Routes,
    upstream::{Unreached, Upstream},
};
use errand_gateway::Upstreams;
use tower::{ServiceExt, service_fn};

use super::{Peer, Wiring, failed, full_name};
use crate::{
    cli::{Failure, Kind},
    roles::Role,
};

impl Wiring<'_> {
    /// Health, and what the listener feeds.
    pub(super) fn front(&self, roles: &[Role], peers: Vec<Peer>) -> Result<(Health, Upstream), Failure> {
        let server = &self.config.server;
        let is_edge = roles.contains(&Role::Gateway);
        let is_here = |peer: &Peer| roles.iter().any(|role| full_name(*role) == peer.name);
        // The edge answers for all of them, wherever they are.
        let peers: Vec<Peer> = peers.into_iter().filter(|peer| is_edge || is_here(peer)).collect();
        let health = Health::new(&peers.iter().map(|peer| peer.name).collect::<Vec<_>>());
        let standard = standard(&health, server.reflection)?;
        let names: Vec<_> = standard.names().collect();
        let standard = self.stack(standard);
        if is_edge {
            let upstreams = names.into_iter().fold(Upstreams::new(), |all, name| all.add(name, standard.clone()));
            let upstreams = peers.into_iter().fold(upstreams, |all, peer| all.add(peer.name, peer.call));
            let (verifier, clock) = (self.verifier.clone(), self.clock.clone());
            let edge = errand_gateway::edge(self.config.edge(), upstreams, verifier, clock, health.clone());
            return Ok((health, edge));
        }
        let stacks = peers.into_iter().map(|peer| (peer.name, peer.call)).collect();
        Ok((health, address::believing(by_name(stacks, standard), server.trusted_by_role())))
    }
}

/// Several stacks on one port, and `rest` for what none of them has.
fn by_name(stacks: HashMap<&'static str, Upstream>, rest: Upstream) -> Upstream {
    let stacks = Arc::new(stacks);
    Upstream::new(service_fn(move |request: http::Request<tonic::body::Body>| {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let stack = service.and_then(|(service, _)| stacks.get(service)).unwrap_or(&rest).clone();
        async move { stack.oneshot(request).await.map_err(Unreached::new) }
    }))
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
    let v1 = contracts().build_v1().map_err(|error| failed("reflection", Kind::Failed, &error))?;
    let v1alpha = contracts().build_v1alpha().map_err(|error| failed("reflection", Kind::Failed, &error))?;
    Ok(routes.add(v1).add(v1alpha))
}
