//! A database of its own, and processes of the real binary on it that know nothing else.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use errand_cluster::{Cluster, Database};
use tempfile::TempDir;

/// Far more than anything here needs; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secret that all roles share.
const SECRET: &str = "a secret that is the same for all of them";

/// An empty database, and a folder for sockets, secrets and certificates.
pub(crate) struct World {
    folder: TempDir,
    database: Database,
}

/// What one command is told on top.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// A process that serves.
pub(crate) struct Server {
    child: Child,
    log: Option<thread::JoinHandle<String>>,
    /// Where, as it said.
    pub(crate) url: String,
}

impl World {
    /// Nothing where there is no PostgreSQL, which was said.
    pub(crate) fn new() -> Option<Self> {
        Some(Self::on(Cluster::shared()?))
    }

    /// The same on a server of the test's own.
    pub(crate) fn on(cluster: &Cluster) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), database: cluster.database() };
        fs::write(world.path("secret"), SECRET).unwrap();
        world
    }

    /// The same with every schema in place.
    pub(crate) fn migrated() -> Option<Self> {
        let world = Self::new()?;
        world.migrate();
        Some(world)
    }

    pub(crate) fn migrate(&self) {
        let migrated = self.run(&["migrate"], &[("ERRAND_DATABASE_URL", &self.url("migrate"))]);
        assert_eq!(code(&migrated), 0, "{}", stderr(&migrated));
    }

    /// How a role reaches the database.
    pub(crate) fn url(&self, role: &str) -> String {
        self.database.url(&format!("errand_{role}"))
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// A file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str], settings: Settings<'_>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command
            .env_clear()
            // Where a run that measures coverage wants its counts.
            .envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"))
            .env("ERRAND_LISTEN", "127.0.0.1:0")
            .env("ERRAND_DATA_DIR", self.path("data"))
            .envs(settings.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str], settings: Settings<'_>) -> Output {
        let child = self.command(arguments, settings).spawn().unwrap();
        let (done, result) = mpsc::channel();
        thread::spawn(move || done.send(child.wait_with_output().unwrap()));
        result.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{arguments:?} did not end"))
    }

    /// Starts a command that is not waited for.
    pub(crate) fn start(&self, arguments: &[&str], settings: Settings<'_>) -> Child {
        self.command(arguments, settings).spawn().unwrap()
    }

    /// What a role apart is told: its database and the secret.
    pub(crate) fn role<'a>(&'a self, url: &'a str, secret: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![("ERRAND_DATABASE_URL", url), ("ERRAND_SECRET_KEY_FILE", secret)]
    }

    /// Serves one role apart, or the gateway.
    pub(crate) fn serve(&self, role: &str, settings: Settings<'_>) -> Server {
        let (url, secret) = (self.url(role), self.text("secret"));
        let of_role = if role == "gateway" { Vec::new() } else { self.role(&url, &secret) };
        Server::of(self.start(&["serve", role], &[&of_role, settings].concat()))
    }

    /// Asks until it is answered so; the answers before that.
    pub(crate) fn until(&self, expected: i32, arguments: &[&str], settings: Settings<'_>) {
        let begun = std::time::Instant::now();
        loop {
            let output = self.run(arguments, settings);
            if code(&output) == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{arguments:?}: {output:?}");
            thread::yield_now();
        }
    }
}

impl Server {
    /// Waits until it says where it listens.
    pub(crate) fn of(mut child: Child) -> Self {
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, log: Some(log), url: String::new() };
        loop {
            let start = said.len();
            if stdout.read_line(&mut said).unwrap() == 0 {
                let code = server.child.wait().unwrap();
                panic!("ended with {code} before it was ready: {said}\n{}", server.log.take().unwrap().join().unwrap());
            }
            if let Some(url) = said[start..].strip_prefix("listening on ") {
                url.trim_end().clone_into(&mut server.url);
                // A pipe that nobody reads any more must not stop it.
                thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
                return server;
            }
        }
    }

    /// Ends it kindly; answers its exit code and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}
