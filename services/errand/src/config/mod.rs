//! What can be set, one struct per section, each with its default.
//!
//! Precedence is flag > environment > file > default ([`source`]); how a text becomes a value is
//! said in [`value`]. Everything is checked before a socket is opened, and all faults are reported
//! together. Nothing else in the program reads the environment.

pub(crate) mod source;
pub(crate) mod value;

mod database;
pub(crate) mod llm;
mod network;
mod rates;
pub(crate) mod traces;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use errand_chassis::{
    listener::Address,
    secret,
    server::Limits as Connections,
    tls::{ClientTls, TlsError},
};
use errand_chat::domain::rules::Rules;
use errand_gateway::{AllowedOrigin, Network, Rates};
use secrecy::{ExposeSecret, SecretString};

use self::{
    database::Database,
    llm::Llm,
    network::{Peers, Tls},
    rates::{OfAddress, OfUser},
    source::{Effective, Environment, Flags, Setting, Sources},
    value::{Bytes, LogFormat, Quoted, Value},
};
use crate::roles::Role;

/// Everything that was set, checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// `[server]`
    pub(crate) server: Server,
    /// `[limits]`
    pub(crate) limits: Limits,
    /// `[data]`
    pub(crate) data: Data,
    /// `[database]`
    pub(crate) database: Database,
    /// `[tls]`
    pub(crate) tls: Tls,
    /// `[peers]`
    pub(crate) peers: Peers,
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[llm]`
    pub(crate) llm: Llm,
    /// `[log]`
    pub(crate) log: Log,
    /// What the standard variables say about traces.
    pub(crate) traces: traces::Settings,
    /// Every setting as it holds, in the order above.
    pub(crate) effective: Vec<Effective>,
}

/// Where and how the program serves.
#[derive(Debug)]
pub(crate) struct Server {
    /// `ERRAND_LISTEN`, default 127.0.0.1:8080; for auth, task and chat apart 50051, 50052 and 50053. Port 0
    /// takes a free one, which the start message names.
    pub(crate) listen: Option<Address>,
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

/// How much is let in at a time.
#[derive(Debug)]
pub(crate) struct Limits {
    /// `ERRAND_MAX_CONNECTIONS`, default 10000, and no more than the file descriptors of the process allow.
    /// Further ones are closed at once.
    pub(crate) max_connections: u32,
    /// `ERRAND_MAX_CONNECTIONS_PER_ADDRESS`, default 1000. Those of one network address at the gateway; the
    /// proxies that are trusted, and without any this machine, may have as many as there are.
    max_connections_per_address: u32,
    /// `ERRAND_MAX_STREAMS`, default 100 at the gateway and 10000 between roles. Concurrent calls of one connection.
    pub(crate) max_streams: Option<u32>,
    /// `ERRAND_CONNECTION_AGE`, default 5m at the gateway and 30m between roles. After it a connection is asked to
    /// end, so that calls find replicas that came later.
    pub(crate) connection_age: Option<Duration>,
    /// `ERRAND_MAX_TURNS`, default 256. Answers that the assistant works on.
    pub(crate) max_turns: u32,
    /// `ERRAND_USER_RATES`. How often a user may call, by rate class.
    user_rates: OfUser,
    /// `ERRAND_ADDRESS_RATES`. How often may be called from one network address.
    address_rates: OfAddress,
    /// `ERRAND_REPLICAS`, default 1. The gateways that share these limits.
    replicas: u32,
    /// `ERRAND_TOOL_POLICY`, default none. What the assistant's tools may do, where that is less than it may do
    /// anyway: `delete_tasks=deny,add_tasks=approve`.
    pub(crate) tool_policy: Rules,
}

/// Where the data is.
#[derive(Debug)]
pub(crate) struct Data {
    /// `ERRAND_DATA_DIR`, default `$XDG_DATA_HOME/errand` or `~/.local/share/errand`; empty without a home, which
    /// matters only to who needs the folder.
    pub(crate) dir: PathBuf,
    /// `ERRAND_SECRET_KEY` or `ERRAND_SECRET_KEY_FILE`, at least 32 bytes. By default the program
    /// makes one in the data folder.
    pub(crate) secret_key: Option<SecretString>,
}

/// How accounts are protected.
#[derive(Debug)]
pub(crate) struct Auth {
    /// `ERRAND_PASSWORD_MEMORY`, default and at least 19MiB. Memory of one password hash (Argon2id).
    pub(crate) password_memory: Bytes,
    /// `ERRAND_PASSWORD_PASSES`, default and at least 2. Passes of one password hash.
    pub(crate) password_passes: u32,
    /// `ERRAND_SIGN_UPS_PER_EMAIL`, default 5. Tries a minute for one e-mail address.
    pub(crate) sign_ups_per_email: u32,
    /// `ERRAND_SIGN_UPS_PER_ADDRESS`, default 20. Tries a minute from one network address.
    pub(crate) sign_ups_per_address: u32,
}

/// What is logged and how.
#[derive(Debug)]
pub(crate) struct Log {
    /// `ERRAND_LOG`, default `info`: a level, or directives such as `info,errand_chat=debug`. Nothing of the level
    /// `trace` is compiled into a release.
    pub(crate) filter: String,
    /// `ERRAND_LOG_FORMAT`, default `auto`: pretty on a terminal, JSON otherwise.
    pub(crate) format: LogFormat,
    /// `NO_COLOR` is not set.
    pub(crate) colour: bool,
}

const fn setting(section: &'static str, key: &'static str, variable: &'static str) -> Setting {
    Setting { key: (section, key), variable }
}

const MOST_PASSWORD_MEMORY: Bytes = Bytes(1 << 30);
const MOST_PASSWORD_PASSES: u32 = 100;
const ORIGINS_OF_THIS_MACHINE: &str = "http://localhost:*, http://127.0.0.1:*";

impl Config {
    /// Reads and checks everything; otherwise says everything that is wrong.
    pub(crate) fn load(environment: &dyn Environment, flags: Flags) -> Result<Self, Vec<String>> {
        let mut sources = Sources::gather(environment, flags);
        let mut config = Self {
            server: Server::read(&mut sources),
            limits: Limits::read(&mut sources),
            data: Data::read(&mut sources),
            database: Database::read(&mut sources),
            tls: Tls::read(&mut sources),
            peers: Peers::read(&mut sources),
            auth: Auth::read(&mut sources),
            llm: Llm::read(&mut sources),
            log: Log::read(&mut sources),
            traces: traces::Settings::read(&mut sources),
            effective: Vec::new(),
        };
        config.refuse_open_port(&mut sources);
        config.effective = sources.finish()?;
        Ok(config)
    }

    /// What these roles can not do without, as faults.
    pub(crate) fn missing_for(&self, roles: &[Role]) -> Vec<String> {
        if Role::ALL.iter().all(|role| roles.contains(role)) {
            // One process can keep files in its data folder.
            return Vec::new();
        }
        let asked = roles.iter().map(Role::to_string).collect::<Vec<_>>().join(" ");
        let services = || roles.iter().filter(|role| Role::SERVICES.contains(role));
        let mut missing: Vec<String> = services()
            .filter(|service| self.database.of(**service).is_none())
            .map(|service| {
                format!(
                    "`serve {asked}` needs a PostgreSQL database for {service}: set ERRAND_DATABASE_URL or \
                     ERRAND_DATABASE_URL_FILE; `errand serve` without a role keeps files of its own"
                )
            })
            .collect();
        if services().next().is_some() && self.data.secret_key.is_none() {
            missing.push(format!(
                "`serve {asked}` needs a secret, the same for all its replicas: set ERRAND_SECRET_KEY_FILE or \
                 ERRAND_SECRET_KEY, at least {} bytes",
                secret::SHORTEST
            ));
        }
        missing
    }

    /// A port that other machines reach has TLS, or somebody said that it need not.
    fn refuse_open_port(&self, sources: &mut Sources) {
        let Some(Address::Tcp(listen)) = &self.server.listen else { return };
        if !listen.ip().is_loopback() && self.tls.identity.is_none() && !self.server.plaintext {
            sources.fault(format!(
                "{listen} can be reached from other machines, and there is no TLS on it: set ERRAND_TLS_CERT and \
                 ERRAND_TLS_KEY, or if that is meant, say --plaintext (ERRAND_PLAINTEXT=true)"
            ));
        }
    }

    /// What concerns the edge.
    pub(crate) fn edge(&self) -> errand_gateway::Config {
        errand_gateway::Config {
            allowed_origins: self.server.allowed_origins.iter().map(|origin| origin.value.clone()).collect(),
            trusted_proxies: self.server.trusted_proxies(),
            rates: self.limits.rates(),
        }
    }

    /// How a command here calls the server here; nothing without TLS.
    pub(crate) fn own_client(&self) -> Result<Option<ClientTls>, TlsError> {
        self.tls.identity.as_ref().map(|(cert, _)| ClientTls::only(cert, self.peers.identity.clone())).transpose()
    }

    /// What concerns the chat service.
    pub(crate) fn chat(&self) -> errand_chat::Config {
        let mut config = errand_chat::Config::default();
        config.turns = self.limits.max_turns;
        config.rules = self.limits.tool_policy.clone();
        config.tokens_a_day = self.llm.tokens_a_day.filter(|_| self.llm.model.is_some()).map(u64::from);
        config
    }

    /// The URL under which this machine reaches the server.
    pub(crate) fn local_url(&self) -> String {
        reachable(&self.server.listen(), self.tls.identity.is_some())
    }
}

impl Server {
    fn read(sources: &mut Sources) -> Self {
        Self {
            listen: sources.optional(setting("server", "listen", "ERRAND_LISTEN")),
            plaintext: sources.value(setting("server", "plaintext", "ERRAND_PLAINTEXT"), false),
            allowed_origins: sources.value(
                setting("server", "allowed_origins", "ERRAND_ALLOWED_ORIGINS"),
                Value::read(ORIGINS_OF_THIS_MACHINE).unwrap_or_default(),
            ),
            trusted_proxies: sources.value(setting("server", "trusted_proxies", "ERRAND_TRUSTED_PROXIES"), vec![]),
            reflection: sources.value(setting("server", "reflection", "ERRAND_REFLECTION"), true),
            shutdown_delay: sources.value(setting("server", "shutdown_delay", "ERRAND_SHUTDOWN_DELAY"), Duration::ZERO),
            drain_deadline: sources
                .value(setting("server", "drain_deadline", "ERRAND_DRAIN_DEADLINE"), Duration::from_secs(10)),
        }
    }

    /// Where to listen when nothing is known of roles.
    pub(crate) fn listen(&self) -> Address {
        self.listen_as(&Role::ALL)
    }

    /// Where these roles listen.
    pub(crate) fn listen_as(&self, roles: &[Role]) -> Address {
        let first = if roles.contains(&Role::Gateway) { Some(&Role::Gateway) } else { roles.first() };
        let port = first.copied().unwrap_or(Role::Gateway).port();
        self.listen.clone().unwrap_or(Address::Tcp((Ipv4Addr::LOCALHOST, port).into()))
    }

    /// Whose word about a client's address a role takes that is no edge.
    pub(crate) fn trusted_by_role(&self) -> Vec<Network> {
        match self.trusted_proxies() {
            none if none.is_empty() => Network::this_machine(),
            some => some,
        }
    }

    fn trusted_proxies(&self) -> Vec<Network> {
        self.trusted_proxies.iter().map(|network| network.value).collect()
    }
}

impl Limits {
    fn read(sources: &mut Sources) -> Self {
        Self {
            max_connections: sources.value(setting("limits", "max_connections", "ERRAND_MAX_CONNECTIONS"), 10_000),
            max_connections_per_address: sources
                .value(setting("limits", "max_connections_per_address", "ERRAND_MAX_CONNECTIONS_PER_ADDRESS"), 1000),
            max_streams: sources.optional(setting("limits", "max_streams", "ERRAND_MAX_STREAMS")),
            connection_age: sources.optional(setting("limits", "connection_age", "ERRAND_CONNECTION_AGE")),
            max_turns: sources
                .value(setting("limits", "max_turns", "ERRAND_MAX_TURNS"), errand_chat::Config::default().turns),
            user_rates: sources.value(setting("limits", "user_rates", "ERRAND_USER_RATES"), OfUser::default()),
            address_rates: sources
                .value(setting("limits", "address_rates", "ERRAND_ADDRESS_RATES"), OfAddress::default()),
            replicas: sources.value(setting("limits", "replicas", "ERRAND_REPLICAS"), 1),
            tool_policy: sources.value(setting("limits", "tool_policy", "ERRAND_TOOL_POLICY"), Rules::default()),
        }
    }

    /// What concerns the listener of these roles.
    pub(crate) fn connections(&self, roles: &[Role], server: &Server) -> Connections {
        let faces_clients = roles.contains(&Role::Gateway);
        let mut limits = if faces_clients { Connections::of_clients() } else { Connections::between_roles() };
        limits.of_an_address = faces_clients.then_some(self.max_connections_per_address as usize);
        limits.exempt = server.trusted_by_role().into();
        limits.connections = self.max_connections as usize;
        limits.streams = self.max_streams.unwrap_or(limits.streams);
        limits.drain = server.drain_deadline;
        limits.connection_age = self.connection_age.or(limits.connection_age);
        limits
    }

    fn rates(&self) -> Rates {
        Rates { user: self.user_rates.0, address: self.address_rates.0, replicas: self.replicas }
    }
}

impl Data {
    fn read(sources: &mut Sources) -> Self {
        let shared = sources.foreign("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = sources.foreign("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        let default = shared.or(home).map(|folder| folder.join("errand")).unwrap_or_default();
        let setting_of_dir = setting("data", "dir", "ERRAND_DATA_DIR");
        // Without a home there is no default, and none is shown.
        let dir = match default {
            none if none.as_os_str().is_empty() => sources.optional(setting_of_dir).unwrap_or(none),
            default => sources.value(setting_of_dir, default),
        };
        let secret_key = sources.secret(setting("data", "secret_key", "ERRAND_SECRET_KEY"));
        if secret_key.as_ref().is_some_and(|key| key.expose_secret().len() < secret::SHORTEST) {
            sources.fault(format!("ERRAND_SECRET_KEY: a secret needs at least {} bytes", secret::SHORTEST));
        }
        Self { dir, secret_key }
    }
}

impl Auth {
    fn read(sources: &mut Sources) -> Self {
        let default = errand_auth::Config::default();
        let least = Bytes(default.password_memory_kib as usize * 1024);
        let auth = Self {
            password_memory: sources.value(setting("auth", "password_memory", "ERRAND_PASSWORD_MEMORY"), least),
            password_passes: sources
                .value(setting("auth", "password_passes", "ERRAND_PASSWORD_PASSES"), default.password_passes),
            sign_ups_per_email: sources
                .value(setting("auth", "sign_ups_per_email", "ERRAND_SIGN_UPS_PER_EMAIL"), default.sign_ups_per_email),
            sign_ups_per_address: sources.value(
                setting("auth", "sign_ups_per_address", "ERRAND_SIGN_UPS_PER_ADDRESS"),
                default.sign_ups_per_address,
            ),
        };
        if auth.password_memory.0 < least.0 || auth.password_memory.0 > MOST_PASSWORD_MEMORY.0 {
            sources.fault("ERRAND_PASSWORD_MEMORY: must be 19MiB at least and 1GiB at most".to_owned());
        }
        if auth.password_passes < default.password_passes || auth.password_passes > MOST_PASSWORD_PASSES {
            sources.fault("ERRAND_PASSWORD_PASSES: must be 2 at least and 100 at most".to_owned());
        }
        auth
    }

    /// What concerns the auth service.
    pub(crate) fn service(&self) -> errand_auth::Config {
        errand_auth::Config {
            password_memory_kib: u32::try_from(self.password_memory.0 / 1024).unwrap_or(u32::MAX),
            password_passes: self.password_passes,
            sign_ups_per_email: self.sign_ups_per_email,
            sign_ups_per_address: self.sign_ups_per_address,
            ..errand_auth::Config::default()
        }
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

/// The URL to connect to for an address that was bound: "any" means this machine.
pub(crate) fn reachable(bound: &Address, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    match bound {
        Address::Unix(_) => bound.to_string(),
        Address::Tcp(bound) => {
            let mut bound: SocketAddr = *bound;
            match bound {
                SocketAddr::V4(v4) if v4.ip().is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
                SocketAddr::V6(v6) if v6.ip().is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            format!("{scheme}://{bound}")
        }
    }
}

#[cfg(test)]
mod tests;
