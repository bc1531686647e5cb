//! What the documents show, executed: the commands of the README against the real binary, its
//! settings against `errand config print`, and every link between pages.
//!
//! grpcurl is not part of a Rust toolchain, so the session is left out where there is none, and
//! that is said. Where `CI` is set it has to be there.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may be blunt")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

const PAGES: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/operations.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("services/errand is two levels deep").to_path_buf()
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a page that are marked as this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == opening {
            blocks.push(lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect());
        } else if line.starts_with("```") {
            lines.by_ref().find(|line| *line == "```");
        }
    }
    blocks
}

/// A command without the settings of whoever runs the tests.
fn errand() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// The real binary on a free port, stopped when it goes out of scope.
struct Server {
    process: Child,
    address: String,
    // Kept open: a server that can not write to stdout is another test.
    _stdout: BufReader<ChildStdout>,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = errand();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data-dir"]).arg(data.path());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let before = said.len();
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "the server ended: {said}");
            if let Some(address) = said[before..].strip_prefix("listening on http://") {
                break address.trim_end().to_owned();
            }
        };
        Self { process, address, _stdout: stdout, _data: data }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn there_is(program: &str) -> bool {
    Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn the_session_with_grpcurl_works_as_it_is_pasted() {
    if !there_is("grpcurl") {
        assert!(env::var_os("CI").is_none(), "CI is set and there is no grpcurl: the README would go unchecked");
        eprintln!("left out: there is no grpcurl on this machine");
        return;
    }
    let session = blocks(&page("README.md"), "bash").concat();
    assert_eq!(session.matches("localhost:8080").count(), 6, "{session}");
    let server = Server::start();
    let script = session.replace("localhost:8080", &server.address);
    let done = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    let (shown, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{wrong}");
    assert_eq!(wrong, "");
    for expected in ["errand.task.v1.TaskService", "\"conversationId\"", "\"response\"", "\"add_tasks\"", "\"dueTime\""]
    {
        assert!(shown.contains(expected), "{expected} is missing in:\n{shown}");
    }
    let listed = shown.rsplit_once("\"tasks\": [").expect("the last command lists the tasks").1.to_lowercase();
    assert!(listed.contains("\"title\": \"buy milk\""), "{shown}");
    assert_eq!(shown.matches("\"title\":\"Call mum\"").count(), 2, "made and listed over plain HTTP: {shown}");
}

#[test]
fn the_two_commands_of_a_newcomer_are_those_of_the_workspace() {
    let commands = blocks(&page("README.md"), "sh");
    assert_eq!(commands, ["cargo run --release\n", "cargo test --workspace\n"]);
    // The first must not ask which binary: the binary is the only default member.
    let workspace: toml::Table = page("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["default-members"].as_array().unwrap();
    assert_eq!(members.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>(), ["services/errand"]);
}

#[test]
fn the_commands_and_flags_that_the_pages_name_exist() {
    let help = String::from_utf8(errand().arg("--help").output().unwrap().stdout).unwrap();
    let readme = page("README.md");
    let commands = readme.lines().find_map(|line| line.strip_prefix("| Commands | ")).unwrap();
    for command in commands.split('`').skip(1).step_by(2).filter(|word| !word.starts_with('-')) {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command}:\n{help}");
    }
    for flag in ["--data-dir", "--allowed-origins"] {
        assert!(readme.contains(flag) && help.contains(flag), "{flag}");
    }
}

#[test]
fn the_settings_that_the_pages_name_exist() {
    // These steer the tests and the clients' suites, not the program.
    const OTHERS: [&str; 4] = ["ERRAND_", "ERRAND_BIN", "ERRAND_BATTERY", "ERRAND_REAL_MODEL"];
    let mut named = BTreeMap::new();
    for path in PAGES {
        let text = page(path);
        let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let settings = words.filter(|word| word.starts_with("ERRAND_") && !OTHERS.contains(word));
        named.extend(settings.map(|word| (word.to_owned(), path)));
    }
    assert!(named.contains_key("ERRAND_DATABASE_URL"), "{named:?}");
    // The program refuses names that mean nothing to it, whatever it thinks of the values.
    let judged = errand().args(["config", "check"]).envs(named.keys().map(|name| (name, "x"))).output().unwrap();
    let said = String::from_utf8(judged.stderr).unwrap();
    let unknown: Vec<_> =
        named.iter().filter(|(name, _)| said.contains(&format!("{name}: there is no such variable"))).collect();
    assert!(unknown.is_empty(), "{unknown:?} in\n{said}");
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let decisions = fs::read_dir(root().join("docs/adr")).unwrap();
    let decisions = decisions.map(|entry| format!("docs/adr/{}", entry.unwrap().file_name().to_string_lossy()));
    let pages: Vec<String> =
        PAGES.iter().map(|page| (*page).to_owned()).chain(["docs/errors.md".to_owned()]).chain(decisions).collect();
    let mut dead = Vec::new();
    for path in &pages {
        let folder = root().join(path).parent().unwrap().to_path_buf();
        for link in page(path).split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned)) {
            let target = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !target.is_empty() && !folder.join(target).exists() {
                dead.push(format!("{path} -> {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:?}");
}

#[test]
fn every_file_that_a_page_names_exists() {
    const FOLDERS: [&str; 8] = ["proto/", "services/", "gateway/", "migrations/", "tests/", "docs/", "deploy/", ".ci/"];
    let mut missing = Vec::new();
    for path in PAGES {
        let text = page(path);
        // Inline code is every second piece; a piece over several lines is a block or prose.
        for name in text.split('`').filter(|piece| FOLDERS.iter().any(|folder| piece.starts_with(folder))) {
            let file = name.split("::").next().unwrap_or(name);
            let is_pattern = file.contains(['<', '*', '{', ' ', '\n']);
            if !is_pattern && !root().join(file).exists() {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
