//! `errand copy`: moves everything from the files of a data folder to PostgreSQL.
//!
//! No server may run on the folder meanwhile. Run again after an interruption, it goes on where it was.

use std::path::{Path, PathBuf};

use errand_storage::{
    copy::{Error, copy},
    postgres::Settings,
};

use super::remote::block_on;
use crate::{
    cli::{Copying, Failure, Kind},
    config::{Config, Data},
    console,
    data::Folder,
    ground,
    roles::Role,
};

/// How many owners there are between two lines that say how far it got.
const TELL_EVERY: u64 = 1000;

/// Runs `errand copy`.
pub(crate) fn run(config: &Config, copying: &Copying) -> Result<(), Failure> {
    let folder = source(copying)?;
    let targets = targets(config, copying)?;
    let data = Data { dir: folder.clone(), secret_key: config.data.secret_key.clone() };
    if !folder.is_dir() {
        return Err(Failure::new(Kind::Usage, format!("there is no folder {}", folder.display())));
    }
    let held = Folder::new(&data);
    let _lock = held.lock()?;
    for (service, target) in targets {
        let Some(schema) = service.schema() else { continue };
        let tell = |done: u64, all: u64| {
            if done.is_multiple_of(TELL_EVERY) {
                console::say(format_args!("{service}: {done} of {all} owners"));
            }
        };
        let moved = block_on(async {
            copy(&held.database(service.as_str()), &target, schema, tell).await.map_err(|error| failed(service, &error))
        })?;
        let before = match moved.before {
            0 => String::new(),
            before => format!(", {before} of them by an earlier run"),
        };
        console::say(format_args!("{service}: {} owners with {} rows{before}", moved.owners, moved.rows));
    }
    console::say(format_args!(
        "done; serve it with the secret of the folder: ERRAND_SECRET_KEY_FILE={}",
        secret(&folder)
    ));
    Ok(())
}

fn source(copying: &Copying) -> Result<PathBuf, Failure> {
    let folder = copying.from.strip_prefix("sqlite:").filter(|folder| !folder.is_empty());
    let folder = folder.ok_or_else(|| usage("--from must be sqlite:/folder: other ways are not built"))?;
    Ok(PathBuf::from(folder))
}

/// Where each service's data goes: all of it to the one place that is named, or to the databases that are set.
fn targets(config: &Config, copying: &Copying) -> Result<Vec<(Role, Settings)>, Failure> {
    let named = copying.to.as_deref().map(server).transpose()?;
    let target = |service: Role| {
        let target = named.clone().or_else(|| config.database.of(service));
        let missing = || usage(&format!("say --to, or set ERRAND_DATABASE_URL: {service} has no database to copy to"));
        Ok((service, target.ok_or_else(missing)?))
    };
    Role::SERVICES.into_iter().map(target).collect()
}

fn server(url: &str) -> Result<Settings, Failure> {
    let is_server = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_server {
        return Err(usage("--to must be a URL such as postgres://errand_migrate:password@host:5432/errand"));
    }
    Ok(Settings::new(url.to_owned().into()))
}

fn usage(message: &str) -> Failure {
    Failure::new(Kind::Usage, message)
}

fn secret(folder: &Path) -> String {
    folder.join("secret.key").display().to_string()
}

fn failed(service: Role, error: &Error) -> Failure {
    let kind = match error {
        Error::Storage(error) => ground::kind(error),
        Error::Running => Kind::NotReady,
        Error::NotEmpty { .. } | Error::NoPlace(_) | Error::Differs { .. } | Error::Value { .. } => Kind::Failed,
    };
    Failure::new(kind, format!("{service}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_a_folder_and_a_server() {
        let from = |from: &str| source(&Copying { from: from.to_owned(), to: None });
        assert_eq!(from("sqlite:/data").unwrap(), PathBuf::from("/data"));
        for wrong in ["/data", "sqlite:", "postgres://db/errand"] {
            assert_eq!(from(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
        assert!(server("postgres://errand_migrate@db/errand").is_ok());
        assert_eq!(server("sqlite:/x").unwrap_err().kind, Kind::Usage);
    }
}
