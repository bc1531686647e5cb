//! Every case on a SQLite file.

use super::world::*;

type Room = super::world::Room<false>;

#[path = "accounts.rs"]
mod accounts;
#[path = "deletion.rs"]
mod deletion;
#[path = "operators.rs"]
mod operators;
#[path = "sessions.rs"]
mod sessions;
