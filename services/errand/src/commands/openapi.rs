//! `errand openapi`: the document that a running server shows at `/openapi.json`.

use crate::{cli::Failure, console};

/// Prints it.
pub(crate) fn run() -> Result<(), Failure> {
    console::say(format_args!("{:#}", errand_gateway::openapi()));
    Ok(())
}
