//! The suite again, and what only this shape has: each role in processes of its own, task and chat twice, on
//! PostgreSQL, behind a gateway. Nothing that a client can see is different.
//!
//! The server is made here, for this run alone. Where PostgreSQL is not installed the run says so and ends, unless
//! `CI` is set. One module: `cargo test -p errand --test apart watch`.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may be blunt")]

#[path = "../suite/answers.rs"]
mod answers;
#[path = "../suite/approval.rs"]
mod approval;
#[path = "../suite/authentication.rs"]
mod authentication;
#[path = "../suite/batch.rs"]
mod batch;
#[path = "../suite/bypass.rs"]
mod bypass;
mod cancel;
#[path = "../suite/concurrency.rs"]
mod concurrency;
#[path = "../suite/crash.rs"]
mod crash;
#[path = "../suite/deletion.rs"]
mod deletion;
#[path = "../suite/demo.rs"]
mod demo;
#[path = "../suite/doors.rs"]
mod doors;
#[path = "../suite/forge.rs"]
mod forge;
#[path = "../suite/hostile.rs"]
mod hostile;
#[path = "../suite/idempotency.rs"]
mod idempotency;
#[path = "../suite/identity.rs"]
mod identity;
#[path = "../suite/input.rs"]
mod input;
#[path = "../suite/isolation.rs"]
mod isolation;
mod kills;
#[path = "../suite/linear.rs"]
mod linear;
#[path = "../suite/llm.rs"]
mod llm;
mod load;
mod lock;
#[path = "../suite/matrix.rs"]
mod matrix;
#[path = "../suite/model.rs"]
mod model;
#[path = "../suite/operation.rs"]
mod operation;
mod outage;
#[path = "../suite/parity.rs"]
mod parity;
#[path = "../suite/protocol.rs"]
mod protocol;
#[path = "../suite/provoke.rs"]
mod provoke;
#[path = "../suite/repeats.rs"]
mod repeats;
#[path = "../suite/replay.rs"]
mod replay;
mod replicas;
#[path = "../suite/requests.rs"]
mod requests;
#[path = "../suite/rest.rs"]
mod rest;
mod rollout;
#[path = "../suite/sandbox/mod.rs"]
mod sandbox;
mod shape;
mod spoiled;
mod spoiler;
#[path = "../suite/story.rs"]
mod story;
#[path = "../suite/streaming.rs"]
mod streaming;
#[path = "../suite/titles.rs"]
mod titles;
#[path = "../suite/tokens.rs"]
mod tokens;
#[path = "../suite/turns.rs"]
mod turns;
#[path = "../suite/undo.rs"]
mod undo;
mod walls;
#[path = "../suite/watch.rs"]
mod watch;
#[path = "../suite/wire.rs"]
mod wire;

#[test]
fn every_module_of_the_suite_runs_in_this_shape_too() {
    let modules = |text: &'static str| text.lines().filter(|line| line.starts_with("mod ")).collect::<Vec<_>>();
    let here = modules(include_str!("main.rs"));
    let missing: Vec<_> =
        modules(include_str!("../suite/main.rs")).into_iter().filter(|line| !here.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
