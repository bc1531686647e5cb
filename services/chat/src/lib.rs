//! The chat service: conversations with the assistant.
//!
//! [`domain`] decides, purely, what comes next in a turn; `runner` does it and stores what came of
//! it; [`model`] says what the assistant wants and `task_tools` carries that out in the user's name.
//! `app` brings what a user says to its answer; `grpc` and `convert` speak the contract. Opening a
//! store and wiring happen here and nowhere else.

pub mod domain;
pub mod model;
pub mod replay;
pub mod store;

mod app;
mod convert;
mod error;
mod grpc;
mod runner;
mod task_tools;

#[cfg(test)]
mod testing;

use std::{fmt, sync::Arc};

use errand_chassis::{
    clock::Clock, drain::Drain, page_token::PageTokens, secret::Secret, server::Routes, trace, upstream::Upstream,
};
use errand_proto::chat::chat_service_server::ChatServiceServer;
use errand_storage::{Place, Ready, Schema};

pub use error::Error;

use app::App;
use domain::rules::Rules;
use model::Model;
use runner::Runner;
use store::{Store, postgres::Postgres, sqlite::Sqlite};
use task_tools::TaskTools;

/// What the service keeps.
pub const SCHEMA: Schema = Schema {
    name: "chat",
    sqlite: store::sqlite::MIGRATIONS,
    postgres: store::postgres::MIGRATIONS,
    tables: &["heads", "conversations", "messages", "turns", "texts", "changes", "requests", "settings"],
    // Owners and how far their logs go, no content: work across owners finds them here.
    exempt: &["heads"],
};

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
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// How many turns run at once at most; further ones are refused as OVERLOADED. Default 256.
    pub turns: u32,
    /// How many tokens of the language model a user may spend on a day, in UTC. Default as many as they like.
    pub tokens_a_day: Option<u64>,
    /// What tools may do, where that is less than the policy lets them do. Default: nothing is said.
    pub rules: Rules,
}

/// Reads rules for tools, `tool=rule` with commas between.
///
/// # Errors
/// When one of them is no rule.
pub fn rules(text: &str) -> Result<Rules, domain::rules::NoRule> {
    Rules::parse(text, task_tools::classify)
}

/// The service, open.
#[derive(Debug, Clone)]
pub struct Role {
    app: App,
    runner: Runner,
    store: Arc<dyn Store>,
    ready: Ready,
}

/// Opens the service where it was migrated with [`SCHEMA`].
///
/// # Errors
/// When that is not at the schema that this program knows, or can not be opened.
pub async fn open(place: Place, dependencies: Dependencies, config: Config) -> Result<Role, Error> {
    let Dependencies { clock, secret, task, model, drain } = dependencies;
    let pages = PageTokens::new(&secret, clock.clone())?;
    let (store, ready): (Arc<dyn Store>, Ready) = match place {
        Place::File(path) => {
            let store = Sqlite::open(&path)?;
            let ready = store.ready();
            (Arc::new(store), ready)
        }
        Place::Server(settings) => {
            let store = Postgres::open(&settings, &SCHEMA).await?;
            let ready = store.ready();
            (Arc::new(store), ready)
        }
    };
    let tools = TaskTools::new(trace::calling(task));
    let Config { turns, rules, tokens_a_day: budget } = config;
    let runner = Runner::new(store.clone(), model, tools.clone(), clock.clone(), turns, rules, budget);
    let app = App::new(store.clone(), runner.clone(), tools, clock, pages, drain, budget);
    Ok(Role { app, runner, store, ready })
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

    /// Follows whether writes are taken, for health.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Parks the turns that are under way, gives their leases back and closes the store.
    pub async fn close(&self) {
        self.runner.close().await;
        self.store.close().await;
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self { turns: 256, tokens_a_day: None, rules: Rules::default() }
    }
}

// === impl Dependencies ===

impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependencies").finish_non_exhaustive()
    }
}
