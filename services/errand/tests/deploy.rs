//! docker-compose.yml and what it names: read as docker reads it, held to its promises, and its services run as they
//! are written, as processes on a PostgreSQL of this test.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests may be blunt")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use errand_cluster::Cluster;
use serde_json::Value;

/// The services that run our own image.
const OURS: [&str; 5] = ["migrate", "auth", "task", "chat", "gateway"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// docker-compose.yml with everything filled in, by docker's own reader; nothing, said on stderr, where there is none
/// and `CI` is not set.
fn compose() -> Option<Value> {
    let file = root().join("docker-compose.yml");
    let there = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if there("docker", &["compose", "version"]) {
        let mut command = Command::new("docker");
        command.args(["compose", "--file"]).arg(file).args(["config", "--format", "json"]);
        return Some(serde_json::from_slice(&succeeds(&mut command).stdout).unwrap());
    }
    if there("docker-compose", &["version"]) {
        let yaml = succeeds(Command::new("docker-compose").arg("--file").arg(file).arg("config")).stdout;
        let program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
        // The Python that the program itself is written in has the reader.
        let mut python = Command::new("/usr/bin/python3");
        let mut python = python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), &yaml).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        return Some(serde_json::from_slice(&output.stdout).unwrap());
    }
    let must = std::env::var_os("CI").is_some();
    assert!(!must, "docker compose or docker-compose is needed");
    println!("left out: there is no docker compose here");
    None
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The variables of a service.
fn environment(service: &Value) -> BTreeMap<String, String> {
    let variables = service["environment"].as_object().into_iter().flatten();
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// The names of the secrets that a service sees.
fn secrets(service: &Value) -> Vec<String> {
    let secrets = service["secrets"].as_array().into_iter().flatten();
    secrets.map(|secret| text(secret.get("source").unwrap_or(secret))).collect()
}

fn make_secrets(folder: &Path, database: &str) {
    succeeds(Command::new(root().join("deploy/make-secrets")).arg(folder).arg(database));
}

fn errand() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
    command.env_clear();
    command
}

#[test]
fn containers_have_no_rights_that_they_do_not_need() {
    let Some(compose) = compose() else { return };
    for (name, service) in compose["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        let user = text(&service["user"]);
        assert!(if OURS.contains(&&**name) { user == "65532:65532" } else { user == "postgres" }, "{name}: {user}");
        for key in ["privileged", "cap_add", "pid", "network_mode", "devices"] {
            assert!(service.get(key).is_none(), "{name}: {key}");
        }
        let inside = service["networks"].get("inside").is_some();
        let outside = service["networks"].get("outside").is_some();
        assert!(inside && outside == (name == "gateway"), "{name}");
        assert_eq!(service.get("ports").is_some(), name == "gateway", "{name}");
        for variable in environment(service).keys() {
            let is_secret = ["URL", "KEY", "PASSWORD"].iter().any(|end| variable.ends_with(end));
            assert!(!is_secret, "{name}: {variable} belongs into a file");
        }
    }
    assert_eq!(compose["networks"]["inside"]["internal"], true);
    let ports = compose["services"]["gateway"]["ports"].to_string();
    assert!(ports.contains("127.0.0.1") && ports.contains("8080"), "{ports}");
}

#[test]
fn each_waits_for_what_it_needs_and_says_whether_it_serves() {
    let Some(compose) = compose() else { return };
    let services = compose["services"].as_object().unwrap();
    let waits = |name: &str| -> BTreeMap<String, String> {
        let on = services[name]["depends_on"].as_object().into_iter().flatten();
        on.map(|(other, how)| (other.clone(), text(&how["condition"]))).collect()
    };
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, how)| ((*name).to_owned(), (*how).to_owned())).collect();
    assert_eq!(waits("migrate"), of(&[("postgres", "service_healthy")]));
    for role in ["auth", "task", "chat"] {
        assert_eq!(waits(role), of(&[("migrate", "service_completed_successfully")]), "{role}");
    }
    assert_eq!(
        waits("gateway"),
        of(&[("auth", "service_healthy"), ("chat", "service_healthy"), ("task", "service_healthy")])
    );
    for (name, service) in services {
        let test = service["healthcheck"]["test"].to_string();
        match &**name {
            "postgres" => assert!(test.contains("pg_isready")),
            // Two ways to write that there is none.
            "migrate" => assert!(service["healthcheck"]["disable"] == true || test == r#"["NONE"]"#, "{test}"),
            _ => assert_eq!(test, r#"["CMD","/errand","healthcheck"]"#, "{name}"),
        }
    }
}

#[test]
fn each_sees_the_secrets_that_it_names_and_they_are_all_made() {
    let Some(compose) = compose() else { return };
    let folder = tempfile::tempdir().unwrap();
    make_secrets(folder.path(), "postgres:5432");
    let mut made: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    made.sort();
    let declared: Vec<_> = compose["secrets"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(made, declared);
    for (name, service) in compose["services"].as_object().unwrap() {
        let seen = secrets(service);
        let named: Vec<_> = environment(service)
            .into_values()
            .filter_map(|value| value.strip_prefix("/run/secrets/").map(str::to_owned))
            .collect();
        assert!(named.iter().all(|secret| seen.contains(secret)), "{name}: {named:?}");
        // The database makes the roles, so it is told their passwords.
        assert!(name == "postgres" || seen.len() == named.len(), "{name}: {seen:?}");
    }
    let again = std::fs::read(folder.path().join("task_url")).unwrap();
    make_secrets(folder.path(), "elsewhere:5432");
    assert_eq!(std::fs::read(folder.path().join("task_url")).unwrap(), again);
}

#[test]
fn every_variable_is_one_that_the_program_knows() {
    let Some(compose) = compose() else { return };
    let folder = tempfile::tempdir().unwrap();
    make_secrets(folder.path(), "postgres:5432");
    for name in OURS {
        let here = |value: String| value.replace("/run/secrets", folder.path().to_str().unwrap());
        let variables = environment(&compose["services"][name]).into_iter().map(|(name, value)| (name, here(value)));
        succeeds(errand().env("HOME", folder.path()).envs(variables).args(["config", "check"]));
    }
}

#[test]
fn the_image_is_built_by_the_compiler_of_the_workspace() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let (version, _) = channel.rsplit_once('.').unwrap();
    assert!(read("deploy/Dockerfile").contains(&format!("FROM rust:{version}-")));
}

/// A container's process.
struct Container(Child);

impl Container {
    /// Starts it and waits until it listens: where, is the answer, too.
    fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let place = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        thread::spawn(move || lines.for_each(drop));
        let place = place.unwrap_or_else(|| panic!("{command:?} did not start"));
        (Self(child), place)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn the_services_run_as_they_are_written() {
    let Some(compose) = compose() else { return };
    let Some(cluster) = Cluster::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    make_secrets(folder.path(), &format!("127.0.0.1:{}", cluster.port()));
    let secrets = folder.path().to_str().unwrap();

    // The first start of the database, with the paths of its container as they are here.
    let database = cluster.database();
    database.run("CREATE DATABASE errand");
    let script = read("deploy/compose/roles.sh")
        .replace("/run/secrets", secrets)
        .replace("/deploy/roles.sql", root().join("deploy/postgres/roles.sql").to_str().unwrap());
    let psql = errand_cluster::program("psql");
    let mut shell = Command::new("bash");
    shell.env("PATH", format!("{}:/usr/bin:/bin", psql.parent().unwrap().display()));
    shell.env("PGHOST", cluster.folder()).env("PGPORT", cluster.port().to_string()).args(["-ec", &script]);
    succeeds(&mut shell);
    let password = std::fs::read_to_string(folder.path().join("task_url")).unwrap();
    let password = password.split(['@', ':']).nth(2).unwrap();
    let set =
        database.run("SELECT count(*) FROM pg_authid WHERE rolname LIKE 'errand_%' AND rolpassword LIKE 'SCRAM%'");
    assert_eq!((&*set, password.len()), ("4", 48));

    // The network of the containers: a socket for each role, a free port for the gateway.
    let variables = |name: &str| {
        let here = |value: String| {
            let value = value.replace("/run/secrets", secrets).replace("0.0.0.0:8080", "127.0.0.1:0");
            [("auth", 50051), ("task", 50052), ("chat", 50053)].iter().fold(value, |value, (name, port)| {
                let place = format!("unix:{secrets}/{name}");
                value.replace(&format!("dns:///{name}:{port}"), &place).replace(&format!("0.0.0.0:{port}"), &place)
            })
        };
        let of = environment(&compose["services"][name]);
        of.into_iter().map(|(name, value)| (name, here(value))).collect::<BTreeMap<_, _>>()
    };
    let command = |name: &str| {
        let arguments = compose["services"][name]["command"].as_array().unwrap();
        let mut command = errand();
        command.env("HOME", "/nowhere").envs(variables(name)).args(arguments.iter().map(text));
        command
    };
    succeeds(&mut command("migrate"));
    let running = ["auth", "task", "chat", "gateway"].map(|role| (role, Container::start(&mut command(role))));
    for (role, (_, place)) in &running {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let check = errand().env("HOME", "/nowhere").args(["healthcheck", "--url", place]).output().unwrap();
            if check.status.success() {
                break;
            }
            assert!(Instant::now() < deadline, "{role}: {}", String::from_utf8_lossy(&check.stderr));
            thread::yield_now();
        }
    }
    let [.., (_, (_, url))] = &running;
    succeeds(errand().env("HOME", "/nowhere").args(["seed", "--url", url]));
}
