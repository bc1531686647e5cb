//! Nobody waits for long: a call that could not be looked at in time is refused before any work is done for it.

use errand_chassis::admission;
use http::{Request, Response};
use tonic::body::Body;

use super::Step;
use crate::refusal;

/// Refuses calls that have waited for too long among too many.
pub(crate) struct Overload;

impl Step for Overload {
    type Note = ();

    async fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        if !super::method(request).is_some_and(admission::counts) {
            return Ok(());
        }
        admission::in_time(request.extensions_mut()).map_err(|error| refusal::refuse(request, error))
    }
}
