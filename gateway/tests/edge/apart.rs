//! The edge with a service in another process behind it: a socket between them, and the same answers.

use errand_chassis::{
    address::{ClientAddress, Network, believing},
    listener::{Address, Listener},
    server::{Limits, serve},
    upstream::{self, Settings, Upstream},
};
use errand_gateway::Config;
use http::Response;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Code, Status, body::Body};
use tower::service_fn;

use crate::world::{LOG_IN, World, from, grpc, web};

/// A service that answers with where it believes the client to be, in a header that passes out.
fn telling() -> Upstream {
    let service = Upstream::new(service_fn(|request: http::Request<Body>| async move {
        let client = request.extensions().get::<ClientAddress>().map(|client| client.0.to_string());
        let timeout = request.headers().get("grpc-timeout").cloned();
        let mut response: Response<Body> = Status::ok("").into_http();
        response.headers_mut().insert("grpc-test-client", client.unwrap_or_default().parse().unwrap());
        response.headers_mut().extend(timeout.map(|timeout| (http::HeaderName::from_static("grpc-timeout"), timeout)));
        Ok(response)
    }));
    believing(service, Network::this_machine())
}

fn start(service: Upstream) -> (Address, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, service, Limits::between_roles(), async move {
        _ = stopped.await;
    }));
    (address, stop, server)
}

fn world(address: &Address) -> World {
    let settings = Settings { patience: std::time::Duration::ZERO, ..Settings::default() };
    World::around(Config::default(), &upstream::remote(address.to_string().parse().unwrap(), None, settings))
}

#[tokio::test]
async fn r_043_r_081_a_role_apart_sees_the_client_that_the_edge_has_found_out() {
    let (address, _stop, _server) = start(telling());
    let settings = Settings::default();
    let peer = upstream::remote(address.to_string().parse().unwrap(), None, settings);
    let world = World::around(Config::default(), &peer);
    for request in [grpc(LOG_IN, &[("grpc-timeout", "5S")]), web(LOG_IN, &[("grpc-timeout", "5S")])] {
        let forged = {
            let mut request = from(request, "192.0.2.7:1234");
            request.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
            request
        };
        let answer = world.call(forged).await;
        assert_eq!(answer.header("grpc-test-client"), "192.0.2.7");
        let left: u32 = answer.header("grpc-timeout").strip_suffix('m').unwrap().parse().unwrap();
        assert!(left < 5000);
    }
}

#[tokio::test]
async fn a_role_that_is_gone_is_unavailable_in_the_callers_face() {
    let (address, stop, server) = start(telling());
    let world = world(&address);
    stop.send(()).unwrap();
    server.await.unwrap();
    let answer = world.call(grpc(LOG_IN, &[])).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "UNAVAILABLE".to_owned()));
    assert!(answer.headers.contains_key("grpc-status-details-bin"));
    let answer = world.call(web(LOG_IN, &[])).await;
    assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
    assert_eq!(answer.refusal(), (Code::Unavailable, "UNAVAILABLE".to_owned()));
}
