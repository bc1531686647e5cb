//! What an operator does with the real binary on PostgreSQL: migrate, look, copy.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use errand_cluster::{Cluster, Database};
use tempfile::TempDir;

/// A folder, a database, and commands that know nothing else.
struct Place {
    folder: TempDir,
    database: Database,
}

impl Place {
    fn new() -> Option<Self> {
        let database = Cluster::shared()?.database();
        Some(Self { folder: tempfile::tempdir().unwrap(), database })
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// On files.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command.env_clear().env("ERRAND_DATA_DIR", self.data()).env("ERRAND_LISTEN", "127.0.0.1:0");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// On PostgreSQL, each service with its own role.
    fn services(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        for service in ["auth", "task", "chat"] {
            let variable = format!("ERRAND_{}_DATABASE_URL", service.to_uppercase());
            command.env(variable, self.database.url(&format!("errand_{service}")));
        }
        command.env("ERRAND_SECRET_KEY", "a secret that is longer than 32 bytes");
        command
    }

    fn migrate(&self, action: &str) -> Output {
        let mut command = self.command(&["migrate", action]);
        command.env("ERRAND_DATABASE_URL", self.database.url("errand_migrate")).output().unwrap()
    }

    fn doctor(&self) -> (i32, String) {
        let output = self.services(&["doctor"]).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    }

    fn copy(&self) -> (i32, String) {
        let from = format!("sqlite:{}", self.data().display());
        let mut command = self.command(&["copy", "--from", &from]);
        let output = command.env("ERRAND_DATABASE_URL", self.database.url("errand_migrate")).output().unwrap();
        (output.status.code().unwrap(), said(&output))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A server that is ready, and where.
struct Server(Child, String);

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned)).unwrap();
        Self(child, url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = Command::new("kill").arg(self.0.id().to_string()).status();
        _ = self.0.wait();
    }
}

#[test]
fn the_doctor_is_content_with_a_fresh_database_and_names_a_table_whose_wall_is_down() {
    let Some(place) = Place::new() else { return };
    let (code, said) = place.doctor();
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("migrations") && said.contains("run `errand migrate`"), "{said}");
    let migrated = place.migrate("up");
    assert!(migrated.status.success(), "{migrated:?}");
    let (code, said) = place.doctor();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("WRONG") && !said.contains("not ready"), "{said}");
    for line in ["task.tasks", "chat.messages", "auth.users", "auth.signing_keys", "exempt", "clock", "signing keys"] {
        assert!(said.contains(line), "no {line} in {said}");
    }
    place.database.run("ALTER TABLE chat.messages DISABLE ROW LEVEL SECURITY");
    let (code, said) = place.doctor();
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("something is wrong with chat.messages\n"), "{said}");
    place.database.run("ALTER TABLE chat.messages ENABLE ROW LEVEL SECURITY");
    let mut peers = place.services(&["doctor"]);
    let output = peers.env("ERRAND_TASK_TARGET", "127.0.0.1:1").output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", self::said(&output));
    assert!(self::said(&output).contains("not ready: task at 127.0.0.1:1"), "{}", self::said(&output));
}

#[test]
fn a_laptop_s_data_moves_to_postgresql() {
    let Some(place) = Place::new() else { return };
    let password = "correct horse battery staple";
    {
        let server = Server::start(place.command(&[]));
        let seeding = ["seed", "--url", &server.1, "--email", "ada@example.com", "--password", password];
        let seeded = place.command(&seeding).output().unwrap();
        assert!(seeded.status.success(), "{}", said(&seeded));
        let (code, said) = place.copy();
        assert_eq!(code, 75, "a server runs on the folder: {said}");
    }
    let (code, said) = place.copy();
    assert!(code == 75 && said.contains("errand migrate"), "{code} {said}");
    assert!(place.migrate("up").status.success());
    let (code, said) = place.copy();
    assert_eq!(code, 0, "{said}");
    let secret = place.data().join("secret.key");
    assert!(said.contains(&format!("ERRAND_SECRET_KEY_FILE={}", secret.display())), "{said}");
    let (code, said) = place.copy();
    assert!(code == 1 && said.contains("copy into a fresh database"), "{code} {said}");
    let (from, to) = (format!("sqlite:{}", place.data().display()), place.database.url("errand_migrate"));
    let named = place.command(&["copy", "--from", &from, "--to", &to]).output().unwrap();
    assert_eq!(named.status.code(), Some(1), "the same place by its name");
    let nowhere = place.command(&["copy", "--from", &from]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "no place at all");

    let files = rusqlite::Connection::open(place.data().join("task.db")).unwrap();
    let tasks: i64 = files.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).unwrap();
    assert!(tasks > 3);
    // The superuser sees over every wall.
    assert_eq!(place.database.run("SELECT count(*) FROM task.tasks"), tasks.to_string());
    let mut serve = place.services(&[]);
    serve.env_remove("ERRAND_SECRET_KEY").env("ERRAND_SECRET_KEY_FILE", &secret);
    let server = Server::start(serve);
    let seeding = ["seed", "--url", &server.1, "--email", "ada@example.com", "--password", password];
    let seeded = place.command(&seeding).output().unwrap();
    assert!(self::said(&seeded).contains("has tasks already"), "account and tasks came along: {}", self::said(&seeded));
    let mut doctor = place.services(&["doctor"]);
    let output = doctor.env_remove("ERRAND_SECRET_KEY").env("ERRAND_SECRET_KEY_FILE", &secret).output().unwrap();
    assert!(output.status.success() && self::said(&output).contains(" signs, of 1"), "{}", self::said(&output));
}

#[test]
fn r_109_migrations_that_are_killed_inside_of_any_step_are_completed_by_the_next_run() {
    let Some(place) = Place::new() else { return };
    // Each statement that makes something takes long enough to be killed in.
    place.database.run(
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION public.slow();
         GRANT USAGE ON SCHEMA public TO PUBLIC",
    );
    let applied = || {
        let count = |service: &str| {
            let made = place.database.run(&format!("SELECT to_regclass('{service}._migrations') IS NOT NULL")) == "t";
            let count = || place.database.run(&format!("SELECT count(*) FROM {service}._migrations"));
            if made { count().parse::<u32>().unwrap() } else { 0 }
        };
        count("auth") + count("task") + count("chat")
    };
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let mut before = 0;
    loop {
        let mut migrating = place.command(&["migrate", "up"]);
        migrating.env("ERRAND_DATABASE_URL", place.database.url("errand_migrate")).stdout(Stdio::null());
        let mut migrating = migrating.spawn().unwrap();
        // One more step than last time, and then in the middle of the next one.
        let ended = loop {
            if let Some(status) = migrating.try_wait().unwrap() {
                break Some(status);
            }
            if applied() == before && place.database.run(busy) != "0" {
                break None;
            }
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        migrating.kill().unwrap();
        migrating.wait().unwrap();
        before = applied().max(before) + 1;
    }
    assert!(before > 3, "{before}");
    let status = place.migrate("status");
    assert!(status.status.success() && !said(&status).contains("missing"), "{}", said(&status));
    place.database.run("DROP EVENT TRIGGER slow; REVOKE USAGE ON SCHEMA public FROM PUBLIC");
    let (code, said) = place.doctor();
    assert_eq!(code, 0, "{said}");
}
