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
    let (folder, target) = places(copying)?;
    let data = Data { dir: folder.clone(), secret_key: config.data.secret_key.clone() };
    if !folder.is_dir() {
        return Err(Failure::new(Kind::Usage, format!("there is no folder {}", folder.display())));
    }
    let held = Folder::new(&data);
    let _lock = held.lock()?;
    for service in Role::SERVICES {
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

fn places(copying: &Copying) -> Result<(PathBuf, Settings), Failure> {
    let usage = |message: &str| Failure::new(Kind::Usage, message);
    let folder = copying.from.strip_prefix("sqlite:").filter(|folder| !folder.is_empty());
    let folder = folder.ok_or_else(|| usage("--from must be sqlite:/folder: other ways are not built"))?;
    let is_server = ["postgres://", "postgresql://"].iter().any(|scheme| copying.to.starts_with(scheme));
    if !is_server {
        return Err(usage("--to must be a URL such as postgres://errand_migrate:password@host:5432/errand"));
    }
    Ok((PathBuf::from(folder), Settings::new(copying.to.clone().into())))
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
        let copying = |from: &str, to: &str| Copying { from: from.to_owned(), to: to.to_owned() };
        let (folder, _) = places(&copying("sqlite:/data", "postgres://errand_migrate@db/errand")).unwrap();
        assert_eq!(folder, PathBuf::from("/data"));
        for (from, to) in
            [("/data", "postgres://db/errand"), ("sqlite:", "postgres://db/errand"), ("sqlite:/data", "sqlite:/x")]
        {
            assert_eq!(places(&copying(from, to)).unwrap_err().kind, Kind::Usage, "{from} {to}");
        }
    }
}
