//! Accounts, sessions and the keys that prove who is calling.
//!
//! [`domain`] has the rules, [`app`] decides, [`store`] keeps, [`grpc`] speaks; [`passwords`] hashes,
//! [`keys`] signs and [`peers`] calls the other services. This file wires them into a [`Role`]. What a caller may do is not decided
//! here but in the contract, and checked before a call arrives.

pub mod app;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod keys;
pub mod passwords;
pub mod peers;
pub mod store;

use std::sync::Arc;

use errand_chassis::{
    clock::Clock, jwks::KeySet, page_token::PageTokens, secret::Secret, server::Routes, trace, upstream::Upstream,
};
use errand_proto::auth::auth_service_server::AuthServiceServer;
use errand_storage::{Place, Ready, Schema};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::AbortHandle};

use app::{App, Decoys, Throttles};
use grpc::Grpc;
use keys::{Keys, refresh::RefreshKey};
use passwords::Passwords;
use peers::Peers;
use store::{Store, postgres::Postgres, sqlite::Sqlite};

/// The schema of the SQLite file, step by step.
pub const MIGRATIONS: &[errand_storage::Migration] = SCHEMA.sqlite;

/// What the role keeps.
pub const SCHEMA: Schema = Schema {
    name: "auth",
    sqlite: store::sqlite::MIGRATIONS,
    postgres: store::postgres::MIGRATIONS,
    tables: &[
        "users",
        "emails",
        "sessions",
        "session_owners",
        "signing_keys",
        "heads",
        "changes",
        "requests",
        "erasures",
    ],
    exempt: &[
        // How an owner is found: by an address, by the id in a refresh token.
        "emails",
        "session_owners",
        // Belong to nobody.
        "signing_keys",
        // Outlives its owner, and is worked through for all owners.
        "erasures",
        // Numbers only; locked before the owner's rows are looked at.
        "heads",
    ],
};

/// What the role needs from outside.
pub struct Dependencies {
    /// The time, and ids.
    pub clock: Arc<dyn Clock>,
    /// The role's secret.
    pub secret: Secret,
    /// Where the public keys are published.
    pub keys: KeySet,
    /// The services that erase what they hold of a user whose account is closed, by their full names.
    pub erase: Vec<(&'static str, Upstream)>,
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory of one password hash, in KiB; 19456 unless set, and never less.
    pub password_memory_kib: u32,
    /// Passes of one password hash; 2 unless set, and never fewer.
    pub password_passes: u32,
    /// Threads that hash, one hash at a time each; 0, unless set, is one for each core.
    pub password_threads: usize,
    /// Hashes that may wait; 256 unless set.
    pub password_queue: usize,
    /// Sign-ups a minute for one e-mail address; 5 unless set.
    pub sign_ups_per_email: u32,
    /// Sign-ups a minute from one network address; 20 unless set.
    pub sign_ups_per_address: u32,
}

/// Why the role can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database does not open, or has another schema.
    #[error(transparent)]
    Storage(#[from] errand_storage::Error),
    /// The signing keys do not open.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The hashing threads do not start.
    #[error(transparent)]
    Passwords(#[from] passwords::Error),
    /// The page key is refused.
    #[error(transparent)]
    Pages(#[from] errand_chassis::Error),
}

/// The role, open.
#[derive(Debug)]
pub struct Role {
    app: Arc<App>,
    ready: Ready,
    housekeeping: AbortHandle,
}

/// Opens the role on a database that has been migrated. Makes the first signing key, publishes the
/// keys before it returns, and goes on with what was left to erase.
///
/// # Errors
/// When the database, its schema or the secret are not the right ones.
pub async fn open(place: Place, dependencies: Dependencies, config: Config) -> Result<Role, Error> {
    let (store, ready) = open_store(place).await?;
    let app = build(store, dependencies, config).await?;
    let housekeeping = tokio::spawn(app.clone().keep_house()).abort_handle();
    Ok(Role { app, ready, housekeeping })
}

async fn open_store(place: Place) -> Result<(Arc<dyn Store>, Ready), Error> {
    Ok(match place {
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
    })
}

/// The service, awake but without its housekeeping.
async fn build(store: Arc<dyn Store>, dependencies: Dependencies, config: Config) -> Result<Arc<App>, Error> {
    let Dependencies { clock, secret, keys: published, erase } = dependencies;
    let keys = Keys::read(store.clone(), &secret, clock.clone(), published).await?;
    keys.ensure().await?;
    let decoys = Decoys::new(&secret);
    decoys.learn(store.as_ref()).await?;
    Ok(Arc::new(App {
        store,
        passwords: Passwords::new(config.hashing())?,
        decoys,
        keys,
        refresh: RefreshKey::new(&secret),
        pages: PageTokens::new(&secret, clock.clone())?,
        throttles: Throttles::new(config.sign_ups_per_email, config.sign_ups_per_address),
        peers: Peers::new(erase.into_iter().map(|(service, peer)| (service, trace::calling(peer))).collect()),
        closed: Notify::new(),
        clock,
    }))
}

/// The signing keys in a database, whether a role runs on it or not.
///
/// # Errors
/// When the database, its schema or the secret are not the right ones.
pub async fn list_keys(place: Place, secret: &Secret, clock: Arc<dyn Clock>) -> Result<Vec<keys::Listed>, Error> {
    let (store, _) = open_store(place).await?;
    let keys = Keys::read(store.clone(), secret, clock, KeySet::empty()).await?.list();
    store.close().await;
    Ok(keys)
}

/// Makes a new signing key in a database; answers its name. Roles that run on it publish it within a
/// minute, others from their next start on, and it signs ten minutes from now.
///
/// # Errors
/// When the database, its schema or the secret are not the right ones.
pub async fn rotate_keys(place: Place, secret: &Secret, clock: Arc<dyn Clock>) -> Result<String, Error> {
    let (store, _) = open_store(place).await?;
    let keys = Keys::read(store.clone(), secret, clock, KeySet::empty()).await?;
    let kid = keys.rotate().await?;
    store.close().await;
    Ok(kid)
}

/// The hands of an operator on a database, whether a role runs on it or not.
///
/// # Errors
/// When the database or its schema are not the right ones.
pub async fn operators(place: Place, clock: Arc<dyn Clock>, config: Config) -> Result<app::Operators, Error> {
    let (store, _) = open_store(place).await?;
    Ok(app::Operators::new(store, clock, Passwords::new(config.hashing())?))
}

// === impl Role ===

impl Role {
    /// The role's services.
    #[must_use]
    pub fn routes(&self) -> Routes {
        Routes::new().add(AuthServiceServer::new(Grpc::new(self.app.clone())))
    }

    /// The service itself, for who wants to look inside.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Follows whether the database takes writes, for health.
    #[must_use]
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// Takes no more calls, finishes writes that wait and closes the database.
    pub async fn close(&self) {
        self.housekeeping.abort();
        self.app.passwords.close();
        self.app.store.close().await;
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.housekeeping.abort();
    }
}

// === impl Config ===

impl Config {
    fn hashing(&self) -> passwords::Settings {
        let defaults = passwords::Settings::default();
        passwords::Settings {
            memory: self.password_memory_kib,
            passes: self.password_passes,
            threads: if self.password_threads == 0 { defaults.threads } else { self.password_threads },
            queue: self.password_queue,
            idle: defaults.idle,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            password_memory_kib: passwords::LEAST_MEMORY,
            password_passes: passwords::FEWEST_PASSES,
            password_threads: 0,
            password_queue: 256,
            sign_ups_per_email: 5,
            sign_ups_per_address: 20,
        }
    }
}
