//! A call that has waited too long is refused before any work is done for it.

use std::sync::Arc;

use errand_chassis::admission::{Arrivals, UnderWay};
use http::{Method, Request, StatusCode};
use tokio::time::{Duration, Instant, advance};
use tonic::{Code, body::Body};

use crate::world::{GET_TASK, LOG_IN, grpc, post, refusal_in, web, world};

const WATCH: &str = "/errand.task.v1.TaskService/WatchTasks";

/// A request that came in among more than are spared, and those.
fn among_many(mut request: Request<Body>) -> (Request<Body>, Vec<UnderWay>) {
    let arrivals = Arc::new(Arrivals::new(1));
    let (arrival, own) = arrivals.arrive(Instant::now());
    request.extensions_mut().insert(arrival);
    let others = (0..2).map(|_| arrivals.arrive(Instant::now()).1);
    (request, std::iter::once(own).chain(others).collect())
}

#[tokio::test(start_paused = true)]
async fn r_110_who_has_waited_for_50_ms_is_refused_in_every_face_and_no_service_is_called() {
    for face in 0..5 {
        let world = world();
        // Nobody looks at the token: that is work.
        let authorization = ("authorization", "Bearer of.no.use");
        let request = match face {
            0 => grpc(GET_TASK, &[authorization]),
            1 => web(GET_TASK, &[authorization]),
            2 => post(GET_TASK, &[("content-type", "application/grpc-web-text"), authorization], "AAAAAAA="),
            3 => post(GET_TASK, &[("content-type", "application/json"), authorization], "{}"),
            _ => {
                let mut get = post("/v1/tasks/7", &[authorization], "");
                *get.method_mut() = Method::GET;
                get
            }
        };
        let (mut request, _others) = among_many(request);
        request.headers_mut().insert("origin", "http://localhost".parse().unwrap());
        advance(Duration::from_millis(51)).await;
        let refused = world.call(request).await;
        match face {
            0..3 => assert_eq!(refused.refusal(), (Code::ResourceExhausted, "OVERLOADED".to_owned())),
            _ => {
                assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
                assert!(String::from_utf8_lossy(&refused.body).contains("OVERLOADED"), "{:?}", refused.body);
            }
        }
        assert_eq!(refused.header("access-control-allow-origin"), "http://localhost", "its page may read why");
        assert!(!refused.header("x-request-id").is_empty() && world.seen().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn r_110_what_has_a_limit_of_its_own_is_not_refused_for_having_waited() {
    for path in [LOG_IN, WATCH] {
        let world = world();
        let bearer = format!("Bearer {}", world.token("tasks:read"));
        let (request, _others) = among_many(grpc(path, &[("authorization", &bearer)]));
        advance(Duration::from_secs(1)).await;
        let answer = world.call(request).await;
        assert_eq!(world.seen().len(), 1, "{path} {:?}", refusal_in(&answer.headers));
    }
}

#[tokio::test(start_paused = true)]
async fn r_110_who_came_in_time_is_served_however_long_that_takes() {
    let world = world();
    let bearer = format!("Bearer {}", world.token("tasks:read"));
    let (request, _others) = among_many(grpc(GET_TASK, &[("authorization", &bearer)]));
    advance(Duration::from_millis(1)).await;
    world.call(request).await;
    assert!(world.only().head.extensions.get::<errand_chassis::admission::Arrival>().is_none(), "nobody asks again");
}
