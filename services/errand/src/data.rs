//! The data folder: mode 0700, one server at a time, and the secret that everything is sealed with.
//!
//! Services know only the path of their own file. Reading and writing rows is not done here.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use errand_chassis::secret::Secret;
use secrecy::ExposeSecret;

use crate::{
    cli::{Failure, Kind},
    config::Data,
};

/// The folder of a laptop's whole suite.
#[derive(Debug)]
pub(crate) struct Folder<'a> {
    path: &'a Path,
    settings: &'a Data,
}

/// Held while a server runs; given back by the system when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

const LOCK: &str = "errand.lock";
const SECRET: &str = "secret.key";

// === impl Folder ===

impl<'a> Folder<'a> {
    /// The folder that the settings name. It may not exist yet.
    pub(crate) fn new(settings: &'a Data) -> Self {
        Self { path: &settings.dir, settings }
    }

    /// The database file of a service.
    pub(crate) fn database(&self, service: &str) -> PathBuf {
        self.path.join(format!("{service}.db"))
    }

    /// The same, made first when there is none, so that nobody else may read it even where the
    /// folder was there before and is open. SQLite makes its side files alike.
    pub(crate) fn private_database(&self, service: &str) -> Result<PathBuf, Failure> {
        self.is_named()?;
        let path = self.database(service);
        private().truncate(false).open(&path).map_err(|error| self.fault("make a database in", &error))?;
        Ok(path)
    }

    /// Makes the folder when there is none, readable by nobody else.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        self.is_named()?;
        DirBuilder::new().recursive(true).mode(0o700).create(self.path).map_err(|error| self.fault("make", &error))
    }

    /// Keeps every other server out of the folder.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let path = self.path.join(LOCK);
        let file = private().truncate(false).open(path).map_err(|error| self.fault("lock", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Kind::NotReady,
                format!(
                    "the data folder {} is in use by another errand: stop that one, or give this one its own with --data-dir",
                    self.path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(self.fault("lock", &error)),
        }
    }

    /// The secret from the settings or from the folder, where one is made at the first start. Only
    /// who holds the lock may make one.
    pub(crate) fn secret_or_new(&self, _lock: &Lock) -> Result<Secret, Failure> {
        let path = self.path.join(SECRET);
        if self.settings.secret_key.is_none() && !path.exists() {
            write_secret(&path).map_err(|error| self.fault("write the secret in", &error))?;
        }
        self.secret()
    }

    /// The secret from the settings or from the folder.
    pub(crate) fn secret(&self) -> Result<Secret, Failure> {
        let text = match &self.settings.secret_key {
            Some(key) => key.expose_secret().to_owned(),
            None => self.stored_secret()?,
        };
        Secret::new(text.trim_end().as_bytes()).map_err(|error| {
            Failure::new(Kind::Configuration, format!("{}: {error}", self.path.join(SECRET).display()))
        })
    }

    /// Without a home there is no folder unless somebody names one.
    fn is_named(&self) -> Result<(), Failure> {
        if self.path.as_os_str().is_empty() {
            let message = "there is no HOME to keep the data in: say --data-dir (ERRAND_DATA_DIR)";
            return Err(Failure::new(Kind::Configuration, message));
        }
        Ok(())
    }

    fn stored_secret(&self) -> Result<String, Failure> {
        self.is_named()?;
        let path = self.path.join(SECRET);
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new(
                Kind::NotReady,
                format!("there is no data in {} yet: start `errand` once", self.path.display()),
            ),
            _ => self.fault("read the secret in", &error),
        })?;
        let read = |file: &mut File| -> io::Result<String> {
            let mode = file.metadata()?.permissions().mode();
            if mode & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "others could read the secret: taking that right away");
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        };
        read(&mut file).map_err(|error| self.fault("read the secret in", &error))
    }

    fn fault(&self, verb: &str, error: &io::Error) -> Failure {
        Failure::new(Kind::Failed, format!("can not {verb} {}: {error}", self.path.display()))
    }
}

/// Opens for writing what nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Writes a new secret so that a crash leaves the whole of it or nothing.
fn write_secret(path: &Path) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private().truncate(true).open(&draft)?;
    writeln!(file, "{}", random_hex()?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// 32 random bytes in hexadecimal.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn settings(dir: PathBuf) -> Data {
        Data { dir, secret_key: None }
    }

    #[test]
    fn the_folder_and_its_secret_are_for_the_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let settings = settings(parent.path().join("a/b"));
        let folder = Folder::new(&settings);
        folder.make().unwrap();
        let lock = folder.lock().unwrap();
        let secret = folder.secret_or_new(&lock).unwrap();
        assert_eq!(mode(&folder.private_database("x").unwrap()), 0o600);
        assert_eq!(mode(folder.path), 0o700);
        assert_eq!(mode(&folder.path.join(SECRET)), 0o600);
        assert_eq!(fs::read_to_string(folder.path.join(SECRET)).unwrap().trim_end().len(), 64);
        assert_eq!(folder.secret().unwrap().derive("x"), secret.derive("x"));
    }

    #[test]
    fn a_secret_that_others_could_read_is_closed_to_them() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(SECRET);
        fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Folder::new(&settings(parent.path().to_owned())).secret().unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_second_server_is_told_that_the_folder_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        let settings = settings(parent.path().to_owned());
        let folder = Folder::new(&settings);
        let first = folder.lock().unwrap();
        assert_eq!(folder.lock().unwrap_err().kind, Kind::NotReady);
        drop(first);
        folder.lock().unwrap();
    }

    #[test]
    fn a_folder_that_nobody_named_is_not_made() {
        let settings = settings(PathBuf::new());
        let folder = Folder::new(&settings);
        assert_eq!(folder.make().unwrap_err().kind, Kind::Configuration);
        assert!(folder.secret().unwrap_err().message.contains("--data-dir"));
    }

    #[test]
    fn a_folder_without_a_secret_is_not_ready() {
        let parent = tempfile::tempdir().unwrap();
        let settings = settings(parent.path().to_owned());
        assert_eq!(Folder::new(&settings).secret().unwrap_err().kind, Kind::NotReady);
    }
}
