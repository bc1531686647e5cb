//! The command line of the real binary: settings, exit codes, the data folder, signals.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// Far more than anything here needs; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where no server listens: a port that only root could take.
const NOBODY: &str = "http://127.0.0.1:1";

/// A data folder of its own and commands that know nothing but it.
struct Place(TempDir);

/// A server that is ready.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    greeting: String,
    url: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command.env_clear().env("ERRAND_DATA_DIR", self.data()).env("ERRAND_LISTEN", "127.0.0.1:0");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments))
    }

    fn serve(&self) -> Server {
        Server::start(self.command(&[]))
    }
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        let url = loop {
            let start = greeting.len();
            assert!(stdout.read_line(&mut greeting).unwrap() > 0, "ended before it was ready: {greeting}");
            if let Some(url) = greeting[start..].strip_prefix("listening on ") {
                break url.trim_end().to_owned();
            }
        };
        Self { child, stdout, greeting, url }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it kindly; answers its exit code and all that it wrote to stdout.
    fn stop(mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        let mut said = std::mem::take(&mut self.greeting);
        self.stdout.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn finish(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    result.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{command:?} did not end"))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn version_is_said_in_words_and_in_json() {
    let place = Place::new();
    assert_eq!(stdout(&place.run(&["version"])), format!("errand {}\n", env!("CARGO_PKG_VERSION")));
    let json: serde_json::Value = serde_json::from_slice(&place.run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json, serde_json::json!({ "name": "errand", "version": env!("CARGO_PKG_VERSION") }));
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let output = Place::new().run(&["serv"]);
    assert_eq!(code(&output), 2);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("serve"), "{}", stderr(&output));
}

#[test]
fn a_role_that_there_is_not_is_a_usage_error_with_the_choices() {
    let place = Place::new();
    let output = place.run(&["serve", "tasks"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("auth, task, chat, gateway"), "{}", stderr(&output));
    assert!(!place.data().exists());
}

#[test]
fn all_faults_of_the_configuration_are_said_before_anything_is_touched() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--drain-deadline", "soon"]);
    command.env("ERRAND_LISTNE", "127.0.0.1:1").env("ERRAND_REFLECTION", "perhaps");
    let output = finish(command);
    assert_eq!(code(&output), 78);
    let said = stderr(&output);
    assert!(said.contains("ERRAND_LISTNE: there is no such variable; did you mean ERRAND_LISTEN?"), "{said}");
    assert!(said.contains("--drain-deadline: `soon`") && said.contains("ERRAND_REFLECTION: `perhaps`"), "{said}");
    assert_eq!(stdout(&output), "");
    assert!(!place.data().exists());
}

#[test]
fn serving_beyond_this_machine_in_plaintext_must_be_meant() {
    let place = Place::new();
    let output = place.run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("--plaintext"));
    assert_eq!(code(&place.run(&["config", "check", "--listen", "0.0.0.0:0", "--plaintext"])), 0);
}

#[test]
fn config_check_judges_and_config_print_shows_without_secrets() {
    let place = Place::new();
    let file = place.0.path().join("errand.toml");
    fs::write(&file, "[log]\nfilter = \"warn\"\n").unwrap();
    let secret = "a secret of at least thirty-two bytes";
    let with_secret = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("ERRAND_SECRET_KEY", secret).env("ERRAND_CONFIG", &file);
        finish(command)
    };
    assert_eq!(code(&with_secret(&["config", "check"])), 0);
    let printed = with_secret(&["config", "print", "--max-streams", "7"]);
    let text = stdout(&printed);
    assert!(!text.contains(secret) && text.contains("secret_key = \"***\"  # ERRAND_SECRET_KEY"), "{text}");
    assert!(text.contains("max_streams = 7  # command line"), "{text}");
    assert!(text.contains(&format!("filter = \"warn\"  # {}", file.display())), "{text}");
    assert!(text.contains("drain_deadline = \"10s\"  # default"), "{text}");

    // What was printed is a file that sets the same.
    let again = place.0.path().join("again.toml");
    fs::write(&again, text.replace("secret_key", "# secret_key")).unwrap();
    assert_eq!(code(&place.run(&["config", "check", "--config", again.to_str().unwrap()])), 0);
    fs::write(&again, "[log]\nfliter = \"warn\"\n").unwrap();
    assert_eq!(code(&place.run(&["config", "check", "--config", again.to_str().unwrap()])), 78);
}

#[test]
fn no_argument_serves_everything_and_a_signal_ends_it_kindly() {
    let place = Place::new();
    let server = place.serve();
    let output = place.run(&["healthcheck", "--url", &server.url]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(mode(&place.data()), 0o700);
    assert_eq!(mode(&place.data().join("secret.key")), 0o600);

    let (code_of_server, said) = server.stop();
    assert_eq!(code_of_server, Some(0));
    assert!(said.contains(&format!("data in {}", place.data().display())), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("  ")).count(), 2, "{said}");
}

#[test]
fn a_health_check_that_nobody_answers_is_not_ready() {
    let output = Place::new().run(&["healthcheck", "--url", NOBODY]);
    assert_eq!(code(&output), 75);
    assert!(stderr(&output).contains("nothing answers at"), "{}", stderr(&output));
}

#[test]
fn a_second_server_on_the_same_folder_is_told_so_and_leaves() {
    let place = Place::new();
    let first = place.serve();
    let output = place.run(&["serve"]);
    assert_eq!(code(&output), 75);
    assert!(stderr(&output).contains("is in use by another errand"), "{}", stderr(&output));
    assert_eq!(first.stop().0, Some(0));
    assert_eq!(place.serve().stop().0, Some(0));
}

#[test]
fn an_address_that_is_taken_is_a_failure_that_names_it() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.run(&["--listen", &address]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains(&format!("{address} is taken")), "{}", stderr(&output));
}

#[test]
fn r_116_a_second_signal_ends_the_process_at_once() {
    let place = Place::new();
    let mut command = place.command(&["serve"]);
    command.env("ERRAND_SHUTDOWN_DELAY", "1h");
    let mut server = Server::start(command);
    server.signal("-INT");
    // The first signal turns health off and then waits for an hour.
    while code(&place.run(&["healthcheck", "--url", &server.url])) == 0 {}
    server.signal("-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn logs_go_to_stderr_as_one_json_object_a_line() {
    let place = Place::new();
    let mut child = place.command(&["serve"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listening on ") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0);
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(!output.stderr.is_empty());
    for line in stderr(&output).lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["message"].is_string() && entry["level"].is_string(), "{line}");
    }
}

#[test]
fn migrate_says_what_is_missing_and_applies_it_once() {
    let place = Place::new();
    let output = place.run(&["migrate", "status"]);
    assert_eq!(code(&output), 75);
    assert!(stdout(&output).contains("missing") && !place.data().exists());
    let output = place.run(&["migrate"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for service in ["auth", "task", "chat"] {
        assert!(stdout(&output).contains(&format!("{service}: applied 0001")), "{}", stdout(&output));
    }
    assert_eq!(stdout(&place.run(&["migrate", "up"])), "every schema is up to date\n");
    let output = place.run(&["migrate", "status"]);
    assert_eq!(code(&output), 0);
    assert!(!stdout(&output).contains("missing"));
}

#[test]
fn keys_are_listed_and_rotated_beside_a_running_server() {
    let place = Place::new();
    assert_eq!(code(&place.run(&["keys", "list"])), 75);
    let server = place.serve();
    let keys = |output: &Output| stdout(output).lines().count();
    let before = place.run(&["keys", "list"]);
    assert_eq!(code(&before), 0, "{}", stderr(&before));
    let rotated = place.run(&["keys", "rotate"]);
    assert_eq!(code(&rotated), 0, "{}", stderr(&rotated));
    assert_eq!(keys(&place.run(&["keys", "list"])), keys(&before) + 1);
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn seed_makes_an_account_once_and_says_how_to_log_in() {
    let place = Place::new();
    let server = place.serve();
    let seed = |more: &[&str]| place.run(&[&["seed", "--url", &server.url], more].concat());
    let first = seed(&[]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let said = stdout(&first);
    assert!(said.starts_with("made demo@example.com with 8 tasks and a conversation"), "{said}");
    let (_, login) = said.split_once("log in:").unwrap();
    let (_, credentials) = login.split_once("-d '").unwrap();
    let credentials: serde_json::Value = serde_json::from_str(credentials.split_once('\'').unwrap().0).unwrap();
    let password = credentials["password"].as_str().unwrap();

    let second = seed(&[]);
    assert_eq!(code(&second), 1);
    assert!(stderr(&second).contains("there is an account demo@example.com already"), "{}", stderr(&second));
    let third = seed(&["--password", password]);
    assert_eq!(code(&third), 0, "{}", stderr(&third));
    assert!(stdout(&third).starts_with("demo@example.com has tasks already: nothing was added"));
    assert_eq!(code(&seed(&["--password", "not the password"])), 1);
}

#[test]
fn seed_without_a_server_is_not_ready() {
    let place = Place::new();
    assert_eq!(code(&place.run(&["seed", "--url", NOBODY])), 75);
    assert_eq!(code(&place.run(&["seed"])), 2, "the port is any free one");
    assert_eq!(code(&place.run(&["seed", "--url", "not a url"])), 2);
}
