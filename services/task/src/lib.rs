//! The task service: what there is to do.

pub mod domain;
pub mod store;
