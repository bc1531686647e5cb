//! The command line: what can be said, and what each saying runs.
//!
//! Settings are taken as text here and judged in [`crate::config`] together with those from the
//! environment and the file, so that all faults are reported at once.

use std::{ffi::OsString, fmt, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    commands,
    config::{
        Config,
        source::{Environment, Flags},
    },
    console,
    roles::Role,
};

/// Accounts, tasks and a chat assistant over gRPC and gRPC-Web, in one process.
#[derive(Debug, Parser)]
#[command(name = "errand", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Without a command, errand serves everything. Each setting is also a variable (ERRAND_…) \
and a line of the file that --config names: see `errand config print`.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve accounts, tasks and the assistant on one port (the default)
    Serve {
        /// A role to serve by itself
        roles: Vec<Role>,
    },
    /// Bring the data to this version's schema, or show which steps it has
    Migrate {
        #[command(subcommand)]
        action: Option<Migrate>,
    },
    /// Make a demo account with tasks and a conversation, through the public interface
    Seed(Seed),
    /// The keys that sign access tokens
    Keys {
        #[command(subcommand)]
        action: Keys,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        action: Configuration,
    },
    /// Ask a running server whether it serves: exit code 0 or 75
    Healthcheck {
        #[command(flatten)]
        target: Target,
    },
    /// The version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Migrate {
    /// Apply the missing steps (the default)
    Up,
    /// Show which steps were applied
    Status,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Keys {
    /// Show the keys, newest first
    List,
    /// Make a new key; it signs once every verifier had time to learn it
    Rotate,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Configuration {
    /// Show every setting as it holds and who set it; secrets as ***
    Print,
    /// Say whether the configuration is good: exit code 0 or 78
    Check,
}

/// Where a running server is.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where the server listens, such as http://127.0.0.1:8080; by default where `serve` would
    #[arg(long)]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Seed {
    #[command(flatten)]
    pub(crate) target: Target,
    /// The account's address
    #[arg(long, default_value = "demo@example.com")]
    pub(crate) email: String,
    /// The account's password; by default one is made and printed once
    #[arg(long)]
    pub(crate) password: Option<String>,
    /// The account's time zone
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub(crate) time_zone: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Settings {
    /// A configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the data is [default: ~/.local/share/errand]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve without TLS beyond this machine
    #[arg(long, global = true)]
    plaintext: bool,
    /// Browser origins that may call, with commas between, or * [default: pages of this machine]
    #[arg(long, global = true, value_name = "ORIGINS")]
    allowed_origins: Option<String>,
    /// Peers whose x-forwarded-for is believed: addresses or blocks, with commas between [default: none]
    #[arg(long, global = true, value_name = "NETWORKS")]
    trusted_proxies: Option<String>,
    /// Whether clients may ask what can be called [default: true]
    #[arg(long, global = true, value_name = "BOOL")]
    reflection: Option<String>,
    /// How long to serve on after health says NOT_SERVING [default: 0s]
    #[arg(long, global = true, value_name = "TIME")]
    shutdown_delay: Option<String>,
    /// How long running calls may take to finish after that [default: 10s]
    #[arg(long, global = true, value_name = "TIME")]
    drain_deadline: Option<String>,
    /// Connections at a time [default: 10000]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_connections: Option<String>,
    /// Concurrent calls of one connection [default: 100]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_streams: Option<String>,
    /// Answers that the assistant works on at a time [default: 256]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_turns: Option<String>,
    /// Memory of one password hash [default and at least: 19MiB]
    #[arg(long, global = true, value_name = "SIZE")]
    password_memory: Option<String>,
    /// Passes of one password hash [default and at least: 2]
    #[arg(long, global = true, value_name = "NUMBER")]
    password_passes: Option<String>,
    /// Sign-ups a minute for one e-mail address [default: 5]
    #[arg(long, global = true, value_name = "NUMBER")]
    sign_ups_per_email: Option<String>,
    /// Sign-ups a minute from one network address [default: 20]
    #[arg(long, global = true, value_name = "NUMBER")]
    sign_ups_per_address: Option<String>,
    /// What to log: a level, or a list such as info,errand_chat=debug [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// How to log: auto, pretty or json [default: auto]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whose turn it is to act.
    pub(crate) kind: Kind,
    /// What happened and what to do next.
    pub(crate) message: String,
}

/// The exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was tried and it failed.
    Failed,
    /// It can not be asked like this.
    Usage,
    /// Something that is needed is not ready; trying later may help.
    NotReady,
    /// The configuration is wrong.
    Configuration,
}

/// Reads the command line, runs what it says and answers the exit code.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>, environment: &dyn Environment) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, everything else to stderr with code 2.
            _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.execute(environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::complain(&failure.message);
            ExitCode::from(failure.kind.code())
        }
    }
}

// === impl Cli ===

impl Cli {
    fn execute(self, environment: &dyn Environment) -> Result<(), Failure> {
        let command = self.command.unwrap_or(Command::Serve { roles: Vec::new() });
        match &command {
            Command::Serve { roles } if !roles.is_empty() => return Err(commands::serve::alone(roles)),
            Command::Version { json } => return commands::version::run(*json),
            _ => {}
        }
        let config = Config::load(environment, self.settings.into_flags()).map_err(|faults| refused(&faults))?;
        match command {
            Command::Serve { .. } => commands::serve::run(&config),
            Command::Migrate { action } => commands::migrate::run(&config, action.unwrap_or(Migrate::Up)),
            Command::Seed(seed) => commands::seed::run(&config, &seed),
            Command::Keys { action } => commands::keys::run(&config, action),
            Command::Config { action: Configuration::Print } => commands::config::print(&config),
            Command::Config { action: Configuration::Check } => commands::config::check(),
            Command::Healthcheck { target } => commands::healthcheck::run(&config, &target),
            Command::Version { json } => commands::version::run(json),
        }
    }
}

fn refused(faults: &[String]) -> Failure {
    let message = match faults {
        [only] => format!("the configuration is wrong: {only}"),
        several => format!("the configuration is wrong in {} places:\n  {}", several.len(), several.join("\n  ")),
    };
    Failure::new(Kind::Configuration, message)
}

// === impl Settings ===

impl Settings {
    fn into_flags(self) -> Flags {
        let path = |path: Option<PathBuf>| path.map(|path| path.to_string_lossy().into_owned());
        let given = [
            ("ERRAND_CONFIG", path(self.config)),
            ("ERRAND_DATA_DIR", path(self.data_dir)),
            ("ERRAND_LISTEN", self.listen),
            ("ERRAND_PLAINTEXT", self.plaintext.then(|| true.to_string())),
            ("ERRAND_ALLOWED_ORIGINS", self.allowed_origins),
            ("ERRAND_TRUSTED_PROXIES", self.trusted_proxies),
            ("ERRAND_REFLECTION", self.reflection),
            ("ERRAND_SHUTDOWN_DELAY", self.shutdown_delay),
            ("ERRAND_DRAIN_DEADLINE", self.drain_deadline),
            ("ERRAND_MAX_CONNECTIONS", self.max_connections),
            ("ERRAND_MAX_STREAMS", self.max_streams),
            ("ERRAND_MAX_TURNS", self.max_turns),
            ("ERRAND_PASSWORD_MEMORY", self.password_memory),
            ("ERRAND_PASSWORD_PASSES", self.password_passes),
            ("ERRAND_SIGN_UPS_PER_EMAIL", self.sign_ups_per_email),
            ("ERRAND_SIGN_UPS_PER_ADDRESS", self.sign_ups_per_address),
            ("ERRAND_LOG", self.log),
            ("ERRAND_LOG_FORMAT", self.log_format),
        ];
        given.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

// === impl Failure ===

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}

// === impl Kind ===

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotReady => 75,
            Self::Configuration => 78,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_and_after_the_command() {
        for arguments in
            [["errand", "--listen", "127.0.0.1:0", "serve"], ["errand", "serve", "--listen", "127.0.0.1:0"]]
        {
            let cli = Cli::try_parse_from(arguments).unwrap();
            assert_eq!(cli.settings.into_flags(), [("ERRAND_LISTEN", "127.0.0.1:0".to_owned())]);
        }
    }
}
