//! Where settings come from: flag > environment > file > default.
//!
//! The only module that reads the environment, behind [`Environment`] so that tests fake it. It
//! collects every fault instead of stopping at the first, remembers which names were asked for, and
//! so knows which of the given ones mean nothing. Which settings exist is said in the parent.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::value::Value;

/// What the process is given from outside.
pub(crate) trait Environment {
    /// All variables.
    fn variables(&self) -> Vec<(OsString, OsString)>;

    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// The environment of this process.
#[derive(Debug)]
pub(crate) struct Process;

/// The names of one setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The section of the file, and the key in it.
    pub(crate) key: (&'static str, &'static str),
    /// The environment variable.
    pub(crate) variable: &'static str,
}

/// Settings given on the command line: the variable's name and the text.
pub(crate) type Flags = Vec<(&'static str, String)>;

/// Who had the last word on a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag,
    /// A variable.
    Variable(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody: the default.
    Default,
}

/// A setting as it holds, for `config print`.
#[derive(Debug)]
pub(crate) struct Effective {
    /// The section and key.
    pub(crate) key: (&'static str, &'static str),
    /// The value; `***` for a secret, nothing for what was not set and has no default.
    pub(crate) value: Option<toml::Value>,
    /// Who set it.
    pub(crate) origin: Origin,
}

/// All sources, while they are being read.
pub(crate) struct Sources<'a> {
    environment: &'a dyn Environment,
    flags: BTreeMap<&'static str, String>,
    variables: BTreeMap<String, String>,
    file: Option<(PathBuf, toml::Table)>,
    asked_variables: BTreeSet<String>,
    asked_keys: BTreeSet<(&'static str, String)>,
    faults: Vec<String>,
    effective: Vec<Effective>,
}

/// Our variables start so, and no one else's do.
const PREFIX: &str = "ERRAND_";

/// Names the configuration file.
const CONFIG_FILE: &str = "ERRAND_CONFIG";

// === impl Process ===

impl Environment for Process {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

// === impl Sources ===

impl<'a> Sources<'a> {
    /// Gathers what was given; faults are kept for [`Sources::finish`].
    pub(crate) fn gather(environment: &'a dyn Environment, flags: Flags) -> Self {
        let mut sources = Self {
            environment,
            flags: flags.into_iter().collect(),
            variables: BTreeMap::new(),
            file: None,
            asked_variables: BTreeSet::from([CONFIG_FILE.to_owned()]),
            asked_keys: BTreeSet::new(),
            faults: Vec::new(),
            effective: Vec::new(),
        };
        for (name, value) in environment.variables() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => _ = sources.variables.insert(name, value),
                Err(_) if name.starts_with(PREFIX) => sources.fault(format!("{name}: the value is not UTF-8")),
                Err(_) => {}
            }
        }
        let path = sources.flags.get(CONFIG_FILE).or_else(|| sources.variables.get(CONFIG_FILE)).map(PathBuf::from);
        if let Some(path) = path {
            sources.open_file(path);
        }
        sources
    }

    fn open_file(&mut self, path: PathBuf) {
        let table = match self.environment.read(&path) {
            Ok(text) => text.parse::<toml::Table>().map_err(|error| error.to_string().trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match table {
            Ok(table) => self.file = Some((path, table)),
            Err(error) => self.fault(format!("{}: {error}", path.display())),
        }
    }

    /// Notes that something is wrong.
    pub(crate) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// The text of a file that a setting names.
    pub(crate) fn file(&self, path: &Path) -> io::Result<String> {
        self.environment.read(path)
    }

    /// A variable that is not ours, such as `HOME`.
    pub(crate) fn foreign(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of a setting.
    pub(crate) fn value<T: Value>(&mut self, setting: Setting, default: T) -> T {
        let mut origin = Origin::Default;
        let mut value = default;
        if let Some((text, said_by)) = self.text(setting) {
            match T::read(&text) {
                Some(given) => (value, origin) = (given, said_by),
                None => self.fault(format!("{}: `{text}` is not {}", said_by.names(setting), T::EXPECTED)),
            }
        }
        self.effective.push(Effective { key: setting.key, value: Some(value.show()), origin });
        value
    }

    /// The value of a setting that has no default.
    pub(crate) fn optional<T: Value>(&mut self, setting: Setting) -> Option<T> {
        let (mut value, mut origin) = (None, Origin::Default);
        if let Some((text, said_by)) = self.text(setting) {
            value = T::read(&text);
            if value.is_none() {
                self.fault(format!("{}: `{text}` is not {}", said_by.names(setting), T::EXPECTED));
            }
            origin = said_by;
        }
        self.effective.push(Effective { key: setting.key, value: value.as_ref().map(T::show), origin });
        value
    }

    /// The value of a secret, given as itself or as the path of a file that holds it.
    pub(crate) fn secret(&mut self, setting: Setting) -> Option<SecretString> {
        let found = self.find_secret(setting);
        let (value, origin) = match &found {
            Some((_, origin)) => (Some("***".into()), origin.clone()),
            None => (None, Origin::Default),
        };
        self.effective.push(Effective { key: setting.key, value, origin });
        found.map(|(secret, _)| secret)
    }

    fn find_secret(&mut self, setting: Setting) -> Option<(SecretString, Origin)> {
        let (section, key) = setting.key;
        let (path_variable, path_key) = (format!("{}_FILE", setting.variable), format!("{key}_file"));
        self.asked_variables.extend([setting.variable.to_owned(), path_variable.clone()]);
        self.asked_keys.extend([(section, key.to_owned()), (section, path_key.clone())]);

        let from_variables =
            (self.variables.get(setting.variable).cloned(), self.variables.get(&path_variable).cloned());
        let (plain, path, origin) = match (from_variables, self.file.as_ref()) {
            ((None, None), None) => return None,
            ((None, None), Some((file, table))) => {
                let entry = |key: &str| Some(plain(table.get(section)?.get(key)?));
                (entry(key), entry(&path_key), Origin::File(file.clone()))
            }
            ((plain, path), _) => {
                let name = if plain.is_some() { setting.variable } else { &path_variable };
                (plain, path, Origin::Variable(name.to_owned()))
            }
        };
        let name = origin.names(setting);
        let text = match (plain, path) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.fault(format!("{name}: give the secret or the file that holds it, not both"));
                return None;
            }
            (Some(text), None) => text,
            (None, Some(path)) => match self.environment.read(Path::new(&path)) {
                Ok(text) => text,
                Err(error) => {
                    self.fault(format!("{name}: {path}: {error}"));
                    return None;
                }
            },
        };
        Some((SecretString::from(text.trim_end_matches(['\r', '\n'])), origin))
    }

    /// The text of a setting and who said it.
    fn text(&mut self, setting: Setting) -> Option<(String, Origin)> {
        let (section, key) = setting.key;
        self.asked_variables.insert(setting.variable.to_owned());
        self.asked_keys.insert((section, key.to_owned()));
        if let Some(text) = self.flags.get(setting.variable) {
            return Some((text.clone(), Origin::Flag));
        }
        if let Some(text) = self.variables.get(setting.variable) {
            return Some((text.clone(), Origin::Variable(setting.variable.to_owned())));
        }
        let (path, table) = self.file.as_ref()?;
        let value = table.get(section)?.get(key)?;
        Some((plain(value), Origin::File(path.clone())))
    }

    /// Everything as it holds, or everything that is wrong.
    pub(crate) fn finish(mut self) -> Result<Vec<Effective>, Vec<String>> {
        self.refuse_unknown_variables();
        self.refuse_unknown_keys();
        if self.faults.is_empty() { Ok(self.effective) } else { Err(self.faults) }
    }

    fn refuse_unknown_variables(&mut self) {
        let ours = self.variables.keys().filter(|name| name.starts_with(PREFIX));
        for name in ours.filter(|name| !self.asked_variables.contains(*name)) {
            let known = self.asked_variables.iter().map(String::as_str);
            self.faults.push(format!("{name}: there is no such variable{}", suggestion(name, known)));
        }
    }

    fn refuse_unknown_keys(&mut self) {
        let Some((path, table)) = &self.file else { return };
        let path = path.display();
        let sections: BTreeSet<&str> = self.asked_keys.iter().map(|(section, _)| *section).collect();
        for (section, content) in table {
            if !sections.contains(section.as_str()) {
                let nearest = suggestion(section, sections.iter().copied());
                self.faults.push(format!("{path}: there is no section [{section}]{nearest}"));
                continue;
            }
            let Some(content) = content.as_table() else {
                self.faults.push(format!("{path}: {section} is a section: write [{section}] above its settings"));
                continue;
            };
            let known = || self.asked_keys.iter().filter(|(of, _)| of == section).map(|(_, key)| key.as_str());
            for key in content.keys().filter(|key| !known().any(|name| name == key.as_str())) {
                let nearest = suggestion(key, known());
                self.faults.push(format!("{path}: there is no setting {section}.{key}{nearest}"));
            }
        }
    }
}

// === impl Origin ===

impl Origin {
    /// How a fault names the setting, so that the reader finds the place.
    fn names(&self, setting: Setting) -> String {
        match self {
            Self::Flag => {
                format!("--{}", setting.variable.trim_start_matches(PREFIX).to_lowercase().replace('_', "-"))
            }
            Self::Variable(name) => name.clone(),
            Self::File(path) => format!("{}: {}.{}", path.display(), setting.key.0, setting.key.1),
            Self::Default => setting.variable.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value of the file as the text that a flag or variable would give.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// "; did you mean …?" when a known name is near.
fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let nearest = known.map(|candidate| (distance(name, candidate), candidate)).min();
    match nearest {
        Some((away, candidate)) if away <= (name.len() / 3).max(2) => format!("; did you mean {candidate}?"),
        _ => String::new(),
    }
}

/// How many letters must be added, dropped, changed or swapped to make one name from the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1; to.len() + 1];
        for (j, b) in to.iter().enumerate() {
            let change = last[j] + usize::from(a != b);
            row[j + 1] = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_a_swap_as_one() {
        assert_eq!(distance("LISTEN", "LISTEN"), 0);
        assert_eq!(distance("LISTNE", "LISTEN"), 1);
        assert_eq!(distance("LISEN", "LISTEN"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["ERRAND_LISTEN", "ERRAND_LOG"];
        assert_eq!(suggestion("ERRAND_LISTNE", known.into_iter()), "; did you mean ERRAND_LISTEN?");
        assert_eq!(suggestion("ERRAND_SOMETHING_ELSE_ENTIRELY", known.into_iter()), "");
    }
}
