//! The configuration from any environment and any file: it holds, or everything that is wrong with it is said.

#![no_main]

#[path = "../../../services/errand/src/config/mod.rs"]
#[expect(dead_code, reason = "the program uses all of it")]
mod config;
#[path = "../../../services/errand/src/roles.rs"]
#[expect(dead_code, reason = "the program uses all of it")]
mod roles;

use std::{ffi::OsString, fmt::Write, io, path::Path};

use arbitrary::Arbitrary;
use config::{
    Config,
    source::{Effective, Environment},
};
use libfuzzer_sys::fuzz_target;

/// What a process is given.
#[derive(Debug, Arbitrary)]
struct Given<'a> {
    variables: Vec<(Name<'a>, &'a str)>,
    flags: Vec<(u8, &'a str)>,
    /// Settings of the file, by section and key.
    settings: Vec<(u8, &'a str)>,
    /// Anything else in it.
    file: &'a str,
}

/// The name of a variable.
#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Known(u8),
    Secret(u8),
    Foreign(u8),
    Other(&'a str),
}

/// Settings that have a section, a key and a variable.
const SETTINGS: [(&str, &str, &str); 25] = [
    ("server", "listen", "ERRAND_LISTEN"),
    ("server", "allowed_origins", "ERRAND_ALLOWED_ORIGINS"),
    ("server", "trusted_proxies", "ERRAND_TRUSTED_PROXIES"),
    ("server", "reflection", "ERRAND_REFLECTION"),
    ("server", "plaintext", "ERRAND_PLAINTEXT"),
    ("server", "shutdown_delay", "ERRAND_SHUTDOWN_DELAY"),
    ("server", "drain_deadline", "ERRAND_DRAIN_DEADLINE"),
    ("limits", "max_connections", "ERRAND_MAX_CONNECTIONS"),
    ("limits", "max_streams", "ERRAND_MAX_STREAMS"),
    ("limits", "connection_age", "ERRAND_CONNECTION_AGE"),
    ("limits", "max_turns", "ERRAND_MAX_TURNS"),
    ("limits", "user_rates", "ERRAND_USER_RATES"),
    ("limits", "address_rates", "ERRAND_ADDRESS_RATES"),
    ("limits", "replicas", "ERRAND_REPLICAS"),
    ("limits", "tool_policy", "ERRAND_TOOL_POLICY"),
    ("data", "dir", "ERRAND_DATA_DIR"),
    ("auth", "password_memory", "ERRAND_PASSWORD_MEMORY"),
    ("auth", "password_passes", "ERRAND_PASSWORD_PASSES"),
    ("auth", "sign_ups_per_email", "ERRAND_SIGN_UPS_PER_EMAIL"),
    ("log", "filter", "ERRAND_LOG"),
    ("log", "format", "ERRAND_LOG_FORMAT"),
    ("peers", "auth", "ERRAND_AUTH_URL"),
    ("peers", "task", "ERRAND_TASK_URL"),
    ("llm", "base_url", "ERRAND_LLM_BASE_URL"),
    ("llm", "model", "ERRAND_LLM_MODEL"),
];
const SECRETS: [&str; 3] = ["ERRAND_SECRET_KEY", "ERRAND_LLM_API_KEY", "ERRAND_DATABASE_URL"];
const FOREIGN: [&str; 5] =
    ["HOME", "NO_COLOR", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_PROPAGATORS", "OTEL_TRACES_EXPORTER"];
const FILE: &str = "ERRAND_CONFIG";

/// A faked environment.
#[derive(Default)]
struct Fake {
    variables: Vec<(OsString, OsString)>,
    file: String,
}

impl Environment for Fake {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        self.variables.clone()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        if path == Path::new("file") { Ok(self.file.clone()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fuzz_target!(|given: Given| {
    let mut fake = Fake { file: given.file.to_owned(), variables: vec![(FILE.into(), "file".into())] };
    for (number, text) in given.settings {
        let (section, key, _) = SETTINGS[usize::from(number) % SETTINGS.len()];
        _ = writeln!(fake.file, "\n{section}.{key} = {}", toml::Value::from(text));
    }
    let mut secrets = Vec::new();
    for (name, text) in given.variables {
        let name = match name {
            Name::Known(number) => SETTINGS[usize::from(number) % SETTINGS.len()].2.to_owned(),
            Name::Foreign(number) => FOREIGN[usize::from(number) % FOREIGN.len()].to_owned(),
            Name::Secret(number) => {
                secrets.push(text);
                SECRETS[usize::from(number) % SECRETS.len()].to_owned()
            }
            Name::Other(name) if !name.is_empty() && name != FILE => name.to_owned(),
            Name::Other(_) => continue,
        };
        fake.variables.push((name.into(), text.into()));
    }
    let flags = given
        .flags
        .into_iter()
        .map(|(number, text)| (SETTINGS[usize::from(number) % SETTINGS.len()].2, text.to_owned()));
    match Config::load(&fake, flags.collect()) {
        Ok(config) => {
            let shown = printed(&config.effective);
            for secret in secrets.into_iter().filter(|secret| secret.len() >= 32) {
                assert!(!shown.contains(secret), "a secret is shown");
            }
            again(&config);
        }
        Err(faults) => assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.is_empty())),
    }
});

/// What is printed is a file that sets everything as it is.
fn again(config: &Config) {
    let is_said = |effective: &&Effective| effective.value.as_ref().is_some_and(|value| value.as_str() != Some("***"));
    let mut file = String::new();
    for effective in config.effective.iter().filter(is_said) {
        let (section, key) = effective.key;
        let value = effective.value.as_ref().map(ToString::to_string).unwrap_or_default();
        _ = writeln!(file, "{section}.{key} = {value}");
    }
    let fake = Fake { file, variables: vec![(FILE.into(), "file".into())] };
    match Config::load(&fake, Vec::new()) {
        Ok(second) => {
            let said = |config: &Config| -> Vec<_> {
                config.effective.iter().filter(is_said).map(|one| (one.key, one.value.clone())).collect()
            };
            assert_eq!(said(&second), said(config), "{}", fake.file);
        }
        // A model without its key may be one that can not be used, a database without its address none.
        Err(faults) => {
            let about_secrets =
                |fault: &String| ["llm", "LLM", "language model", "DATABASE"].iter().any(|word| fault.contains(word));
            assert!(faults.iter().all(about_secrets), "{faults:?}\n{}", fake.file);
        }
    }
}

fn printed(effective: &[Effective]) -> String {
    let values = effective.iter().map(|one| format!("{:?} {:?}\n", one.key, one.value));
    values.collect()
}
