//! The limit that everything is measured against: tonic with nothing behind it.
//!
//! The answer is as large as a task, so that both sides encode and send the same amount.

use std::{
    convert::Infallible,
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
};

use errand_proto::task::{GetTaskRequest, Task};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, body::Body, server::UnaryService};
use tonic_prost::ProstCodec;
use tower::service_fn;

struct Echo;

impl UnaryService<GetTaskRequest> for Echo {
    type Response = Task;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Task>, Status>> + Send>>;

    fn call(&mut self, request: Request<GetTaskRequest>) -> Self::Future {
        let id = request.into_inner().task_id;
        Box::pin(ready(Ok(Response::new(Task {
            id,
            title: "a task of the usual length".to_owned(),
            etag: "1f".to_owned(),
            create_time: Some(prost_time()),
            update_time: Some(prost_time()),
            ..Task::default()
        }))))
    }
}

fn prost_time() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }
}

/// Serves until the process is ended.
pub(crate) async fn serve(address: SocketAddr, ready: impl FnOnce(SocketAddr)) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let codec = ProstCodec::<Task, GetTaskRequest>::default();
            Ok::<_, Infallible>(tonic::server::Grpc::new(codec).unary(Echo, request.map(Body::new)).await)
        });
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that hangs up is the end of its measurement.
            let _ = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
        });
    }
}
