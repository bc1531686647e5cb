//! The rules of conversations and turns, pure: no clock, no storage, no network.

pub mod approval;
pub mod conversation;
pub mod fault;
pub mod policy;
pub mod rules;
pub mod title;
pub mod tool;
pub mod turn;
pub mod undo;
pub mod usage;
