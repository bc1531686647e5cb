//! `errand serve`: the whole suite in this process, or some of its roles, until a signal.
//!
//! A signal makes health say NOT_SERVING, lets load balancers see that, then ends connections and
//! drains; a second signal ends the process at once. Every acknowledged write is on the disk before
//! its answer, so neither loses one.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use errand_chassis::{
    listener::{Address, Listener},
    server,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    cli::{Failure, Kind},
    compose::{self, Suite},
    config::{self, Config},
    console, descriptors,
    ground::Ground,
    logs,
    roles::Role,
};

/// How long threads that are busy at the very end may take to let go.
const LAST_GRACE: Duration = Duration::from_secs(1);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Serves these roles, or without any all of them, until a signal.
pub(crate) fn run(config: &Config, roles: &[Role]) -> Result<(), Failure> {
    let mut roles = if roles.is_empty() { Role::ALL.to_vec() } else { roles.to_vec() };
    roles.sort_unstable();
    roles.dedup();
    let is_all = roles == Role::ALL;
    // Until the very end: then the last spans are delivered.
    let name = if is_all { "errand".to_owned() } else { format!("errand-{}", words(&roles, "-")) };
    let _traces = logs::start(&config.log, &config.traces, &name)?;
    let ground = Ground::prepare(config, &roles)?;
    let runtime = Runtime::new().map_err(|error| Failure::new(Kind::Failed, format!("can not start: {error}")))?;
    let outcome = runtime.block_on(serve(config, &roles, &ground));
    runtime.shutdown_timeout(LAST_GRACE);
    drop(ground);
    outcome
}

async fn serve(config: &Config, roles: &[Role], ground: &Ground) -> Result<(), Failure> {
    // Before anything can be called: a signal must never find the default handler in place.
    let mut signals = Signals::new().map_err(|error| Failure::new(Kind::Failed, format!("no signals: {error}")))?;
    let opening = async {
        ground.reach(config.database.wait).await?;
        Suite::open(config, roles, ground).await
    };
    let suite = tokio::select! {
        suite = opening => suite?,
        name = signals.next() => {
            info!(signal = name, "stopped before anything was served");
            return Ok(());
        }
    };
    let (listener, address) = bind(config, roles)?;

    let (stop, stopped) = oneshot::channel::<()>();
    let mut limits = config.limits.connections(roles, &config.server);
    let room = descriptors::raise();
    if room < limits.connections {
        warn!(allowed = limits.connections, room, "there are fewer file descriptors than connections that are allowed");
        limits.connections = room;
    }
    let mut server = tokio::spawn(server::serve(listener, suite.front(), limits, async {
        _ = stopped.await;
    }));
    let mut follow = Box::pin(suite.follow());
    // Once before anybody is told: who reads that we listen may ask at once whether we serve.
    poll_fn(|context| {
        _ = follow.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    let health = tokio::spawn(follow);
    let url = config::reachable(&address, config.tls.identity.is_some());
    let folder = if ground.has_folder() { format!("\ndata in {}", config.data.dir.display()) } else { String::new() };
    console::say(welcome(roles, &url, &folder));
    info!(listen = %address, roles = words(roles, " "), "serving");

    tokio::select! {
        name = signals.next() => info!(signal = name, "stopping"),
        _ = &mut server => return Err(Failure::new(Kind::Failed, "the server ended by itself")),
    }
    // A database that comes back must not bring a service back that is about to stop.
    health.abort();
    _ = health.await;
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

fn bind(config: &Config, roles: &[Role]) -> Result<(Listener, Address), Failure> {
    let tls = config.tls.server().map_err(|error| compose::misconfigured(&error))?;
    let listen = config.server.listen_as(roles);
    let bound = Listener::bind(&listen).and_then(|listener| {
        let address = listener.address()?;
        Ok((listener, address))
    });
    let (listener, address) = bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(
            Kind::Failed,
            format!("{listen} is taken by another program: choose another address with --listen, or port 0 for any"),
        ),
        _ => Failure::new(Kind::Failed, format!("can not listen on {listen}: {error}")),
    })?;
    Ok((tls.into_iter().fold(listener, Listener::with_tls), address))
}

fn words(roles: &[Role], between: &str) -> String {
    roles.iter().map(Role::to_string).collect::<Vec<_>>().join(between)
}

/// What is read first: by a newcomer, or where a role runs apart, by who operates it.
fn welcome(roles: &[Role], url: &str, folder: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if roles != Role::ALL {
        return format!("errand {version} serves {}\nlistening on {url}", words(roles, " "));
    }
    let program = std::env::args_os().next().unwrap_or_else(|| "errand".into());
    let program = program.to_string_lossy();
    let target = url.split_once("://").map_or(url, |(_, target)| target);
    let plaintext = if url.starts_with("https:") { "" } else { " -plaintext" };
    format!(
        "errand {version} serves accounts, tasks and a chat assistant over gRPC and gRPC-Web\n\
         listening on {url}{folder}\n\
         \n\
         try in another terminal:\n  \
           {program} seed --url {url}\n  \
           grpcurl{plaintext} -d '{{\"email\":\"me@example.com\",\"password\":\"a long passphrase\"}}' {target} \
           errand.auth.v1.AuthService/SignUp"
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
        let text = welcome(&Role::ALL, "http://127.0.0.1:8080", "\ndata in /data");
        assert!(text.lines().any(|line| line == "listening on http://127.0.0.1:8080"), "{text}");
        assert!(text.lines().any(|line| line == "data in /data"));
        assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count(), 2);
    }

    #[test]
    fn a_role_says_what_it_serves_and_where() {
        let text = welcome(&[Role::Auth, Role::Task], "unix:/run/errand", "");
        assert!(text.ends_with("serves auth task\nlistening on unix:/run/errand"), "{text}");
    }
}
