//! Roles in processes of their own, over real sockets: what a caller sees of replicas that come,
//! go, hang and are replaced.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may be blunt")]

mod calls;
mod keys;
mod places;
mod replicas;
mod secured;
mod streams;
mod waiting;
mod world;
