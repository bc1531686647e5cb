//! `errand migrate`: brings each service's database to this version's schema.
//!
//! `serve` does the same when it starts on a data folder. Safe beside a running server of the same
//! version, and after a crash in the middle.

use errand_storage::{Migration, migrate};

use crate::{
    cli::{Failure, Kind, Migrate},
    config::Config,
    console,
    data::Folder,
};

/// The services with their steps, in the order in which they are brought up.
const SERVICES: [(&str, &[Migration]); 3] =
    [("auth", errand_auth::MIGRATIONS), ("task", errand_task::MIGRATIONS), ("chat", errand_chat::MIGRATIONS)];

/// Runs `errand migrate {up,status}`.
pub(crate) fn run(config: &Config, action: Migrate) -> Result<(), Failure> {
    let folder = Folder::new(&config.data);
    match action {
        Migrate::Up => {
            folder.make()?;
            for (service, step) in up(&folder)? {
                console::say(format_args!("{service}: applied {:04} {}", step.version, step.name));
            }
            console::say("every schema is up to date");
            Ok(())
        }
        Migrate::Status => status(&folder),
    }
}

/// Applies the missing steps of every service and answers them.
pub(crate) fn up(folder: &Folder) -> Result<Vec<(&'static str, &'static Migration)>, Failure> {
    let mut applied = Vec::new();
    for (service, migrations) in SERVICES {
        let path = folder.private_database(service)?;
        let versions = migrate::up(&path, migrations).map_err(|error| failed(service, &error))?;
        let steps = migrations.iter().filter(|step| versions.contains(&step.version));
        applied.extend(steps.map(|step| (service, step)));
    }
    Ok(applied)
}

fn status(folder: &Folder) -> Result<(), Failure> {
    let mut missing = 0;
    for (service, migrations) in SERVICES {
        let steps = migrate::status(&folder.database(service), migrations).map_err(|error| failed(service, &error))?;
        for step in steps {
            let state = if step.applied { "applied" } else { "missing" };
            missing += usize::from(!step.applied);
            console::say(format_args!("{service}  {:04}  {state}  {}", step.version, step.name));
        }
    }
    match missing {
        0 => Ok(()),
        _ => Err(Failure::new(Kind::NotReady, "there are missing steps: run `errand migrate`")),
    }
}

fn failed(service: &str, error: &errand_storage::Error) -> Failure {
    let kind = match error {
        errand_storage::Error::Busy | errand_storage::Error::Full => Kind::NotReady,
        _ => Kind::Failed,
    };
    Failure::new(kind, format!("the {service} database: {error}"))
}
