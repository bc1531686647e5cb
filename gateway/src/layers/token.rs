//! Nobody reaches a method without the access that its contract asks for.
//!
//! The services decide the same again for themselves; here it keeps strangers' calls off them.

use std::sync::Arc;

use errand_chassis::{access, token::Verifier};
use errand_proto::contract::Method;
use http::{Request, Response};
use tonic::body::Body;

use super::Step;
use crate::refusal::{self, Shape};

/// Refuses calls without a valid token to methods that need one.
pub(crate) struct Tokens {
    verifier: Arc<Verifier>,
}

impl Tokens {
    pub(crate) fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier }
    }
}

impl Step for Tokens {
    type Note = ();

    async fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        match Shape::of(request) {
            Shape::Grpc { .. } | Shape::GrpcWeb { .. } => {}
            // No face takes such a request to a service: the router refuses it with what to change.
            Shape::Http => return Ok(()),
        }
        // The router looks methods up by the same exact path, and refuses every other.
        let Some(method) = Method::find(request.uri().path()) else { return Ok(()) };
        if request.uri().query().is_some() {
            return Ok(());
        }
        match access::decide(method, request.headers(), &self.verifier).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refusal::refuse(request, error)),
        }
    }
}
