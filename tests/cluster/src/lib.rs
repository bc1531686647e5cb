//! A private PostgreSQL for tests.
//!
//! [`Cluster`] is made in a temporary folder, listens on a Unix socket there and on a free port of
//! the loopback address, and is gone when the process that made it is gone, however that ends: a
//! guardian process waits for the end of a pipe that only the maker holds. PostgreSQL refuses to run
//! as root, so a test run of root starts it as `nobody`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that has no server must end")]

mod process;
mod program;

use std::{
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

pub use process::{give_away, unprivileged};
pub use program::{bouncer, program};

/// A PostgreSQL server of this process alone.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Roles belong to the whole server: one script at a time.
    making: Mutex<()>,
    postmaster: Mutex<Child>,
    durable: bool,
    // Last: what it waits for is the end of everything above.
    guardian: Mutex<Child>,
}

/// A database of its own, with Errand's roles and schemas.
#[derive(Debug, Clone)]
pub struct Database {
    name: String,
    folder: PathBuf,
    port: u16,
}

// === impl Cluster ===

impl Cluster {
    /// The server that all tests of this process share; it keeps nothing durable, for speed. `None`, said on
    /// stderr, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed although `CI` is set, and when it does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::make(false)).as_ref()
    }

    /// A server of its own, durable as in production, for tests that kill it. `None` as for [`Cluster::shared`].
    ///
    /// # Panics
    /// As [`Cluster::shared`].
    pub fn start() -> Option<Self> {
        Self::make(true)
    }

    fn make(durable: bool) -> Option<Self> {
        if !program::installed() {
            return None;
        }
        let made = TempDir::with_prefix_in("errand-pg-", "/tmp").expect("a folder for PostgreSQL can be made");
        let folder = made.keep();
        process::give_away(&folder);
        process::initdb(&folder, durable);
        let guardian = process::guard(&folder);
        let (postmaster, port) = process::first_start(&folder, durable);
        let cluster = Self {
            folder,
            port,
            databases: AtomicU32::new(0),
            making: Mutex::default(),
            postmaster: Mutex::new(postmaster),
            durable,
            guardian: Mutex::new(guardian),
        };
        Some(cluster)
    }

    /// A fresh, empty database in which `deploy/postgres/roles.sql` was run.
    ///
    /// # Panics
    /// When it can not be made.
    pub fn database(&self) -> Database {
        let name = format!("errand_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let database = Database { name, folder: self.folder.clone(), port: self.port };
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let maintenance = Database { name: "postgres".to_owned(), ..database.clone() };
        maintenance.run(&format!("CREATE DATABASE {}", database.name));
        let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/postgres/roles.sql");
        database.psql(&["-f", &roles.display().to_string()]);
        database
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the socket, the data (in `data`) and the log (`log`) are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills all its processes at once, as a power cut would.
    ///
    /// # Panics
    /// When they do not go.
    pub fn kill9(&self) {
        let mut postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        process::kill(&mut postmaster);
    }

    /// Stops it without a checkpoint: `pg_ctl stop -m immediate`.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop_immediate(&self) {
        let mut postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        process::signal("QUIT", &[postmaster.id()]);
        postmaster.wait().expect("the server is ours");
    }

    /// Starts it again after [`Cluster::kill9`] or [`Cluster::stop_immediate`], on the same port; it accepts
    /// connections when this returns.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        let mut postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        *postmaster = process::start(&self.folder, self.port, self.durable).expect("PostgreSQL starts again");
    }

    /// Freezes all its processes.
    pub fn pause(&self) {
        let postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        process::signal("STOP", &[postmaster.id()]);
        process::signal("STOP", &process::children(postmaster.id()));
    }

    /// Lets them go on.
    pub fn resume(&self) {
        let postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        process::signal("CONT", &process::children(postmaster.id()));
        process::signal("CONT", &[postmaster.id()]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let guardian = self.guardian.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(guardian.stdin.take());
        let _ = guardian.wait();
        let _ = self.postmaster.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

// === impl Database ===

impl Database {
    /// How a role reaches it: `errand_migrate`, `errand_auth`, `errand_task`, `errand_chat`, or `postgres`, the
    /// superuser. No password is asked for.
    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements as the superuser and answers what psql prints, unaligned and without headers.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn run(&self, sql: &str) -> String {
        self.psql(&["-c", sql])
    }

    /// The same database by another name, for instance a copy that a test makes.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    fn psql(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let mut command = std::process::Command::new(program::program("psql"));
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-p",
            &port,
            "-d",
            &self.name,
        ]);
        command.arg("-h").arg(&self.folder).args(arguments);
        let output = command.output().expect("psql runs");
        assert!(
            output.status.success(),
            "psql {arguments:?} in {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}
