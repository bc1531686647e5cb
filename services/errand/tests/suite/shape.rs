//! The shape that this run tests: everything in one process, on SQLite files in one data folder.

use std::{net::SocketAddr, path::Path};

use rusqlite::{Connection, OpenFlags, types::ValueRef};
use tempfile::TempDir;

use crate::sandbox::{
    Sandbox,
    process::{Process, Recipe},
};

/// Where the data is, and from what the processes are made again.
pub(crate) struct Ground {
    data: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap() }
    }

    /// The processes and the address of the one that clients call.
    pub(crate) fn start(&self, environment: &[(String, String)]) -> (Vec<Process>, SocketAddr) {
        let mut recipe = Recipe::new(&["serve"], &[])
            .set("ERRAND_LISTEN", "127.0.0.1:0")
            .set("ERRAND_DATA_DIR", self.data.path().to_str().unwrap())
            // Tests speak for many clients; each names its own address.
            .set("ERRAND_TRUSTED_PROXIES", "127.0.0.1")
            // And one of them does what a thousand users do; what limits do is tested where they are set.
            .set("ERRAND_USER_RATES", "off");
        // What a test sets comes last.
        recipe.environment.extend(environment.iter().cloned());
        let mut process = Process::start(recipe);
        let address = process.address();
        (vec![process], address)
    }

    /// Starts the processes again on the same data.
    pub(crate) fn restart(processes: &mut [Process]) -> SocketAddr {
        processes.iter_mut().for_each(Process::again);
        processes.last_mut().unwrap().address()
    }

    /// The data folder, where there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        Some(self.data.path())
    }

    /// The first column of what a service's tables answer.
    #[expect(clippy::unused_async, reason = "the other shape asks a server")]
    pub(crate) async fn stored(&self, service: &str, sql: &str) -> Vec<String> {
        let connection = self.open(service);
        let mut statement = connection.prepare(sql).unwrap();
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => String::new(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            ValueRef::Blob(bytes) => bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        };
        statement.query_map([], |row| Ok(text(row.get_ref(0)?))).unwrap().map(Result::unwrap).collect()
    }

    /// Everything that a service stores, value by value, with its table.
    #[expect(clippy::unused_async, reason = "the other shape asks a server")]
    pub(crate) async fn contents(&self, service: &str) -> Vec<String> {
        let connection = self.open(service);
        let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut contents = Vec::new();
        for table in tables {
            let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = row.get_ref(column).unwrap() {
                        contents.push(format!("{table}: {}", String::from_utf8_lossy(bytes)));
                    }
                }
            }
        }
        contents
    }

    fn open(&self, service: &str) -> Connection {
        let path = self.data.path().join(format!("{service}.db"));
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }
}

/// Kills what clients call and starts it again: here that is everything.
pub(crate) fn strike_the_edge(sandbox: &mut Sandbox) {
    sandbox.kill_and_restart();
}

/// Where a service can be called: here only where everything can.
pub(crate) fn doors(sandbox: &Sandbox, _service: &str) -> Vec<SocketAddr> {
    vec![sandbox.address]
}
