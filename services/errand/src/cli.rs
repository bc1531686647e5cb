//! The command line: what can be said, and what each saying runs.
//!
//! Settings are taken as text here and judged in [`crate::config`] together with those from the
//! environment and the file, so that all faults are reported at once.

mod llm;
mod replay;

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
use llm::LlmSettings;

pub(crate) use replay::Replay;

/// Accounts, tasks and a chat assistant over gRPC and gRPC-Web, in one process or in several.
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
    /// Serve accounts, tasks and the assistant on one port (the default), or some roles of them
    Serve {
        /// The roles to serve, of auth, task, chat and gateway; the others are called where their targets say
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
    /// Look whether a database, its roles and its policies are as they should be, and the peers there
    Doctor,
    /// Copy everything from a data folder to PostgreSQL
    Copy(Copying),
    /// Accounts, for who operates the service
    Users {
        #[command(subcommand)]
        action: Users,
    },
    /// The language model that the assistant thinks with
    Llm {
        #[command(subcommand)]
        action: Llm,
    },
    /// Run a conversation again against another model, without doing anything, and show where it would call other tools:
    /// exit code 0 when it would not, 1 when it would
    Replay(Replay),
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
    /// Print the OpenAPI 3.1 document of the REST interface
    Openapi,
    /// Print the descriptor set of the contracts (a google.protobuf.FileDescriptorSet), for Envoy and other programs
    Descriptors,
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
    /// Show the statements of the missing steps
    Plan,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Keys {
    /// Show the keys, newest first
    List,
    /// Make a new key; it signs once every verifier had time to learn it
    Rotate,
}

/// From where to where.
#[derive(Debug, Args)]
pub(crate) struct Copying {
    /// What to read: sqlite:/folder, with nobody serving it
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: String,
    /// What to write, migrated and without accounts: postgres://errand_migrate@host/database. By default what
    /// ERRAND_DATABASE_URL says, or the URL of each service, where they have databases of their own
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Show the accounts
    List,
    /// Keep an account from signing in, and end its sessions
    Disable {
        /// The account's address or id
        user: String,
    },
    /// Let an account sign in again
    Enable {
        /// The account's address or id
        user: String,
    },
    /// Give an account a new password, which is printed once, and end its sessions
    ResetPassword {
        /// The account's address or id
        user: String,
    },
    /// Make accounts from a file with one JSON object a line
    Import {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Llm {
    /// Ask it for its models, for words and for a call of a tool, and say what works: exit code 0, 1, 75 or 78
    Check,
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
    /// Where the server listens, such as http://127.0.0.1:8080, https://… or unix:/path; by default where
    /// `serve` would
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
    /// Where to listen, an address with port (0 for a free one) or unix:/path [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serve without TLS beyond this machine
    #[arg(long, global = true)]
    plaintext: bool,
    /// Serve with TLS: the certificates (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Their key (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Let in only who shows a certificate of these (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Where auth is when it runs apart [default: 127.0.0.1:50051]
    #[arg(long, global = true, value_name = "TARGETS")]
    auth_target: Option<String>,
    /// Where task is [default: 127.0.0.1:50052]
    #[arg(long, global = true, value_name = "TARGETS")]
    task_target: Option<String>,
    /// Where chat is [default: 127.0.0.1:50053]
    #[arg(long, global = true, value_name = "TARGETS")]
    chat_target: Option<String>,
    /// Call the other roles with TLS, and trust these (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    peer_tls_ca: Option<PathBuf>,
    /// The certificates to show them (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    peer_tls_cert: Option<PathBuf>,
    /// Their key (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    peer_tls_key: Option<PathBuf>,
    /// Whether the database is reached through a pooler in transaction mode [default: false]
    #[arg(long, global = true, value_name = "BOOL")]
    database_pooler: Option<String>,
    /// Connections to the database, for each service [default: 10]
    #[arg(long, global = true, value_name = "NUMBER")]
    database_connections: Option<String>,
    /// How long a call waits for one [default: 3s]
    #[arg(long, global = true, value_name = "TIME")]
    database_acquire_timeout: Option<String>,
    /// Wait for the database and its schema, 30s unless a time is given [default: not at all]
    #[arg(long, global = true, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s")]
    wait_for_migrations: Option<String>,
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
    /// Connections of one network address at the gateway [default: 1000]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_connections_per_address: Option<String>,
    /// Concurrent calls of one connection [default: 100 at the gateway, 10000 between roles]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_streams: Option<String>,
    /// After how long a connection is asked to end [default: 5m at the gateway, 30m between roles]
    #[arg(long, global = true, value_name = "TIME")]
    connection_age: Option<String>,
    /// Answers that the assistant works on at a time [default: 256]
    #[arg(long, global = true, value_name = "NUMBER")]
    max_turns: Option<String>,
    /// How often a user may call, by rate class, such as read=100/s:500,write=off, or off
    #[arg(long, global = true, value_name = "LIMITS")]
    user_rates: Option<String>,
    /// How often may be called from one network address
    #[arg(long, global = true, value_name = "LIMITS")]
    address_rates: Option<String>,
    /// How many gateways share these limits [default: 1]
    #[arg(long, global = true, value_name = "NUMBER")]
    replicas: Option<String>,
    /// What the assistant's tools may do, where that is less than they may anyway, such as delete_tasks=deny.
    #[arg(long, value_name = "LIST")]
    tool_policy: Option<String>,
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
    #[command(flatten)]
    llm: LlmSettings,
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
        // What says the same whatever is set.
        match command {
            Command::Version { json } => return commands::version::run(json),
            Command::Openapi => return commands::openapi::run(),
            Command::Descriptors => return commands::descriptors::run(),
            _ => {}
        }
        let config = Config::load(environment, self.settings.into_flags()).map_err(|faults| refused(&faults))?;
        match command {
            Command::Serve { roles } => commands::serve::run(&config, &roles),
            Command::Migrate { action } => commands::migrate::run(&config, action.unwrap_or(Migrate::Up)),
            Command::Seed(seed) => commands::seed::run(&config, &seed),
            Command::Keys { action } => commands::keys::run(&config, action),
            Command::Doctor => commands::doctor::run(&config),
            Command::Copy(copy) => commands::copy::run(&config, &copy),
            Command::Users { action } => commands::users::run(&config, &action),
            Command::Llm { action: Llm::Check } => commands::llm::check(&config),
            Command::Replay(replay) => commands::replay::run(&config, &replay),
            Command::Config { action: Configuration::Print } => commands::config::print(&config),
            Command::Config { action: Configuration::Check } => commands::config::check(),
            Command::Healthcheck { target } => commands::healthcheck::run(&config, &target),
            Command::Openapi => commands::openapi::run(),
            Command::Descriptors => commands::descriptors::run(),
            Command::Version { json } => commands::version::run(json),
        }
    }
}

/// A configuration that is wrong or lacks something.
pub(crate) fn refused(faults: &[String]) -> Failure {
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
        let llm = self.llm.given();
        let given = [
            ("ERRAND_CONFIG", path(self.config)),
            ("ERRAND_DATA_DIR", path(self.data_dir)),
            ("ERRAND_LISTEN", self.listen),
            ("ERRAND_PLAINTEXT", self.plaintext.then(|| true.to_string())),
            ("ERRAND_TLS_CERT", path(self.tls_cert)),
            ("ERRAND_TLS_KEY", path(self.tls_key)),
            ("ERRAND_TLS_CLIENT_CA", path(self.tls_client_ca)),
            ("ERRAND_AUTH_TARGET", self.auth_target),
            ("ERRAND_TASK_TARGET", self.task_target),
            ("ERRAND_CHAT_TARGET", self.chat_target),
            ("ERRAND_PEER_TLS_CA", path(self.peer_tls_ca)),
            ("ERRAND_PEER_TLS_CERT", path(self.peer_tls_cert)),
            ("ERRAND_PEER_TLS_KEY", path(self.peer_tls_key)),
            ("ERRAND_DATABASE_POOLER", self.database_pooler),
            ("ERRAND_DATABASE_CONNECTIONS", self.database_connections),
            ("ERRAND_DATABASE_ACQUIRE_TIMEOUT", self.database_acquire_timeout),
            ("ERRAND_WAIT_FOR_MIGRATIONS", self.wait_for_migrations),
            ("ERRAND_CONNECTION_AGE", self.connection_age),
            ("ERRAND_ALLOWED_ORIGINS", self.allowed_origins),
            ("ERRAND_TRUSTED_PROXIES", self.trusted_proxies),
            ("ERRAND_REFLECTION", self.reflection),
            ("ERRAND_SHUTDOWN_DELAY", self.shutdown_delay),
            ("ERRAND_DRAIN_DEADLINE", self.drain_deadline),
            ("ERRAND_MAX_CONNECTIONS", self.max_connections),
            ("ERRAND_MAX_CONNECTIONS_PER_ADDRESS", self.max_connections_per_address),
            ("ERRAND_MAX_STREAMS", self.max_streams),
            ("ERRAND_MAX_TURNS", self.max_turns),
            ("ERRAND_USER_RATES", self.user_rates),
            ("ERRAND_ADDRESS_RATES", self.address_rates),
            ("ERRAND_REPLICAS", self.replicas),
            ("ERRAND_TOOL_POLICY", self.tool_policy),
            ("ERRAND_PASSWORD_MEMORY", self.password_memory),
            ("ERRAND_PASSWORD_PASSES", self.password_passes),
            ("ERRAND_SIGN_UPS_PER_EMAIL", self.sign_ups_per_email),
            ("ERRAND_SIGN_UPS_PER_ADDRESS", self.sign_ups_per_address),
            ("ERRAND_LOG", self.log),
            ("ERRAND_LOG_FORMAT", self.log_format),
        ];
        given.into_iter().chain(llm).filter_map(|(name, text)| Some((name, text?))).collect()
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
