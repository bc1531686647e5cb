//! stub
use errand_chassis::{health::Health, secret::Secret, upstream::Upstream};
use crate::{cli::Failure, config::Config, data::Folder};
pub(crate) struct Suite { health: Health, edge: Upstream }
impl Suite {
    pub(crate) fn open(_config: &Config, _folder: &Folder<'_>, _secret: &Secret) -> Result<Self, Failure> { Err(Failure::new(crate::cli::Kind::Failed, "stub")) }
    pub(crate) fn edge(&self) -> Upstream { self.edge.clone() }
    pub(crate) fn health(&self) -> &Health { &self.health }
    pub(crate) async fn close(self) {}
}
