//! The processes of a cluster: started, guarded, killed.

use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::program::program;

/// Who runs the server in place of root.
const NOBODY: u32 = 65534;
/// How often, and how many times, it is asked whether something has happened.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASK_TIMES: u32 = 3000;

/// Settings for a server whose data may be lost.
const FAST: &[&str] = &["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "max_connections=300",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "log_min_messages=warning",
    "log_checkpoints=off",
    "cluster_name=errand-test",
];

// Waits for the end of its input, which comes with the end of who holds the other side. What is stopped
// is let go on first: a stopped process sees no signal.
const GUARDIAN: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    for child in $(cat /proc/"$pid"/task/"$pid"/children 2>/dev/null); do kill -CONT "$child" 2>/dev/null; done
    kill -CONT "$pid" 2>/dev/null
    "$2" stop -D "$1/data" -m immediate -t 20 >/dev/null 2>&1 || kill -9 "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

pub(crate) fn initdb(folder: &Path, durable: bool) {
    let mut command = unprivileged(&program("initdb"));
    command.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
    if !durable {
        command.arg("--no-sync");
    }
    let output = command.arg("-D").arg(folder.join("data")).output().expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn guard(folder: &Path) -> Child {
    let mut command = unprivileged(Path::new("/bin/sh"));
    command.args(["-c", GUARDIAN, "guardian"]).arg(folder).arg(program("pg_ctl"));
    // A terminal's Ctrl-C must not reach it.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a guardian starts")
}

/// Starts the server on a port that is free.
pub(crate) fn first_start(folder: &Path, durable: bool) -> (Child, u16) {
    for _ in 0..10 {
        let port = free_port();
        match start(folder, port, durable) {
            Ok(postmaster) => return (postmaster, port),
            // Somebody else may have got the port.
            Err(_) => continue,
        }
    }
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("PostgreSQL does not start: {log}");
}

/// Starts the server and waits until it accepts connections.
pub(crate) fn start(folder: &Path, port: u16, durable: bool) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = unprivileged(&program("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).arg("-p").arg(port.to_string());
    for setting in SETTINGS.iter().chain(if durable { &[] } else { FAST }) {
        command.args(["-c", setting]);
    }
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut postmaster = command.spawn()?;
    let ready = program("pg_isready");
    for _ in 0..ASK_TIMES {
        if postmaster.try_wait()?.is_some() {
            return Err(io::Error::other("the server ended"));
        }
        let mut ask = Command::new(&ready);
        ask.args(["-q", "-d", "postgres", "-U", "postgres", "-p", &port.to_string()]).arg("-h").arg(folder);
        if ask.status()?.success() {
            return Ok(postmaster);
        }
        thread::sleep(ASK_EVERY);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not accept connections"))
}

/// Kills the server and all its children and waits until they are gone: a new server refuses to start
/// beside a child of the old one.
pub(crate) fn kill(postmaster: &mut Child) {
    // Stopped first, so that it makes no more children and mourns none.
    signal("STOP", &[postmaster.id()]);
    let children = children(postmaster.id());
    signal("KILL", &children);
    signal("KILL", &[postmaster.id()]);
    postmaster.wait().expect("the server is ours");
    for _ in 0..ASK_TIMES {
        if !children.iter().any(|child| alive(*child)) {
            return;
        }
        thread::sleep(ASK_EVERY);
    }
    panic!("processes of PostgreSQL do not go");
}

pub(crate) fn children(postmaster: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

pub(crate) fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let mut command = Command::new("kill");
        command.arg(format!("-{name}")).args(processes.iter().map(u32::to_string));
        // One that has gone by itself is no failure.
        let _ = command.stderr(Stdio::null()).status();
    }
}

/// Whether a process is there and no zombie.
fn alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
}

/// Gives a file or folder to whoever runs the server.
///
/// # Panics
/// When root may not do so.
pub fn give_away(folder: &Path) {
    if is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).expect("root gives a folder away");
    }
}

/// A command that does not run as root.
#[must_use]
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // Root's own folder may be closed to others.
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
