//! The house rules that a machine can check, as tests.
//!
//! Which crate and which room of a service may import which, sizes and names of files, numbers of
//! migrations, and that docs/errors.md lists exactly the reasons that the code uses. A rule that
//! stands here stands nowhere else; ARCHITECTURE.md says why there are such rules.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may be blunt")]

#[path = "layout/source.rs"]
mod source;
#[path = "layout/table.rs"]
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use source::{Source, files, root, sources};
use table::{CRATES, Outside, ROOMS, Room};

const CODE: [&str; 4] = ["proto", "services", "gateway", "tests"];

/// No file of ours is longer, so that each can be read in one sitting.
const MOST_LINES: usize = 500;

fn none_of(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Whether a file holds the unit tests of the module beside it, compiled for tests only.
fn is_unit_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "tests.rs" | "testing.rs" | "conformance.rs")
        || name.ends_with("_tests.rs")
        || path.contains("/src/testing/")
}

fn is_test_file(path: &str) -> bool {
    is_unit_test(path) || path.contains("/tests/") || path.starts_with("tests/")
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path)).unwrap().parse().unwrap()
}

fn dependencies(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    let names = manifest.get(section).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
    names.cloned().collect()
}

// === crates ===

#[test]
fn a_crate_depends_only_on_the_floors_below_it() {
    let mut faults = Vec::new();
    for row in CRATES {
        let manifest = manifest(&format!("{}/Cargo.toml", row.folder));
        let used: BTreeSet<String> = dependencies(&manifest, "dependencies")
            .union(&dependencies(&manifest, "build-dependencies"))
            .filter(|name| CRATES.iter().any(|other| other.name == *name))
            .cloned()
            .collect();
        for name in used.iter().filter(|name| !row.may.contains(&name.as_str())) {
            faults.push(format!("{} depends on {name}; it may depend on {:?}", row.name, row.may));
        }
    }
    none_of(&faults, "the floors of the house are in tests/layout/table.rs");
}

#[test]
fn every_member_of_the_workspace_has_a_floor() {
    let workspace = manifest("Cargo.toml");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let known: BTreeSet<&str> = CRATES.iter().map(|row| row.folder).collect();
    // Suites and load generators below tests/ may use anything and are used by nothing.
    let members: BTreeSet<&str> = members.into_iter().filter(|member| !member.starts_with("tests/")).collect();
    assert_eq!(members, known);
}

#[test]
fn the_image_is_built_from_every_member_of_the_workspace() {
    let sent = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let sent: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let workspace = manifest("Cargo.toml");
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let member = Path::new(member.as_str().unwrap());
        assert!(sent.iter().any(|part| member.starts_with(part)), "{} is not sent to docker", member.display());
    }
}

// === rooms ===

/// The room that a path inside a crate leads to: the longest that the table knows.
fn room_of<'a>(krate: &str, path: &[String]) -> Option<&'a Room> {
    let path = path.join("/");
    ROOMS
        .iter()
        .filter(|room| room.crates.contains(&krate))
        .filter(|room| path == room.path || path.starts_with(&format!("{}/", room.path)))
        .max_by_key(|room| room.path.len())
}

/// Where a file stands in its crate, as a module path: `src/store/sqlite/mod.rs` gives `store/sqlite`.
fn module(path_in_src: &str) -> Vec<String> {
    let mut parts: Vec<String> = path_in_src.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// A path inside the crate without `crate`, `self` and `super`, or nothing when it leads elsewhere.
fn inside(path: &[String], module: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let from = module.len().checked_sub(up)?;
            Some([&module[..from], &path[up..]].concat())
        }
        _ => None,
    }
}

/// What one file does that its room does not allow.
fn faults_of(source: &Source, krate: &str, folder: &str, third_parties: &BTreeSet<String>) -> Vec<String> {
    let module = module(source.path.trim_start_matches(folder).trim_start_matches("/src/"));
    let Some(room) = room_of(krate, &module) else {
        return if module.is_empty() { Vec::new() } else { vec![format!("{}: no room of the table", source.path)] };
    };
    let mut faults = BTreeSet::new();
    for path in source.paths().into_iter().filter(|path| path.len() > 1) {
        let first = path[0].as_str();
        if let Some(target) = inside(&path, &module) {
            let other = room_of(krate, &target);
            let allowed = match other {
                Some(other) => {
                    let item = target.join("/");
                    other.path == room.path || room.may.contains(&other.path) || room.may.contains(&item.as_str())
                }
                // The crate's own root: only what lib.rs itself defines.
                None => room.may.contains(&"lib"),
            };
            if !allowed {
                faults.insert(format!("{}: {} may not see `{}`", source.path, room.path, path.join("::")));
            }
        } else if first.starts_with("errand_") {
            let full = path.join("::");
            if !room.may.iter().any(|prefix| full == *prefix || full.starts_with(&format!("{prefix}::"))) {
                faults.insert(format!("{}: {} may not see `{full}`", source.path, room.path));
            }
        } else if third_parties.contains(first) {
            let allowed = match room.outside {
                Outside::Only(names) => names.contains(&first),
                Outside::AllBut(names) => !names.contains(&first),
            };
            if !allowed {
                faults.insert(format!("{}: {} may not use the crate `{first}`", source.path, room.path));
            }
        }
    }
    faults.into_iter().collect()
}

#[test]
fn a_room_sees_only_the_rooms_that_the_table_allows() {
    let workspace = manifest("Cargo.toml");
    let third_parties: BTreeSet<String> = workspace["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(|name| name.replace('-', "_"))
        .filter(|name| !name.starts_with("errand_"))
        .collect();
    let mut faults = Vec::new();
    for row in CRATES.iter().filter(|row| ROOMS.iter().any(|room| room.crates.contains(&row.name))) {
        for source in sources(&[&format!("{}/src", row.folder)]).iter().filter(|source| !is_test_file(&source.path)) {
            faults.extend(faults_of(source, row.name, row.folder, &third_parties));
        }
    }
    none_of(&faults, "who may import whom is in tests/layout/table.rs");
}

#[test]
fn the_reader_of_imports_sees_through_nesting_comments_and_tests() {
    let text = r#"
        // use crate::hidden::Comment;
        use crate::{app::App, store::{self, sqlite::Sqlite}};
        const TEXT: &str = "use crate::hidden::Text";
        fn quote() -> (char, tonic::Code) { ('"', tonic::Code::Ok) }
        #[cfg(test)]
        mod tests { use crate::hidden::Test; }
        struct After<'a>(&'a super::domain::Task);
    "#;
    let source = Source::new(String::new(), text.to_owned());
    let paths: Vec<String> =
        source.paths().into_iter().filter(|path| path.len() > 1).map(|path| path.join("::")).collect();
    assert_eq!(
        paths,
        [
            "crate::app::App",
            "crate::store::self",
            "crate::store::sqlite::Sqlite",
            "tonic::Code",
            "tonic::Code::Ok",
            "super::domain::Task"
        ]
    );
    assert_eq!(source.literals().collect::<Vec<_>>(), ["use crate::hidden::Text"]);
    assert!(!source.calls_macro("todo"));
}

// === fuzzing ===

/// The packages of a lock file, by name, with their versions.
fn locked(path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lock = manifest(path);
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        packages.entry(text("name")).or_default().insert(text("version"));
    }
    packages
}

#[test]
fn what_is_fuzzed_is_what_is_shipped() {
    let (ours, fuzzed) = (locked("Cargo.lock"), locked("tests/fuzz/Cargo.lock"));
    let others = fuzzed.iter().filter_map(|(name, versions)| {
        let known = ours.get(name)?;
        (!versions.is_subset(known)).then(|| format!("{name}: {versions:?}, here {known:?}"))
    });
    none_of(&others.collect::<Vec<_>>(), "tests/fuzz/Cargo.lock has the versions of Cargo.lock: copy it and build");
}

#[test]
fn every_fuzz_target_begins_with_inputs_of_its_own() {
    let targets = files(&["tests/fuzz/fuzz_targets"]);
    let faults = targets.iter().filter_map(|path| {
        let name = path.rsplit('/').next()?.strip_suffix(".rs")?;
        let corpus = format!("tests/fuzz/corpus/{name}");
        files(&[&corpus]).is_empty().then(|| format!("{corpus} is empty"))
    });
    none_of(&faults.collect::<Vec<_>>(), "a target has a corpus");
    assert!(targets.len() > 9, "{targets:?}");
}

// === files ===

#[test]
fn no_file_is_longer_than_one_sitting() {
    let mut folders = CODE.to_vec();
    folders.extend(["migrations", "docs", ".ci"]);
    let ends = ["rs", "py", "sql", "proto", "md", "toml", "sh", "js"];
    let named = |path: &String| Path::new(path).extension().is_none_or(|end| ends.iter().any(|known| end == *known));
    let mut faults = Vec::new();
    for path in files(&folders).iter().filter(|path| named(path)) {
        let lines = fs::read_to_string(root().join(path)).map_or(0, |text| text.lines().count());
        if lines > MOST_LINES {
            faults.push(format!("{path} has {lines} lines"));
        }
    }
    none_of(&faults, "a file has at most 500 lines: split it by what it is about");
}

#[test]
fn every_name_says_what_is_inside() {
    const SAYS_NOTHING: [&str; 9] = ["common", "utils", "util", "helpers", "helper", "misc", "shared", "core", "stuff"];
    let mut faults = Vec::new();
    for path in files(&CODE) {
        let parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        faults.extend(parts.filter(|part| SAYS_NOTHING.contains(part)).map(|part| format!("{path}: {part}")));
    }
    none_of(&faults, "a file or folder is named by its job");
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let faults: Vec<String> = sources(&CODE)
        .iter()
        .filter(|source| !is_unit_test(&source.path) && !source.text.starts_with("//!"))
        .map(|source| source.path.clone())
        .collect();
    none_of(&faults, "a Rust file begins with its `//!` documentation");
}

#[test]
fn nothing_is_left_to_be_written() {
    let mut faults = Vec::new();
    for source in sources(&CODE) {
        let macros = ["todo", "unimplemented", "dbg"].into_iter().filter(|name| source.calls_macro(name));
        faults.extend(macros.map(|name| format!("{}: {name}!", source.path)));
        let text = source.text.lines().map(str::trim);
        faults.extend(text.filter(|line| line.starts_with("#[ignore")).map(|_| format!("{}: #[ignore]", source.path)));
    }
    none_of(&faults, "what is not built yet has no code");
}

// === migrations ===

#[test]
fn migrations_are_numbered_without_a_gap_and_every_one_is_in_the_binary() {
    let code: String = sources(&["services"]).into_iter().map(|source| source.text).collect();
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files(&["migrations"]).into_iter().filter(|path| path.ends_with(".sql")) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        folders.entry(folder.to_owned()).or_default().push(name.to_owned());
    }
    assert!(!folders.is_empty(), "the services have no migrations");
    let mut faults = Vec::new();
    for (folder, names) in &folders {
        for (index, name) in names.iter().enumerate() {
            let number = format!("{:04}_", index + 1);
            let words = name.trim_end_matches(".sql").trim_start_matches(&number);
            if !name.starts_with(&number)
                || words.is_empty()
                || !words.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            {
                faults.push(format!("{folder}/{name}: expected {number}<lower_case_words>.sql"));
            }
            if !code.contains(&format!("{folder}/{name}")) {
                faults.push(format!("{folder}/{name} is included by no code"));
            }
        }
        // Engines of one service have the same migrations.
        let (service, engine) = folder.rsplit_once('/').unwrap();
        for (other, twins) in
            folders.range(format!("{service}/")..).take_while(|(other, _)| other.starts_with(&format!("{service}/")))
        {
            if twins != names {
                faults.push(format!("{other} differs from {engine}"));
            }
        }
    }
    none_of(&faults, "migrations/<service>/<engine>/NNNN_name.sql");
}

#[test]
fn the_engines_of_a_service_are_built_alike() {
    let mut faults = Vec::new();
    for row in CRATES
        .iter()
        .filter(|row| ROOMS.iter().any(|room| room.path == "store/postgres" && room.crates.contains(&row.name)))
    {
        let names = |engine: &str| -> BTreeSet<String> {
            let folder = format!("{}/src/store/{engine}", row.folder);
            let paths = files(&[&folder]).into_iter().filter(|path| !is_unit_test(path));
            paths.map(|path| path.trim_start_matches(&folder).to_owned()).collect()
        };
        let (sqlite, postgres) = (names("sqlite"), names("postgres"));
        assert!(!sqlite.is_empty(), "{} has no store", row.folder);
        let differing = sqlite.symmetric_difference(&postgres);
        faults.extend(differing.map(|name| format!("{}/src/store/*{name} is there for one engine only", row.folder)));
    }
    none_of(&faults, "store/postgres mirrors store/sqlite file for file");
}

// === errors ===

fn is_reason(text: &str) -> bool {
    text.len() > 2
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && !text.ends_with('_')
}

/// A variable of the environment, ours or one that a standard names.
fn is_variable(word: &str) -> bool {
    ["ERRAND_", "OTEL_"].iter().any(|prefix| word.starts_with(prefix))
}

/// The first column of the tables of docs/errors.md: the reasons of errors, and those of their fields and of tool calls.
fn documented() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let (errors, details) = text.split_once("## Reasons of field violations").unwrap();
    let column = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        rows.map(|(cell, _)| cell.to_owned()).collect()
    };
    (column(errors), column(details))
}

/// The contracts, by path.
fn contracts() -> Vec<(String, String)> {
    let paths = files(&["proto/errand"]).into_iter().filter(|path| path.ends_with(".proto"));
    paths.map(|path| (path.clone(), fs::read_to_string(root().join(&path)).unwrap())).collect()
}

/// The values of the contracts' enums: words in capitals that are no reasons.
fn enum_values() -> BTreeSet<String> {
    let texts: Vec<String> = contracts().into_iter().map(|(_, text)| text).collect();
    let names = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.trim().split_once(" = "));
    names.map(|(name, _)| name.to_owned()).filter(|name| is_reason(name)).collect()
}

#[test]
fn the_page_of_errors_lists_exactly_the_reasons_in_the_code() {
    let ((errors, details), values) = (documented(), enum_values());
    let listed: BTreeSet<&str> = errors.union(&details).map(String::as_str).collect();
    let code: Vec<Source> = sources(&["proto", "services", "gateway"]);
    let code: Vec<&Source> = code.iter().filter(|source| !is_test_file(&source.path)).collect();
    let mut faults = BTreeSet::new();
    for source in &code {
        let words = source.literals().filter(|text| is_reason(text) && text.contains('_'));
        // A single word in capitals may be anything, unless it stands where a reason stands.
        let reasons = source.reasons().map(|(_, text)| text).filter(|text| is_reason(text)).chain(words);
        let unknown = reasons.filter(|word| !listed.contains(word) && !table::NO_REASON.contains(word));
        let unknown = unknown.filter(|word| !is_variable(word) && !values.contains(*word));
        faults.extend(unknown.map(|word| format!("{word} ({}) is not in docs/errors.md", source.path)));
    }
    let used: BTreeSet<&str> = code.iter().flat_map(|source| source.literals()).collect();
    faults.extend(listed.difference(&used).map(|word| format!("{word} is used by no code")));
    none_of(&faults.into_iter().collect::<Vec<_>>(), "docs/errors.md is the closed list of reasons");
}

#[test]
fn the_page_of_errors_gives_each_reason_the_code_that_it_is_sent_with() {
    let text = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let codes: BTreeMap<&str, &str> =
        rows.map(|(reason, rest)| (reason, rest.split([' ', '|']).next().unwrap())).collect();
    let mut faults = Vec::new();
    for source in sources(&["proto/src", "services", "gateway/src"]).iter().filter(|source| !is_test_file(&source.path))
    {
        for (code, reason) in source.reasons() {
            let code = code.map(str::to_uppercase);
            let said = codes.get(reason).map(|code| code.replace('_', ""));
            if code.is_some() && said.is_some() && code != said {
                faults.push(format!("{}: {reason} is sent as {code:?}, the page says {said:?}", source.path));
            }
        }
    }
    none_of(&faults, "docs/errors.md says the code of each reason");
}

#[test]
fn the_contracts_promise_only_reasons_that_exist() {
    let ((errors, _), values) = (documented(), enum_values());
    let mut faults = Vec::new();
    for (path, text) in contracts() {
        let comments = text.lines().filter_map(|line| line.trim().strip_prefix("//"));
        // Words to the linter are no promise.
        let comments = comments.filter(|line| !line.trim_start().starts_with("buf:lint:ignore"));
        let words = comments.flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
        let promised = words.filter(|word| is_reason(word) && word.contains('_') && !values.contains(*word));
        faults.extend(promised.filter(|word| !errors.contains(*word)).map(|word| format!("{path}: {word}")));
    }
    none_of(&faults, "a reason that a comment of the contract names is in docs/errors.md");
}
