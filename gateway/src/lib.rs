//! The edge: the one door that faces the network.
//!
//! It serves native gRPC, gRPC-Web, REST and `/healthz` on one port and passes calls on to the roles. It
//! decides nothing about tasks, users or messages, and decodes a message only to say it in JSON: a call is checked for
//! who it comes from, how large it is, who sends it and how often, then handed on byte for byte. Services
//! verify the token again; the edge is not trusted. MCP gets its own face
//! beside the ones that are here.

mod bindings;
mod call;
mod faces;
mod forward;
mod layers;
mod rates;
mod refusal;
mod router;
mod text;

use std::{convert::Infallible, sync::Arc};

use errand_chassis::{
    clock::Clock,
    health::Health,
    token::Verifier,
    trace,
    upstream::{Unreached, Upstream},
};
use http::{Request, Response};
use tonic::body::Body;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use bindings::Bindings;
use layers::{
    Answer, Through,
    cors::Cors,
    headers::{RequestIds, Stripping},
    limits::Limits,
    overload::Overload,
    rate::{Rate, Whom},
    route::Route,
    token::Tokens,
};
use router::Router;

pub use errand_chassis::address::Network;
pub use faces::openapi::document as openapi;
pub use layers::cors::AllowedOrigin;
pub use rates::{Quota, Quotas, Rates};
pub use router::Upstreams;

/// What an operator may choose about the edge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which web pages may call (`ERRAND_ALLOWED_ORIGINS`); by default those of this machine.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Whose `x-forwarded-for` is believed (`ERRAND_TRUSTED_PROXIES`); by default nobody's.
    pub trusted_proxies: Vec<Network>,
    /// How often users and addresses may call.
    pub rates: Rates,
}

impl Default for Config {
    fn default() -> Self {
        Self { allowed_origins: AllowedOrigin::this_machine(), trusted_proxies: Vec::new(), rates: Rates::default() }
    }
}

impl Answer for Router {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.route(request).await
    }
}

/// The whole edge as one service, for a server to feed. `health` is what `/healthz` tells.
#[must_use]
pub fn edge(
    config: Config,
    upstreams: Upstreams,
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
    health: Health,
) -> Upstream {
    // The order of a call, outermost first. CORS stands outside the limits, because a web page can
    // read an error only when it carries the CORS headers.
    let Rates { user, address, replicas } = config.rates;
    let edge = ServiceBuilder::new()
        .layer(Through::new(RequestIds::new(clock.clone())))
        .layer(Through::new(Cors::new(config.allowed_origins)))
        .layer(Through::new(Limits))
        .layer(Through::new(Stripping::new(config.trusted_proxies)))
        .layer(Through::new(Route::new(Arc::new(Bindings::new()))))
        .layer(Through::new(Overload))
        .layer(Through::new(Rate::new(Whom::Address, address, replicas, clock.clone())))
        .layer(Through::new(Tokens::new(verifier)))
        .layer(Through::new(Rate::new(Whom::User, user, replicas, clock)))
        .service(Router::new(upstreams, health));
    let edge = Arc::new(edge);
    let service = service_fn(move |request| {
        let edge = edge.clone();
        async move { Ok::<_, Infallible>(edge.answer(request).await) }
    });
    trace::edge(Upstream::new(service.map_err(Unreached::new)))
}
