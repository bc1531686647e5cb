//! What `errand` can be told to do, one file a command.

pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod descriptors;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod keys;
pub(crate) mod llm;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod replay;
pub(crate) mod seed;
pub(crate) mod serve;
pub(crate) mod users;
pub(crate) mod version;

mod remote;
