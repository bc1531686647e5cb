//! Roles in processes of their own, as an operator runs them: what they need, what they say when it
//! is not there, migrations on PostgreSQL, sockets and TLS between them, when they are ready.
//!
//! The server is made here. Where PostgreSQL is not installed these tests say so and end, unless `CI`
//! is set.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

mod migrations;
mod network;
mod readiness;
mod settings;
mod world;
