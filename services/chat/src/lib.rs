//! The chat service: conversations with the assistant.
//!
//! [`domain`] decides, purely, what comes next in a turn; `runner` does it and stores what came of
//! it; [`model`] says what the assistant wants and `task_tools` carries that out in the user's name.
//! `app` brings what a user says to its answer; `grpc` and `convert` speak the contract. Opening a
//! store and wiring happen here and nowhere else.

pub mod domain;
pub mod model;
pub mod store;

mod app;
mod convert;
mod error;
mod grpc;
mod runner;
mod task_tools;

#[cfg(test)]
mod testing;

use std::{fmt, path::Path, sync::Arc};

use errand_chassis::{
    clock::Clock, drain::Drain, page_token::PageTokens, secret::Secret, server::Routes, upstream::Upstream,
};
use errand_proto::chat::chat_service_server::ChatServiceServer;

pub use error::Error;
pub use store::sqlite::MIGRATIONS;

use app::App;
use model::Model;
use runner::Runner;
use store::{Store, sqlite::Sqlite};
use task_tools::TaskTools;

/// What the service is given.
#[derive(Clone)]
pub struct Dependencies {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// The role's secret, from which the key of page tokens comes.
    pub secret: Secret,
    /// The task service, called in the user's name.
    pub task: Upstream,
    /// What the assistant thinks with; [`model::planner::Planner`] unless told otherwise.
    pub model: Arc<dyn Model>,
    /// Says when streams hand over and loops stop.
    pub drain: Drain,
}

/// What can be set.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Config {
    /// How many turns run at once at most; further ones are refused as OVERLOADED. Default 256.
    pub turns: u32,
}

/// The service, open.
#[derive(Debug, Clone)]
pub struct Role {
    app: App,
    runner: Runner,
    store: Arc<dyn Store>,
    disk: errand_storage::Disk,
}

/// Opens the service on a SQLite file that was migrated with [`MIGRATIONS`].
///
/// # Errors
/// When the file is not at the schema that this program knows, or can not be opened.
pub fn open(path: &Path, dependencies: Dependencies, config: Config) -> Result<Role, Error> {
    let Dependencies { clock, secret, task, model, drain } = dependencies;
    let pages = PageTokens::new(&secret, clock.clone())?;
    let store = Sqlite::open(path)?;
    let disk = store.disk();
    let store: Arc<dyn Store> = Arc::new(store);
    let runner = Runner::new(store.clone(), model, TaskTools::new(task), clock.clone(), config.turns);
    let app = App::new(store.clone(), runner.clone(), clock, pages, drain);
    Ok(Role { app, runner, store, disk })
}

// === impl Role ===

impl Role {
    /// The services to serve.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new().add(ChatServiceServer::new(grpc::Service(self.app.clone())))
    }

    /// Lets go of what is too old, now and then, until the drain begins. To be spawned.
    pub async fn keep_house(self) {
        self.app.keep_house().await;
    }

    /// Follows whether writes find room on the disk, for health.
    #[must_use]
    pub fn disk(&self) -> errand_storage::Disk {
        self.disk.clone()
    }

    /// Parks the turns that are under way and closes the file.
    pub async fn close(&self) {
        self.runner.close().await;
        self.store.close().await;
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self { turns: 256 }
    }
}

// === impl Dependencies ===

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependencies").finish_non_exhaustive()
    }
}
