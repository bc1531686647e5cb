//! Which cases of the battery have a test, read from the names of the tests.
//!
//! The battery is the list of reliability and security cases R-001 to R-132; a test that covers one carries its id in
//! its name, as in `r_024_parallel_refresh_has_one_winner`. To see the list:
//! `cargo test -p errand --test battery_index -- --nocapture`. Whether a test proves its case is for a reader to judge.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may be blunt")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
};

/// The parts of the battery.
const PARTS: [(&str, RangeInclusive<u16>); 13] = [
    ("authentication", 1..=14),
    ("tokens", 15..=34),
    ("isolation", 35..=45),
    ("input", 46..=63),
    ("idempotency", 64..=69),
    ("concurrency", 70..=77),
    ("rate limits", 78..=83),
    ("transport", 84..=99),
    ("crash safety", 100..=109),
    ("overload", 110..=113),
    ("shutdown", 114..=116),
    ("dependencies and the assistant", 117..=130),
    ("supply chain and secrets", 131..=132),
];

/// How many cases have a test at least; raised as cases are added, never lowered.
const FLOOR: usize = 98;

/// A test as the battery sees it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    name: String,
    /// Whether it is known to fail, because what it asks for is not built yet.
    waits: bool,
}

/// The tests of a file that name cases.
fn tests(path: &str, text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    let mut waits = false;
    for line in text.lines().map(str::trim) {
        let name = if path.ends_with(".py") {
            waits |= line.starts_with("@pytest.mark.xfail") || line.starts_with("@pytest.mark.skip");
            line.split("def ").nth(1).filter(|_| line.starts_with("def ") || line.starts_with("async def "))
        } else {
            waits |= line.starts_with("#[ignore");
            line.split("fn ").nth(1).filter(|_| !line.starts_with("//"))
        };
        if let Some(name) = name {
            let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            found.push(Test { name: name.to_owned(), waits });
            waits = false;
        }
    }
    found.retain(|test| !ids(&test.name).is_empty());
    found
}

/// The ids in a name: `test_r_034_and_r_132_tokens` has two.
fn ids(name: &str) -> Vec<u16> {
    let words: Vec<&str> = name.split('_').collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "r" && pair[1].len() == 3);
    pairs.filter_map(|pair| pair[1].parse().ok()).collect()
}

/// Every source file below a folder, with its text; built files and other people's left out.
fn read(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules", "third_party"].contains(&name.as_str()) {
                read(&path, into);
            }
        } else if name.ends_with(".rs") || name.ends_with(".py") {
            into.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Every case that a name mentions, with its tests.
fn index() -> BTreeMap<u16, BTreeSet<Test>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut files = Vec::new();
    for folder in ["proto", "services", "gateway", "tests"] {
        read(&root.join(folder), &mut files);
    }
    let mut index: BTreeMap<u16, BTreeSet<Test>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with("battery_index.rs")) {
        for test in tests(path, text) {
            for id in ids(&test.name) {
                index.entry(id).or_default().insert(Test { name: test.name.clone(), waits: test.waits });
            }
        }
    }
    index
}

fn list(ids: &[u16]) -> String {
    ids.iter().map(|id| format!("R-{id:03}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_id_in_a_name_is_one_of_the_battery_and_no_case_loses_its_tests() {
    let index = index();
    let known = PARTS.iter().flat_map(|(_, range)| range.clone()).collect::<BTreeSet<_>>();
    let strangers: Vec<_> = index.iter().filter(|(id, _)| !known.contains(id)).collect();
    assert!(strangers.is_empty(), "no such case: {strangers:?}");

    for (part, range) in PARTS {
        let (with, without): (Vec<u16>, Vec<u16>) = range.partition(|id| index.contains_key(id));
        println!("{part}: {} of {}", with.len(), with.len() + without.len());
        println!("  with a test: {}", list(&with));
        println!("  without:     {}", list(&without));
    }
    for (id, test) in index.iter().flat_map(|(id, tests)| tests.iter().map(move |test| (id, test))) {
        if test.waits {
            println!("R-{id:03} waits: {}", test.name);
        }
    }
    let covered = index.values().filter(|tests| tests.iter().any(|test| !test.waits)).count();
    println!("{covered} of {} cases have a test that passes", known.len());
    assert!(covered >= FLOOR, "{covered} cases have a test, and {FLOOR} had one before");
}

#[test]
fn the_parts_are_the_whole_battery_without_a_gap() {
    let all: Vec<u16> = PARTS.iter().flat_map(|(_, range)| range.clone()).collect();
    assert_eq!(all, (1..=132).collect::<Vec<_>>());
}

#[test]
fn names_are_read_in_both_languages() {
    let rust = "#[test]\nfn r_001_one() {}\n// fn r_002_two()\n#[ignore]\nasync fn r_003_x<T>() {}\nfn r_04_short() {}";
    let python = "def test_r_034_and_r_132_log(): pass\n@pytest.mark.xfail(strict=True)\ndef test_r_107_x(a):";
    let test = |name: &str, waits| Test { name: name.to_owned(), waits };
    assert_eq!(tests("x.rs", rust), [test("r_001_one", false), test("r_003_x", true)]);
    assert_eq!(tests("x.py", python), [test("test_r_034_and_r_132_log", false), test("test_r_107_x", true)]);
    assert_eq!(ids("test_r_034_and_r_132_log"), [34, 132]);
}
