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

use std::sync::Arc;

use errand_chassis::{clock::Clock, drain::Drain, page_token::PageTokens, secret::Secret, server::Routes};
use errand_proto::task::task_service_server::TaskServiceServer;
use errand_storage::{Place, Ready, Schema};

pub use error::Error;

use app::App;
use store::{Store, postgres::Postgres, sqlite::Sqlite};

/// What the service keeps.
pub const SCHEMA: Schema = Schema {
    name: "task",
    sqlite: store::sqlite::MIGRATIONS,
    postgres: store::postgres::MIGRATIONS,
    tables: &["log", "heads", "tasks", "labels", "changes", "requests"],
    // No content: `heads` says how far each owner's log goes, so that housekeeping finds the owners and
    // replicas find what is new; `log` is one row for all.
    exempt: &["heads", "log"],
};

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
    ready: Ready,
    server: Option<Postgres>,
}

/// Opens the service where it was migrated with [`SCHEMA`].
pub async fn open(place: Place, dependencies: Dependencies, _config: Config) -> Result<Role, Error> {
    let Dependencies { clock, secret, drain } = dependencies;
    let pages = PageTokens::new(&secret, clock.clone())?;
    let (store, ready, server): (Arc<dyn Store>, _, _) = match place {
        Place::File(path) => {
            let store = Sqlite::open(&path)?;
            let ready = store.ready();
            (Arc::new(store), ready, None)
        }
        Place::Server(settings) => {
            let store = Postgres::open(&settings, &SCHEMA).await?;
            let ready = store.ready();
            (Arc::new(store.clone()), ready, Some(store))
        }
    };
    let app = App::new(store, clock, pages, drain, convert::changes::change_event);
    Ok(Role { app: Arc::new(app), ready, server })
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

    /// Follows whether writes are taken, for health.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// How many statements were sent to a server so far; none to a file.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.server.as_ref().map_or(0, Postgres::statements)
    }

    /// Finishes what is under way and closes the store.
    pub async fn close(&self) {
        self.app.close().await;
    }
}
