//! Where PostgreSQL's programs are.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The path of one of PostgreSQL's programs, from `pg_config`, `PATH` or where Debian puts them.
///
/// # Panics
/// When it is not installed: ask [`crate::Cluster::shared`] first.
pub fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is not installed"))
}

/// The path of pgbouncer. `None`, said on stderr, where it is not installed.
///
/// # Panics
/// Where it is not installed although `CI` is set.
pub fn bouncer() -> Option<PathBuf> {
    let found = on_path("pgbouncer").or_else(|| existing(Path::new("/usr/sbin/pgbouncer")));
    said(found.is_some(), "pgbouncer");
    found
}

pub(crate) fn installed() -> bool {
    let found = ["initdb", "postgres", "psql"].iter().all(|name| find(name).is_some());
    said(found, "PostgreSQL");
    found
}

fn said(found: bool, what: &str) {
    if found {
        return;
    }
    let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0");
    assert!(!ci, "{what} is not installed, and CI skips no test");
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    {
        eprintln!("{what} is not installed: the tests that need it are skipped");
    }
}

fn find(name: &str) -> Option<PathBuf> {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let folders = FOLDERS.get_or_init(folders);
    folders.iter().find_map(|folder| existing(&folder.join(name)))
}

/// The newest that Debian installed first: `pg_config` there may belong to a client only.
fn folders() -> Vec<PathBuf> {
    let mut versions: Vec<PathBuf> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    versions.sort_by_key(|path| path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse::<u32>().ok()));
    let mut folders: Vec<PathBuf> = configured().into_iter().filter(|folder| folder.join("initdb").exists()).collect();
    folders.extend(
        versions.into_iter().rev().map(|version| version.join("bin")).filter(|folder| folder.join("initdb").exists()),
    );
    folders.extend(path_folders());
    folders
}

fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn on_path(name: &str) -> Option<PathBuf> {
    path_folders().into_iter().find_map(|folder| existing(&folder.join(name)))
}

fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.to_owned())
}
