//! The stream of WatchTasks, as bytes that all watchers of an owner share.
//!
//! Generated code would encode each event for each stream again. So the handler leaves a body of
//! ready frames with its answer, and [`Shared`], around the generated service, sends that one.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use errand_proto::task::WatchTasksResponse;
use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Response, Status, body::Body, server::NamedService};
use tower::Service;

use crate::{
    app::{Watched, Watcher},
    convert::changes::handover_event,
};

/// A generated service whose handlers may answer with a body that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Shared<S>(pub(crate) S);

/// What the generated code is given in its place: nothing.
pub(super) type Events = stream::Empty<Result<WatchTasksResponse, Status>>;

/// A body that a handler leaves in the extensions of its answer. They are cloned, a body is not:
/// whoever looks first takes it.
#[derive(Clone)]
struct Ready(std::sync::Arc<Mutex<Option<Body>>>);

/// The answer to WatchTasks.
pub(super) fn answer(watcher: Watcher) -> Response<Events> {
    let body = Body::new(StreamBody::new(frames(watcher)));
    let mut response = Response::new(stream::empty());
    response.extensions_mut().insert(Ready(std::sync::Arc::new(Mutex::new(Some(body)))));
    response
}

/// What is sent: changes as they come, a handover at the end, and how it ended.
fn frames(watcher: Watcher) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static {
    let events = stream::unfold(watcher, async |mut watcher| {
        let frames = match watcher.next().await? {
            Watched::Changes(bytes) => vec![Frame::data(bytes)],
            Watched::Handover(cursor) => {
                let mut bytes = BytesMut::new();
                handover_event(cursor, &mut bytes);
                vec![Frame::data(bytes.freeze()), trailers(&Status::ok(""))]
            }
            Watched::Failed(error) => vec![trailers(&error.into())],
        };
        Some((frames, watcher))
    });
    events.flat_map(|frames| stream::iter(frames.into_iter().map(Ok)))
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    if let Err(status) = status.add_header(&mut trailers) {
        // What can not be said in a header is left out; the code always can.
        let _ = Status::new(status.code(), "").add_header(&mut trailers);
    }
    Frame::trailers(trailers)
}

// === impl Shared ===

impl<S: NamedService> NamedService for Shared<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Shared<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let ready = response.extensions_mut().remove::<Ready>();
            let body = ready.and_then(|ready| ready.0.lock().unwrap_or_else(PoisonError::into_inner).take());
            Ok(match body {
                Some(body) => response.map(|_| body),
                None => response,
            })
        })
    }
}
