//! stub
use crate::{cli::{Failure, Keys}, config::Config};
pub(crate) fn run(_config: &Config, _action: Keys) -> Result<(), Failure> { Ok(()) }
