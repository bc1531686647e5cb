//! Which call a path of plain HTTP means, said before anything is decided about it.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, header::ALLOW};
use tonic::{Code, body::Body};

use errand_chassis::Error;

use super::Step;
use crate::{
    bindings::{Bindings, Meaning},
    refusal::{self, Shape},
};

/// Notes the call that a path of plain HTTP means as an extension, [`crate::bindings::Way`].
pub(crate) struct Route {
    bindings: Arc<Bindings>,
}

impl Route {
    pub(crate) fn new(bindings: Arc<Bindings>) -> Self {
        Self { bindings }
    }
}

impl Step for Route {
    type Note = ();

    async fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        if !matches!(Shape::of(request), Shape::Http { .. } | Shape::Connect) {
            return Ok(());
        }
        match self.bindings.find(request.method().as_str(), request.uri().path()) {
            Meaning::Call(way) => {
                request.extensions_mut().insert(way);
                Ok(())
            }
            // The router says what there is instead.
            Meaning::Nothing => Ok(()),
            Meaning::OtherVerbs(verbs) => Err(not_allowed(request, &verbs.join(", "))),
        }
    }
}

fn not_allowed(request: &Request<Body>, allow: &str) -> Box<Response<Body>> {
    let error = Error::new(Code::Unimplemented, "METHOD_NOT_ALLOWED", format!("this path takes only {allow}"));
    let mut response = refusal::refuse(request, error.with("allow", allow));
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}
