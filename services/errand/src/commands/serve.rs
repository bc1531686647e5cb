//! `errand serve`: the whole suite in this process, on one data folder, until a signal.
//!
//! A signal makes health say NOT_SERVING, lets load balancers see that, then ends connections and
//! drains; a second signal ends the process at once. Every acknowledged write is on the disk before
//! its answer, so neither loses one.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use errand_chassis::{secret::Secret, server};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use super::migrate;
use crate::{
    cli::{Failure, Kind},
    compose::Suite,
    config::{self, Config},
    console,
    data::Folder,
    logs, roles,
    roles::Role,
};

/// How long threads that are busy at the very end may take to let go.
const LAST_GRACE: Duration = Duration::from_secs(1);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// The answer to a role by itself.
pub(crate) fn alone(roles: &[Role]) -> Failure {
    let asked = roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!(
        "{asked}: roles apart need PostgreSQL, which this version does not have; `errand serve` without a role serves \
         all of them ({}) in one process",
        roles::choices()
    );
    Failure::new(Kind::Usage, message)
}

/// Serves until a signal.
pub(crate) fn run(config: &Config) -> Result<(), Failure> {
    // Until the very end: then the last spans are delivered.
    let _traces = logs::start(&config.log, &config.traces, "errand")?;
    let folder = Folder::new(&config.data);
    folder.make()?;
    let lock = folder.lock()?;
    let secret = folder.secret_or_new(&lock)?;
    for (service, step) in migrate::up(&folder)? {
        info!(service, step = step.name, "schema step applied");
    }
    let runtime = Runtime::new().map_err(|error| Failure::new(Kind::Failed, format!("can not start: {error}")))?;
    let outcome = runtime.block_on(serve(config, &folder, &secret));
    runtime.shutdown_timeout(LAST_GRACE);
    drop(lock);
    outcome
}

async fn serve(config: &Config, folder: &Folder<'_>, secret: &Secret) -> Result<(), Failure> {
    // Before anything can be called: a signal must never find the default handler in place.
    let mut signals = Signals::new().map_err(|error| Failure::new(Kind::Failed, format!("no signals: {error}")))?;
    let suite = Suite::open(config, folder, secret).await?;
    let (listener, address) = bind(config.server.listen).await?;

    let (stop, stopped) = oneshot::channel::<()>();
    let limits = server::Limits {
        connections: config.limits.max_connections as usize,
        streams: config.limits.max_streams,
        drain: config.server.drain_deadline,
        ..server::Limits::default()
    };
    let mut server = tokio::spawn(server::serve(listener, suite.edge(), limits, async {
        _ = stopped.await;
    }));
    suite.health().set_all(true);
    let disks = tokio::spawn(suite.follow_disks());
    console::say(welcome(address, folder.path()));
    info!(listen = %address, data = %folder.path().display(), "serving");

    tokio::select! {
        name = signals.next() => info!(signal = name, "stopping"),
        _ = &mut server => return Err(Failure::new(Kind::Failed, "the server ended by itself")),
    }
    // A disk that gets room again must not bring a service back that is about to stop.
    disks.abort();
    suite.health().set_all(false);
    let finish = async {
        sleep(config.server.shutdown_delay).await;
        // First no new streams, then the end of the open ones: who is handed over must not come back here.
        drop(stop);
        suite.drain().begin();
        _ = server.await;
        suite.close().await;
    };
    tokio::select! {
        () = finish => info!("stopped"),
        name = signals.next() => warn!(signal = name, "stopping at once"),
    }
    Ok(())
}

async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let bound: io::Result<_> = async {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }
    .await;
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Kind::Failed,
            format!("{listen} is taken by another program: choose another address with --listen, or port 0 for any"),
        ),
        _ => Failure::new(Kind::Failed, format!("can not listen on {listen}: {error}")),
    })
}

/// What a newcomer reads first.
fn welcome(address: SocketAddr, data: &Path) -> String {
    let url = config::reachable(address);
    let target = url.trim_start_matches("http://");
    let program = std::env::args_os().next().unwrap_or_else(|| "errand".into());
    let program = program.to_string_lossy();
    format!(
        "errand {version} serves accounts, tasks and a chat assistant over gRPC and gRPC-Web\n\
         listening on {url}\n\
         data in {data}\n\
         \n\
         try in another terminal:\n  \
           {program} seed --url {url}\n  \
           grpcurl -plaintext -d '{{\"email\":\"me@example.com\",\"password\":\"a long passphrase\"}}' {target} \
           errand.auth.v1.AuthService/SignUp",
        version = env!("CARGO_PKG_VERSION"),
        data = data.display(),
    )
}

// === impl Signals ===

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_message_says_where_and_gives_two_commands() {
        let text = welcome("0.0.0.0:8080".parse().unwrap(), Path::new("/data"));
        assert!(text.lines().any(|line| line == "listening on http://127.0.0.1:8080"), "{text}");
        assert!(text.lines().any(|line| line == "data in /data"));
        assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count(), 2);
    }

    #[test]
    fn a_role_by_itself_is_refused_with_the_reason() {
        let failure = alone(&[Role::Task]);
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.message.contains("PostgreSQL") && failure.message.contains("auth, task, chat, gateway"));
    }
}
