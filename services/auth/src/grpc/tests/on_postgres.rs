//! Every case on PostgreSQL, where it is installed.
#![expect(clippy::duplicate_mod, reason = "the same cases once on each engine")]

use super::world::*;

type Room = super::world::Room<true>;

#[path = "accounts.rs"]
mod accounts;
#[path = "deletion.rs"]
mod deletion;
#[path = "operators.rs"]
mod operators;
#[path = "sessions.rs"]
mod sessions;
