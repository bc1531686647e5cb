//! Nobody reaches a method without the access that its contract asks for.
//!
//! The services decide the same again for themselves; here it keeps strangers' calls off them.

use std::sync::Arc;

use errand_chassis::{access, token::Verifier};
use http::{Request, Response};
use tonic::body::Body;

use super::Step;
use crate::{bindings::SignedIn, refusal};

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
        // No face takes anything else to a service: the router refuses it with what to change.
        let Some(method) = super::method(request) else { return Ok(()) };
        match access::decide(method, request.headers(), &self.verifier).await {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(SignedIn(caller));
                }
                Ok(())
            }
            Err(error) => Err(refusal::refuse(request, error)),
        }
    }
}
