//! `errand doctor`: looks whether what the services stand on is as it should be.

use crate::{
    cli::{Failure, Kind},
    config::Config,
};

/// Runs `errand doctor`.
pub(crate) fn run(_config: &Config) -> Result<(), Failure> {
    Err(Failure::new(Kind::Usage, "this version can not do that"))
}
