//! Black-box tests of the real binary: every test starts its own process on a free port with its
//! own data folder, and speaks to it as a client would.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may be blunt")]

mod answers;
mod approval;
mod authentication;
mod batch;
mod bypass;
mod concurrency;
mod crash;
mod deletion;
mod demo;
mod doors;
mod forge;
mod hostile;
mod idempotency;
mod identity;
mod input;
mod isolation;
mod linear;
mod llm;
mod matrix;
mod model;
mod operation;
mod parity;
mod protocol;
mod provoke;
mod repeats;
mod replay;
mod requests;
mod rest;
mod sandbox;
mod shape;
mod story;
mod streaming;
mod titles;
mod tokens;
mod turns;
mod undo;
mod watch;
mod wire;
