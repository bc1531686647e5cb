//! grpc.health.v1, for probes and load balancers.
//!
//! The messages are tonic-health's; the service is ours, because a watch of an unknown name must
//! say SERVICE_UNKNOWN and stay open, where the library's ends.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};

use crate::error::Error;

/// The name that says only that the process runs.
pub const LIVENESS: &str = "liveness";
/// The name that says that what the process needs is there.
pub const READINESS: &str = "readiness";

/// Who serves: the empty name for the whole, each service by its full name, [`LIVENESS`] and [`READINESS`].
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<BTreeMap<String, bool>>>);

impl Health {
    /// The given services, not serving yet; the process itself lives.
    #[must_use]
    pub fn new(services: &[&str]) -> Self {
        let mut names: BTreeMap<String, bool> = services.iter().map(|name| ((*name).to_owned(), false)).collect();
        names.extend([(String::new(), false), (READINESS.to_owned(), false), (LIVENESS.to_owned(), true)]);
        Self(Arc::new(watch::Sender::new(names)))
    }

    /// Says of everything but the process itself whether it serves.
    pub fn set_all(&self, serving: bool) {
        self.0.send_modify(|names| {
            for (name, value) in names.iter_mut() {
                *value = serving || name == LIVENESS;
            }
        });
    }

    /// Says of one service whether it serves; the whole serves while all do.
    pub fn set(&self, service: &str, serving: bool) {
        self.0.send_modify(|names| {
            names.insert(service.to_owned(), serving);
            let all = names.iter().all(|(name, value)| *value || name.is_empty() || name == READINESS);
            names.insert(String::new(), all);
            names.insert(READINESS.to_owned(), all);
        });
    }

    /// Whether the name serves; nothing for a name that is not known.
    #[must_use]
    pub fn serving(&self, name: &str) -> Option<bool> {
        self.0.borrow().get(name).copied()
    }

    /// The gRPC service.
    #[must_use]
    pub fn server(&self) -> HealthServer<impl health_server::Health + use<>> {
        HealthServer::new(Service(self.clone()))
    }
}

#[derive(Debug)]
struct Service(Health);

#[tonic::async_trait]
impl health_server::Health for Service {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        match self.0.serving(&name) {
            Some(serving) => Ok(Response::new(answer(Some(serving)))),
            None => {
                Err(Error::new(Code::NotFound, "SERVICE_NOT_FOUND", "no service of this name is served here").into())
            }
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let mut last = None;
        let states = WatchStream::new(self.0.0.subscribe()).map(move |names| names.get(&name).copied());
        let changes = states.filter(move |state| last.replace(*state) != Some(*state));
        Ok(Response::new(Box::pin(changes.map(|state| Ok(answer(state))))))
    }
}

fn answer(serving: Option<bool>) -> HealthCheckResponse {
    let status = match serving {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    };
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::health_server::Health as _;

    use super::*;

    fn request(name: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: name.to_owned() })
    }

    #[tokio::test]
    async fn the_whole_serves_while_every_service_does() {
        let health = Health::new(&["a", "b"]);
        health.set("a", true);
        assert_eq!(health.serving(""), Some(false));
        health.set("b", true);
        assert_eq!(health.serving(""), Some(true));
        health.set_all(false);
        assert_eq!((health.serving("a"), health.serving(LIVENESS)), (Some(false), Some(true)));
    }

    #[tokio::test]
    async fn a_check_of_an_unknown_name_is_not_found() {
        let service = Service(Health::new(&[]));
        assert_eq!(service.check(request("x")).await.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn a_watch_of_an_unknown_name_stays_open_and_sees_it_appear() {
        let health = Health::new(&[]);
        let mut states = Service(health.clone()).watch(request("later")).await.unwrap().into_inner();
        let mut next = async || states.next().await.unwrap().unwrap().status();
        assert_eq!(next().await, ServingStatus::ServiceUnknown);
        health.set("other", true);
        health.set("later", true);
        assert_eq!(next().await, ServingStatus::Serving);
        health.set_all(false);
        assert_eq!(next().await, ServingStatus::NotServing);
    }
}
