//! What can be set, one struct per section, each with its default.
//!
//! Precedence is flag > environment > file > default ([`source`]); how a text becomes a value is
//! said in [`value`]. Everything is checked before a socket is opened, and all faults are reported
//! together. Nothing else in the program reads the environment.

pub(crate) mod source;
pub(crate) mod value;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use errand_chassis::secret;
use errand_gateway::{AllowedOrigin, Network};
use secrecy::{ExposeSecret, SecretString};

use self::{
    source::{Effective, Environment, Flags, Setting, Sources},
    value::{Bytes, LogFormat, Quoted, Value},
};

/// Everything that was set, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// `[server]`
    pub(crate) server: Server,
    /// `[limits]`
    pub(crate) limits: Limits,
    /// `[data]`
    pub(crate) data: Data,
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[log]`
    pub(crate) log: Log,
    /// Every setting as it holds, in the order above.
    pub(crate) effective: Vec<Effective>,
}

/// Where and how the program serves.
#[derive(Debug)]
pub(crate) struct Server {
    /// `ERRAND_LISTEN`, default 127.0.0.1:8080. Port 0 takes a free one, which the start message names.
    pub(crate) listen: SocketAddr,
    /// `ERRAND_PLAINTEXT`, default false. Says that serving without TLS beyond this machine is meant.
    pub(crate) plaintext: bool,
    /// `ERRAND_ALLOWED_ORIGINS`, default the pages of this machine. Browser origins that may call, or `*`.
    pub(crate) allowed_origins: Vec<Quoted<AllowedOrigin>>,
    /// `ERRAND_TRUSTED_PROXIES`, default none. Peers whose `x-forwarded-for` is believed.
    pub(crate) trusted_proxies: Vec<Quoted<Network>>,
    /// `ERRAND_REFLECTION`, default true. Whether clients may ask what can be called.
    pub(crate) reflection: bool,
    /// `ERRAND_SHUTDOWN_DELAY`, default 0s. How long to serve on after health says NOT_SERVING.
    pub(crate) shutdown_delay: Duration,
    /// `ERRAND_DRAIN_DEADLINE`, default 10s. How long running calls may take to finish after that.
    pub(crate) drain_deadline: Duration,
}

/// How much is let in.
#[derive(Debug)]
pub(crate) struct Limits {
    /// `ERRAND_MAX_MESSAGE`, default and at most 4MiB. The largest request.
    pub(crate) max_message: Bytes,
    /// `ERRAND_MAX_CONNECTIONS`, default 10000.
    pub(crate) max_connections: u32,
    /// `ERRAND_MAX_STREAMS`, default 100. Concurrent calls of one connection.
    pub(crate) max_streams: u32,
}

/// Where the data is.
#[derive(Debug)]
pub(crate) struct Data {
    /// `ERRAND_DATA_DIR`, default `$XDG_DATA_HOME/errand` or `~/.local/share/errand`.
    pub(crate) dir: PathBuf,
    /// `ERRAND_SECRET_KEY` or `ERRAND_SECRET_KEY_FILE`, at least 32 bytes. By default the program
    /// makes one in the data folder.
    pub(crate) secret_key: Option<SecretString>,
}

/// What a password hash costs (Argon2id).
#[derive(Debug)]
pub(crate) struct Auth {
    /// `ERRAND_ARGON2_MEMORY`, default 19MiB.
    pub(crate) argon2_memory: Bytes,
    /// `ERRAND_ARGON2_ITERATIONS`, default 2.
    pub(crate) argon2_iterations: u32,
    /// `ERRAND_ARGON2_PARALLELISM`, default 1.
    pub(crate) argon2_parallelism: u32,
}

/// What is logged and how.
#[derive(Debug)]
pub(crate) struct Log {
    /// `ERRAND_LOG`, default `info`: a level, or directives such as `info,errand_chat=debug`.
    pub(crate) filter: String,
    /// `ERRAND_LOG_FORMAT`, default `auto`: pretty on a terminal, JSON otherwise.
    pub(crate) format: LogFormat,
    /// `NO_COLOR` is not set.
    pub(crate) colour: bool,
}

const fn setting(section: &'static str, key: &'static str, variable: &'static str) -> Setting {
    Setting { key: (section, key), variable }
}

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const ORIGINS_OF_THIS_MACHINE: &str = "http://localhost:*, http://127.0.0.1:*";
const LARGEST_MESSAGE: Bytes = Bytes(4 << 20);

impl Config {
    /// Reads and checks everything; otherwise says everything that is wrong.
    pub(crate) fn load(environment: &dyn Environment, flags: Flags) -> Result<Self, Vec<String>> {
        let mut sources = Sources::gather(environment, flags);
        let mut config = Self {
            server: Server::read(&mut sources),
            limits: Limits::read(&mut sources),
            data: Data::read(&mut sources),
            auth: Auth::read(&mut sources),
            log: Log::read(&mut sources),
            effective: Vec::new(),
        };
        config.effective = sources.finish()?;
        Ok(config)
    }
}

impl Server {
    fn read(sources: &mut Sources) -> Self {
        let server = Self {
            listen: sources.value(setting("server", "listen", "ERRAND_LISTEN"), LISTEN),
            plaintext: sources.value(setting("server", "plaintext", "ERRAND_PLAINTEXT"), false),
            allowed_origins: sources.value(
                setting("server", "allowed_origins", "ERRAND_ALLOWED_ORIGINS"),
                Value::read(ORIGINS_OF_THIS_MACHINE).unwrap_or_default(),
            ),
            trusted_proxies: sources.value(setting("server", "trusted_proxies", "ERRAND_TRUSTED_PROXIES"), vec![]),
            reflection: sources.value(setting("server", "reflection", "ERRAND_REFLECTION"), true),
            shutdown_delay: sources
                .value(setting("server", "shutdown_delay", "ERRAND_SHUTDOWN_DELAY"), Duration::ZERO),
            drain_deadline: sources
                .value(setting("server", "drain_deadline", "ERRAND_DRAIN_DEADLINE"), Duration::from_secs(10)),
        };
        if !server.listen.ip().is_loopback() && !server.plaintext {
            sources.fault(format!(
                "{} can be reached from other machines, and there is no TLS here: if that is meant, say --plaintext \
                 (ERRAND_PLAINTEXT=true)",
                server.listen
            ));
        }
        server
    }

    /// The address under which this machine reaches the server.
    pub(crate) fn local_url(&self) -> String {
        reachable(self.listen)
    }
}

impl Limits {
    fn read(sources: &mut Sources) -> Self {
        let max_message = sources.value(setting("limits", "max_message", "ERRAND_MAX_MESSAGE"), LARGEST_MESSAGE);
        if max_message.0 > LARGEST_MESSAGE.0 {
            sources.fault("ERRAND_MAX_MESSAGE: the services read no message above 4MiB".to_owned());
        }
        Self {
            max_message,
            max_connections: sources.value(setting("limits", "max_connections", "ERRAND_MAX_CONNECTIONS"), 10_000),
            max_streams: sources.value(setting("limits", "max_streams", "ERRAND_MAX_STREAMS"), 100),
        }
    }
}

impl Data {
    fn read(sources: &mut Sources) -> Self {
        let shared = sources.foreign("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = sources.foreign("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        let default = shared.or(home).map(|folder| folder.join("errand")).unwrap_or_default();
        let dir = sources.value(setting("data", "dir", "ERRAND_DATA_DIR"), default);
        if dir.as_os_str().is_empty() {
            sources.fault("there is no HOME to keep the data in: say --data-dir (ERRAND_DATA_DIR)".to_owned());
        }
        let secret_key = sources.secret(setting("data", "secret_key", "ERRAND_SECRET_KEY"));
        if secret_key.as_ref().is_some_and(|key| key.expose_secret().len() < secret::SHORTEST) {
            sources.fault(format!("ERRAND_SECRET_KEY: a secret needs at least {} bytes", secret::SHORTEST));
        }
        Self { dir, secret_key }
    }
}

impl Auth {
    fn read(sources: &mut Sources) -> Self {
        let auth = Self {
            argon2_memory: sources.value(setting("auth", "argon2_memory", "ERRAND_ARGON2_MEMORY"), Bytes(19 << 20)),
            argon2_iterations: sources.value(setting("auth", "argon2_iterations", "ERRAND_ARGON2_ITERATIONS"), 2),
            argon2_parallelism: sources.value(setting("auth", "argon2_parallelism", "ERRAND_ARGON2_PARALLELISM"), 1),
        };
        if auth.argon2_memory.0 < (8 << 10) * auth.argon2_parallelism as usize || auth.argon2_memory.0 > 1 << 30 {
            sources.fault("ERRAND_ARGON2_MEMORY: must be 8KiB a lane at least and 1GiB at most".to_owned());
        }
        auth
    }
}

impl Log {
    fn read(sources: &mut Sources) -> Self {
        let filter = sources.value(setting("log", "filter", "ERRAND_LOG"), "info".to_owned());
        if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
            sources.fault(format!("ERRAND_LOG: `{filter}` is not a level or a list of target=level: {error}"));
        }
        Self {
            filter,
            format: sources.value(setting("log", "format", "ERRAND_LOG_FORMAT"), LogFormat::Auto),
            colour: sources.foreign("NO_COLOR").is_none(),
        }
    }
}

/// An address to connect to for an address that was bound: "any" means this machine.
pub(crate) fn reachable(mut bound: SocketAddr) -> String {
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{bound}")
}

#[cfg(test)]
mod tests;
