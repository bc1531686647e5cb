//! The ways in which a call may arrive: one module each, and none knows another.

pub(crate) mod aliases;
pub(crate) mod connect;
pub(crate) mod grpc;
pub(crate) mod grpc_web;
pub(crate) mod health;
pub(crate) mod idempotency;
pub(crate) mod openapi;
pub(crate) mod rest;
