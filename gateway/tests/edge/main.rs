//! The edge from outside: requests go in, a scripted service stands behind, answers come out.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may be blunt")]

mod aliases;
mod apart;
mod connect;
mod connect_stream;
mod cors;
mod faces;
mod fuzz;
mod headers;
mod limits;
mod overload;
mod paths;
mod rates;
mod rest;
mod tokens;
mod wire;
mod world;
