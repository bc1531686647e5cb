//! `[database]`: PostgreSQL, for all services or for one. Without a URL services keep files.

use std::time::Duration;

use errand_storage::postgres;
use secrecy::{ExposeSecret, SecretString};

use super::{setting, source::Sources};
use crate::roles::Role;

/// Where services keep their data when it is not in files.
#[derive(Debug)]
pub(crate) struct Database {
    /// `ERRAND_DATABASE_URL`, for every service that has none of its own.
    general: Urls,
    /// `ERRAND_AUTH_DATABASE_URL`, and so on.
    own: [(Role, Urls); 3],
    /// `ERRAND_DATABASE_POOLER`, default false. Whether the URL is a pooler such as pgbouncer in transaction mode.
    pooler: bool,
    /// `ERRAND_DATABASE_CONNECTIONS`, default 10, for each service.
    connections: u32,
    /// `ERRAND_DATABASE_ACQUIRE_TIMEOUT`, default 3s. How long a call waits for a connection.
    acquire_timeout: Duration,
    /// `ERRAND_WAIT_FOR_MIGRATIONS`, default not at all. How long `serve` waits for the database and its schema.
    pub(crate) wait: Option<Duration>,
}

/// The same database twice: perhaps through a pooler, and past it.
#[derive(Debug, Default)]
struct Urls {
    url: Option<SecretString>,
    direct_url: Option<SecretString>,
}

impl Database {
    pub(super) fn read(sources: &mut Sources) -> Self {
        let default = postgres::Settings::new(SecretString::default());
        let general = Urls::read(sources, ("url", "ERRAND_DATABASE_URL"), ("direct_url", "ERRAND_DATABASE_DIRECT_URL"));
        Self {
            general,
            own: [
                (
                    Role::Auth,
                    Urls::read(
                        sources,
                        ("auth_url", "ERRAND_AUTH_DATABASE_URL"),
                        ("auth_direct_url", "ERRAND_AUTH_DATABASE_DIRECT_URL"),
                    ),
                ),
                (
                    Role::Task,
                    Urls::read(
                        sources,
                        ("task_url", "ERRAND_TASK_DATABASE_URL"),
                        ("task_direct_url", "ERRAND_TASK_DATABASE_DIRECT_URL"),
                    ),
                ),
                (
                    Role::Chat,
                    Urls::read(
                        sources,
                        ("chat_url", "ERRAND_CHAT_DATABASE_URL"),
                        ("chat_direct_url", "ERRAND_CHAT_DATABASE_DIRECT_URL"),
                    ),
                ),
            ],
            pooler: sources.value(setting("database", "pooler", "ERRAND_DATABASE_POOLER"), false),
            connections: sources
                .value(setting("database", "connections", "ERRAND_DATABASE_CONNECTIONS"), default.connections),
            acquire_timeout: sources.value(
                setting("database", "acquire_timeout", "ERRAND_DATABASE_ACQUIRE_TIMEOUT"),
                default.acquire_timeout,
            ),
            wait: sources.optional(setting("database", "wait_for_migrations", "ERRAND_WAIT_FOR_MIGRATIONS")),
        }
    }

    /// The database of a service; nothing when it keeps a file.
    pub(crate) fn of(&self, service: Role) -> Option<postgres::Settings> {
        let own = self.own.iter().find(|(role, urls)| *role == service && urls.url.is_some());
        // A way past the pooler belongs to the URL that it stands beside.
        let urls = own.map_or(&self.general, |(_, urls)| urls);
        let mut settings = postgres::Settings::new(urls.url.clone()?);
        settings.direct_url.clone_from(&urls.direct_url);
        settings.pooler = self.pooler;
        settings.connections = self.connections;
        settings.acquire_timeout = self.acquire_timeout;
        Some(settings)
    }
}

impl Urls {
    fn read(
        sources: &mut Sources,
        (key, variable): (&'static str, &'static str),
        (direct_key, direct_variable): (&'static str, &'static str),
    ) -> Self {
        let mut url = |key, variable: &'static str| {
            let url = sources.secret(setting("database", key, variable))?;
            let is_postgres =
                ["postgres://", "postgresql://"].iter().any(|start| url.expose_secret().starts_with(start));
            if !is_postgres {
                // Not quoted: it holds a password.
                sources.fault(format!("{variable}: must be a URL such as postgres://user:password@host:5432/errand"));
            }
            Some(url)
        };
        let urls = Self { url: url(key, variable), direct_url: url(direct_key, direct_variable) };
        if urls.url.is_none() && urls.direct_url.is_some() {
            sources.fault(format!("{direct_variable}: is of use only beside {variable}"));
        }
        urls
    }
}
