//! How a call arrives and leaves: everything that is the same for every role.
//!
//! A role's stack, in order: [`protocol`] (what a legal request is), [`deadline`], [`admission`] (is
//! there room), [`token`] and [`access`] (who is calling, and may they), then the generated service,
//! whose codec checks the rules of the contract. Errors are made with [`error`] and completed on the way out. There is no
//! database here and no noun of a service.
//!
//! A [`server`] feeds a stack from a [`listener`], with [`tls`] or without. A caller has an
//! [`upstream`], which is a stack of this process or a peer at its [`target`]; what a caller gets in
//! either case is an answer. Only two things differ for a peer: the keys that tokens are verified with
//! are fetched ([`jwks`]), and the client's [`address`] travels in a header.

pub mod access;
pub mod address;
pub mod admission;
mod chance;
pub mod clock;
pub mod deadline;
pub mod drain;
pub mod error;
mod gather;
pub mod health;
pub mod jwks;
pub mod listener;
pub mod page_token;
pub mod protocol;
pub mod replay;
pub mod request_id;
pub mod secret;
pub mod server;
pub mod target;
pub mod tls;
pub mod token;
pub mod trace;
pub mod upstream;

pub use error::Error;
