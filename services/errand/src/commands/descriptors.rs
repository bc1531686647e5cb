//! `errand descriptors`: the descriptor set of the contracts, as Envoy and other programs read it from a file.

use crate::{cli::Failure, console};

/// Prints it.
pub(crate) fn run() -> Result<(), Failure> {
    console::emit(errand_proto::DESCRIPTORS);
    Ok(())
}
