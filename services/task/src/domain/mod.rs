//! What a task is and what may be done to it: pure, synchronous, without time or ids of its own.

pub mod filter;
pub mod task;
pub mod undo;
pub mod write;
