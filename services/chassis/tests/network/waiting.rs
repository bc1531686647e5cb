//! Calls that wait for a processor.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use errand_chassis::{admission, server::Limits, upstream::Unreached};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::body::Body;
use tower::{service_fn, util::BoxCloneSyncService};

use crate::world::Peer;

/// For four times as long as a call may wait.
const CROWD: usize = 200;
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Needs the processor for each call that is not late, and counts those.
async fn work(mut request: Request<Body>, worked: Arc<AtomicUsize>) -> Result<Response<Body>, Unreached> {
    let mut response = Response::new(Body::empty());
    if admission::in_time(request.extensions_mut()).is_err() {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        return Ok(response);
    }
    worked.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
    Ok(response)
}

/// On one processor, so that all of them wait for the same.
#[tokio::test]
async fn r_110_on_http_1_a_call_has_waited_since_its_connection_could_be_read() {
    let worked = Arc::new(AtomicUsize::new(0));
    let counted = worked.clone();
    let service = BoxCloneSyncService::new(service_fn(move |request| work(request, counted.clone())));
    let limits = Limits { spared: 10, ..Limits::default() };
    let peer = Peer::on(&"127.0.0.1:0".parse().unwrap(), None, limits, service);
    let mut connections = Vec::new();
    for _ in 0..CROWD {
        let mut connection = TcpStream::connect(("127.0.0.1", peer.port())).await.unwrap();
        connection.write_all(GET).await.unwrap();
        assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
        connections.push(connection);
    }
    assert_eq!(worked.swap(0, Ordering::Relaxed), CROWD, "one after the other nobody waits");
    // All at once: nothing is read before the last of them was written.
    for connection in &connections {
        assert_eq!(connection.try_write(CLOSE).unwrap(), CLOSE.len());
    }
    let mut refused = 0;
    for connection in &mut connections {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        refused += usize::from(answer.starts_with("HTTP/1.1 429 "));
    }
    let served = worked.load(Ordering::Relaxed);
    assert_eq!(served + refused, CROWD);
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
}
