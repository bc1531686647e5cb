//! What the services of one process stand on: where each keeps its data, and the secret.
//!
//! Files are in the data folder, which one server has at a time and which is brought to this
//! version's schema when it starts. A database is shared, so `errand migrate` does that, and here it
//! is only asked for, or waited for.

use std::{fmt, time::Duration};

use errand_chassis::secret::Secret;
use errand_storage::{Place, Postgres};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::{
    cli::{self, Failure, Kind},
    commands::migrate,
    config::Config,
    data::{Folder, Lock},
    roles::Role,
};

/// How often a database is asked whether it is ready.
const PAUSE: Duration = Duration::from_millis(250);

/// Everything that the services of this process need before they are opened.
pub(crate) struct Ground {
    places: Vec<(Role, Place)>,
    secret: Option<Secret>,
    lock: Option<Lock>,
}

impl Ground {
    /// Finds, and where it is ours makes, what these roles need.
    pub(crate) fn prepare(config: &Config, roles: &[Role]) -> Result<Self, Failure> {
        let missing = config.missing_for(roles);
        if !missing.is_empty() {
            return Err(cli::refused(&missing));
        }
        let folder = Folder::new(&config.data);
        let services: Vec<Role> = Role::SERVICES.into_iter().filter(|service| roles.contains(service)).collect();
        let files: Vec<Role> = services.iter().copied().filter(|role| config.database.of(*role).is_none()).collect();
        let (mut secret, mut lock) = (None, None);
        if !files.is_empty() || (!services.is_empty() && config.data.secret_key.is_none()) {
            folder.make()?;
            let held = folder.lock()?;
            secret = Some(folder.secret_or_new(&held)?);
            lock = Some(held);
            for (service, step) in migrate::up_files(&folder, &files)? {
                info!(%service, step = step.name, "schema step applied");
            }
        } else if !services.is_empty() {
            secret = Some(folder.secret()?);
        }
        let places = services.into_iter().map(|service| (service, place(config, service))).collect();
        Ok(Self { places, secret, lock })
    }

    /// Makes sure that every database is there and has the schema that this program knows, waiting
    /// for it when that is wanted.
    pub(crate) async fn reach(&self, wait: Option<Duration>) -> Result<(), Failure> {
        let until = wait.map(|wait| Instant::now() + wait);
        for (service, place) in &self.places {
            let (Place::Server(settings), Some(schema)) = (place, service.schema()) else { continue };
            let mut told = false;
            loop {
                let error = match Postgres::open(settings, schema).await {
                    Ok(database) => {
                        database.close().await;
                        break;
                    }
                    Err(error) => failed(*service, &error),
                };
                let again = until.is_some_and(|until| Instant::now() < until);
                if error.kind != Kind::NotReady || !again {
                    return Err(error);
                }
                if !std::mem::replace(&mut told, true) {
                    info!(%service, reason = error.message, "waiting for the database");
                }
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Where a service keeps its data, and the secret that it seals with.
    pub(crate) fn of(&self, service: Role) -> Result<(Place, Secret), Failure> {
        let place = self.places.iter().find(|(role, _)| *role == service).map(|(_, place)| place.clone());
        place.zip(self.secret.clone()).ok_or_else(|| Failure::new(Kind::Failed, format!("{service} has no ground")))
    }

    /// Whether the data folder is in use.
    pub(crate) const fn has_folder(&self) -> bool {
        self.lock.is_some()
    }
}

/// Where a service keeps its data.
pub(crate) fn place(config: &Config, service: Role) -> Place {
    match config.database.of(service) {
        Some(settings) => Place::Server(settings),
        None => Place::File(Folder::new(&config.data).database(service.as_str())),
    }
}

/// A database that does not do as it should, and whose turn it is to act.
pub(crate) fn failed(service: Role, error: &errand_storage::Error) -> Failure {
    Failure::new(kind(error), format!("the {service} database: {error}"))
}

/// Whose turn it is to act.
pub(crate) fn kind(error: &errand_storage::Error) -> Kind {
    use errand_storage::Error;
    match error {
        Error::NewerSchema { .. } | Error::ChangedMigration { .. } => Kind::Configuration,
        Error::BehindSchema { .. } | Error::Unavailable | Error::Busy | Error::Full | Error::TimedOut => Kind::NotReady,
        // Who may not come in, and a database that is not there: someone has to change a setting.
        Error::Engine(said) if said.starts_with("28") || said.starts_with("3D000") => Kind::Configuration,
        Error::OutcomeUnknown | Error::Inconsistent { .. } | Error::Constraint | Error::Engine(_) => Kind::Failed,
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("places", &self.places).finish_non_exhaustive()
    }
}
