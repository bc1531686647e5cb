//! The task service: what there is to do.
//!
//! [`domain`] decides, purely; `app` reads, asks it and writes through the one door of [`store`];
//! `grpc` and `convert` speak the contract. Opening a store and wiring happen here and nowhere else.

pub mod domain;
pub mod store;

mod app;
mod convert;
mod error;
mod grpc;

use std::{path::Path, sync::Arc};

use errand_chassis::{clock::Clock, drain::Drain, page_token::PageTokens, secret::Secret, server::Routes};
use errand_proto::task::task_service_server::TaskServiceServer;
use errand_storage::Disk;

pub use error::Error;
pub use store::sqlite::MIGRATIONS;

use app::App;
use store::sqlite::Sqlite;

/// What the service is given.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Time and ids.
    pub clock: Arc<dyn Clock>,
    /// The role's secret, from which the key of page tokens comes.
    pub secret: Secret,
    /// Says when streams hand over and loops stop.
    pub drain: Drain,
}

/// What can be set; nothing so far.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Config {}

/// The service, open.
#[derive(Debug, Clone)]
pub struct Role {
    app: Arc<App>,
    disk: Disk,
}

/// Opens the service on a SQLite file that was migrated with [`MIGRATIONS`].
pub fn open(path: &Path, dependencies: Dependencies, _config: Config) -> Result<Role, Error> {
    let Dependencies { clock, secret, drain } = dependencies;
    let pages = PageTokens::new(&secret, clock.clone())?;
    let store = Sqlite::open(path)?;
    let disk = store.disk();
    let app = App::new(Arc::new(store), clock, pages, drain, convert::changes::change_event);
    Ok(Role { app: Arc::new(app), disk })
}

impl Role {
    /// The services to serve.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new().add(grpc::Shared(TaskServiceServer::new(grpc::Service(self.app.clone()))))
    }

    /// Lets go of what is too old, now and then, until the drain begins. To be spawned.
    pub async fn keep_house(self) {
        self.app.keep_house().await;
    }

    /// One run of that.
    pub async fn tidy(&self) -> Result<(), Error> {
        self.app.tidy_now().await
    }

    /// Follows whether writes find room on the disk, for health.
    #[must_use]
    pub fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.app.close().await;
    }
}
