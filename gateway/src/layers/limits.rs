//! What is refused before anything looks at it: too many headers, a body that says it is too
//! large, compression. The size of what is really sent is counted where it passes, in `forward`.

use errand_chassis::{
    Error,
    protocol::{self, LARGEST_HEADERS, LARGEST_MESSAGE},
};
use http::{
    HeaderMap, Request, Response,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};
use tonic::{Code, body::Body};

use super::Step;
use crate::refusal::{self, Shape};

/// The length of the prefix of a message.
const PREFIX: usize = 5;

/// Refuses what is over a limit.
pub(crate) struct Limits;

impl Limits {
    fn check(request: &Request<Body>, shape: Shape) -> Result<(), Error> {
        let headers = request.headers();
        if protocol::header_size(headers) > LARGEST_HEADERS {
            return Err(protocol::headers_too_large());
        }
        let mut encodings = ["grpc-encoding", "connect-content-encoding", CONTENT_ENCODING.as_str()]
            .into_iter()
            .flat_map(|name| headers.get_all(name));
        if encodings.any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return Err(protocol::compressed());
        }
        if headers.get_all("grpc-timeout").iter().nth(1).is_some() {
            return Err(Error::new(Code::InvalidArgument, "TIMEOUT_INVALID", "send grpc-timeout once, not twice"));
        }
        let text = matches!(shape, Shape::GrpcWeb { text_in: true, .. });
        // Base64 takes four bytes for three, and up to four for one where a caller pads every piece;
        // what it decodes to is counted as it passes.
        let most = (LARGEST_MESSAGE + PREFIX).saturating_mul(if text { 4 } else { 1 });
        match claimed_length(headers) {
            Some(claimed) if claimed > most as u64 => Err(protocol::message_too_large()),
            _ => Ok(()),
        }
    }
}

impl Step for Limits {
    type Note = ();

    async fn enter(&self, request: &mut Request<Body>) -> Result<(), Box<Response<Body>>> {
        // Nothing behind this changes what it is read from.
        let shape = Shape::note(request);
        Self::check(request, shape).map_err(|error| refusal::refuse(request, error))
    }
}

fn claimed_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
