//! The edge behind a real listener: both versions of HTTP on one port.

use std::net::SocketAddr;

use bytes::Bytes;
use errand_chassis::server::{Limits, serve};
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::world::{GET_TASK, LOG_IN, World, message, ok, refusal_in, world};

/// A listener on a free port with the edge behind it.
struct Port {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Port {
    async fn open(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, world.edge.clone(), Limits::default(), stopped));
        Self { address, stop, served }
    }

    /// Sends raw bytes over HTTP/1.1 and reads until the other side closes.
    async fn raw(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn grpc_web_over_http_1_carries_its_trailers_in_the_body() {
    let world = world();
    let port = Port::open(&world).await;
    let head = format!("POST {LOG_IN} HTTP/1.1\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: 13");
    let answer = port.raw(&head, &message(b"question")).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(contains(&answer, b"content-type: application/grpc-web+proto\r\n"));
    assert!(contains(&answer, &message(b"answer")));
    assert!(contains(&answer, b"\x80\0\0\0\x0fgrpc-status:0\r\n"));
    let seen = world.only();
    assert_eq!(seen.client().as_deref(), Some("127.0.0.1"));

    let head = format!("POST {GET_TASK} HTTP/1.1\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: 13");
    let answer = port.raw(&head, &message(b"question")).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(contains(&answer, b"grpc-status: 16\r\n") && contains(&answer, b"content-length: 0\r\n"));
    port.close().await;
}

#[tokio::test]
async fn plain_http_is_told_its_status() {
    let world = world();
    let port = Port::open(&world).await;
    let healthy = port.raw("GET /healthz HTTP/1.1", b"").await;
    assert!(healthy.starts_with(b"HTTP/1.1 200 OK\r\n") && healthy.ends_with(b"\r\n\r\nok\n"));
    let head = port.raw("HEAD /healthz HTTP/1.1", b"").await;
    assert!(contains(&head, b"content-length: 3\r\n") && head.ends_with(b"\r\n\r\n"));
    for (request, status) in [
        (format!("GET {LOG_IN} HTTP/1.1"), "405"),
        (format!("POST {LOG_IN} HTTP/1.1\r\ncontent-type: application/grpc\r\ncontent-length: 0"), "415"),
        (format!("GET /large HTTP/1.1\r\nx-large: {}", "x".repeat(20 << 10)), "431"),
        ("GET /nope HTTP/1.1".to_owned(), "404"),
    ] {
        let answer = port.raw(&request, b"").await;
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{request:.60}");
        assert!(contains(&answer, b"\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\""));
    }
    port.close().await;
}

#[tokio::test]
async fn native_grpc_and_grpc_web_share_a_connection_of_http_2() {
    let world = world();
    let port = Port::open(&world).await;
    let stream = TcpStream::connect(port.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut call = async |path: &str, content_type: &str| {
        let request = Request::post(format!("http://localhost{path}"))
            .version(Version::HTTP_2)
            .header("content-type", content_type)
            .body(Full::<Bytes>::from(message(b"question")))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        (head.headers, body.trailers().cloned(), body.to_bytes())
    };

    let (_, trailers, body) = call(LOG_IN, "application/grpc").await;
    assert_eq!((trailers, body), (Some(ok()), message(b"answer").into()));
    let (_, trailers, body) = call(LOG_IN, "application/grpc-web+proto").await;
    assert_eq!(
        (trailers, body),
        (None, [message(b"answer"), b"\x80\0\0\0\x0fgrpc-status:0\r\n".to_vec()].concat().into())
    );
    let (headers, _, body) = call(GET_TASK, "application/grpc").await;
    assert_eq!((refusal_in(&headers).1.as_str(), body.len()), ("TOKEN_MISSING", 0));
    let (headers, _, _) = call("/errand.task.v1.TaskService/Nope", "application/grpc+proto").await;
    assert_eq!(refusal_in(&headers).1, "METHOD_UNKNOWN");
    drop(sender);
    port.close().await;
    driver.await.unwrap().unwrap();
}
