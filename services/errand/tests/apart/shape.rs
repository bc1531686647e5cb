//! The shape that this run tests: auth, task twice, chat twice and the gateway, each a process, on PostgreSQL.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use errand_cluster::{Cluster, Database};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    sandbox::{
        Sandbox,
        process::{Process, Recipe},
    },
    spoiler::Spoiler,
};

/// A part of the suite that has processes of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Auth,
    Task,
    Chat,
    Gateway,
}

/// The processes of a suite, in order.
pub(crate) type Layout = &'static [Role];

/// What tests run on where they do not say otherwise.
const USUAL: Layout = &[Role::Auth, Role::Task, Role::Task, Role::Chat, Role::Chat, Role::Gateway];

/// Every role twice.
pub(crate) const TWICE: Layout =
    &[Role::Auth, Role::Auth, Role::Task, Role::Task, Role::Chat, Role::Chat, Role::Gateway, Role::Gateway];

/// Longer than a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secret that the replicas share.
const SECRET: &str = "shared by the replicas of one test and by nothing else";

/// Where the data is.
pub(crate) struct Ground {
    layout: Layout,
    database: Database,
    /// The server, where it is this sandbox's own.
    pub(crate) cluster: Option<Cluster>,
    /// What stands between chat and task, where something does.
    pub(crate) spoiler: Option<Spoiler>,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Auth, Self::Task, Self::Chat, Self::Gateway];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Task => "task",
            Self::Chat => "chat",
            Self::Gateway => "gateway",
        }
    }
}

impl Ground {
    /// A database of its own on the server that all tests share.
    pub(crate) fn new() -> Self {
        static TEMPLATE: OnceLock<Database> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(cluster) = Cluster::shared() else { skip() };
        let template = TEMPLATE.get_or_init(|| migrated(cluster));
        let name = format!("apart_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        template.named("postgres").run(&format!("CREATE DATABASE {name} TEMPLATE {}", template.name()));
        let database = template.named(&name);
        // A copy is another server: cursors of the one mean nothing to the other.
        database.run("UPDATE task.log SET epoch = gen_random_uuid()");
        Self { layout: USUAL, database, cluster: None, spoiler: None }
    }

    /// A server of its own, durable as in production.
    pub(crate) fn alone() -> Self {
        let Some(cluster) = Cluster::start() else { skip() };
        Self { layout: USUAL, database: migrated(&cluster), cluster: Some(cluster), spoiler: None }
    }

    /// The processes and the address of the gateway.
    pub(crate) fn start(&self, environment: &[(String, String)]) -> (Vec<Process>, SocketAddr) {
        let addresses: Vec<_> = self.layout.iter().map(|_| free()).collect();
        let targets = |role: Role| -> String {
            self.places(role).into_iter().map(|place| addresses[place].to_string()).collect::<Vec<_>>().join(",")
        };
        if let Some(spoiler) = &self.spoiler {
            spoiler.lead_to(addresses[self.places(Role::Task)[0]]);
        }
        let recipes = self.layout.iter().zip(&addresses).map(|(role, address)| {
            // What a test sets comes last.
            let mut recipe = Recipe::new(&["serve", role.as_str()], &[])
                .set("ERRAND_LISTEN", &address.to_string())
                .set("ERRAND_AUTH_TARGET", &targets(Role::Auth))
                .set("ERRAND_TASK_TARGET", &targets(Role::Task))
                .set("ERRAND_CHAT_TARGET", &targets(Role::Chat))
                // Tests speak for many clients; each names its own address.
                .set("ERRAND_TRUSTED_PROXIES", "127.0.0.1")
                // And one of them does what a thousand users do; what limits do is tested where they are set.
                .set("ERRAND_USER_RATES", "off");
            if *role != Role::Gateway {
                let url = self.database.url(&format!("errand_{}", role.as_str()));
                recipe = recipe
                    .set("ERRAND_SECRET_KEY", SECRET)
                    .set("ERRAND_DATABASE_URL", &url)
                    // Many tests share one server.
                    .set("ERRAND_DATABASE_CONNECTIONS", "5");
            }
            if let (Role::Chat, Some(spoiler)) = (role, &self.spoiler) {
                recipe = recipe.set("ERRAND_TASK_TARGET", &spoiler.address.to_string());
            }
            recipe.environment.extend(environment.iter().cloned());
            recipe
        });
        let mut processes: Vec<_> = recipes.map(Process::start).collect();
        let address = settled(&mut processes);
        (processes, address)
    }

    /// Starts the processes again on the same data.
    pub(crate) fn restart(processes: &mut [Process]) -> SocketAddr {
        processes.iter_mut().for_each(Process::again);
        settled(processes)
    }

    /// There is no data folder.
    #[expect(clippy::unused_self, reason = "the other shape has one")]
    pub(crate) fn folder(&self) -> Option<&Path> {
        None
    }

    /// The first column of what a service's tables answer.
    #[expect(clippy::unused_async, reason = "as in the other shape")]
    pub(crate) async fn stored(&self, service: &str, sql: &str) -> Vec<String> {
        let answer = self.database.run(&format!("SET search_path TO {service}; {sql}"));
        answer.lines().map(|line| line.split('|').next().unwrap().to_owned()).collect()
    }

    /// Everything that a service stores, row by row, with its table; bytes as text, too.
    pub(crate) async fn contents(&self, service: &str) -> Vec<String> {
        let tables = format!("SELECT tablename FROM pg_tables WHERE schemaname = '{service}'");
        let mut contents = Vec::new();
        for table in self.stored(service, &tables).await {
            let rows = self.database.run(&format!("SELECT row::text FROM {service}.{table} row"));
            contents.extend(rows.lines().map(|row| format!("{table}: {row} {}", bytes_of(row))));
        }
        contents
    }

    /// Which processes have a role.
    pub(crate) fn places(&self, role: Role) -> Vec<usize> {
        (0..self.layout.len()).filter(|place| self.layout[*place] == role).collect()
    }

    /// The database, as the superuser.
    pub(crate) fn url(&self) -> String {
        self.database.url("postgres")
    }

    /// A statement as the superuser.
    pub(crate) fn run(&self, sql: &str) -> String {
        self.database.run(sql)
    }
}

impl Sandbox {
    /// A suite on a server of its own, that can be killed.
    pub(crate) fn alone() -> Self {
        Self::on(Ground::alone(), &[])
    }

    /// A suite of other processes than usual.
    pub(crate) fn of(layout: Layout, environment: &[(&str, &str)]) -> Self {
        Self::on(Ground { layout, ..Ground::new() }, environment)
    }

    /// A suite whose chat reaches task over this stretch of network.
    pub(crate) fn spoiled(spoiler: Spoiler) -> Self {
        Self::on(Ground { spoiler: Some(spoiler), ..Ground::new() }, &[])
    }

    /// The places of the processes that have a role.
    pub(crate) fn places(&self, role: Role) -> Vec<usize> {
        self.ground.places(role)
    }

    /// The server that is this suite's own.
    pub(crate) fn cluster(&self) -> &Cluster {
        self.ground.cluster.as_ref().unwrap()
    }

    /// Where one process listens.
    pub(crate) fn at(&self, place: usize) -> SocketAddr {
        self.processes[place].listening.unwrap()
    }

    /// Kills one process without warning.
    pub(crate) fn kill_one(&mut self, place: usize) {
        self.processes[place].strike();
        self.processes[place].wait();
    }

    /// Starts one process again, and waits until it is ready.
    pub(crate) fn start_one(&mut self, place: usize) {
        self.processes[place].again();
        settled(&mut self.processes[place..=place]);
    }
}

/// Kills what clients call and starts it again.
pub(crate) fn strike_the_edge(sandbox: &mut Sandbox) {
    let gateway = sandbox.places(Role::Gateway)[0];
    sandbox.kill_one(gateway);
    sandbox.start_one(gateway);
}

/// Where a service can be called: at the gateway, and at each of its own processes.
pub(crate) fn doors(sandbox: &Sandbox, service: &str) -> Vec<SocketAddr> {
    let word = service.split('.').nth(1).unwrap();
    let role = Role::ALL.into_iter().find(|role| role.as_str() == word).unwrap();
    let mut doors = vec![sandbox.address];
    doors.extend(sandbox.places(role).into_iter().map(|place| sandbox.at(place)));
    doors
}

/// Says that there is no PostgreSQL, and ends the run.
#[expect(clippy::disallowed_methods, reason = "nothing runs yet that would have to be drained")]
fn skip() -> ! {
    use std::io::Write;
    // Past the capture of the test runner.
    let _ = writeln!(std::io::stderr(), "PostgreSQL is not installed: NOTHING of the roles apart is tested");
    std::process::exit(0);
}

/// A database with the schemas of all services, made as an operator makes them.
fn migrated(cluster: &Cluster) -> Database {
    let database = cluster.database();
    let recipe = Recipe::new(&["migrate", "up"], &[]).set("ERRAND_DATABASE_URL", &database.url("errand_migrate"));
    let output = recipe.command().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    database
}

/// A port that nobody has, outside of those that clients are given.
fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(7919).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(offset % 12_000).unwrap();
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Waits until each listens and says that it is ready; the address of the last.
fn settled(processes: &mut [Process]) -> SocketAddr {
    let addresses: Vec<_> = processes.iter_mut().map(Process::address).collect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for address in &addresses {
                    let ready = tokio::time::timeout(PATIENCE, ready(*address)).await;
                    assert!(ready.is_ok(), "{address} is not ready");
                }
            });
        });
        let waited = waiting.join();
        assert!(waited.is_ok(), "{}", processes.iter().map(Process::log).collect::<String>());
    });
    *addresses.last().unwrap()
}

/// Follows what a process says of itself until it says that it is ready.
async fn ready(address: SocketAddr) {
    loop {
        let Ok(channel) = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await else { continue };
        let request = HealthCheckRequest { service: "readiness".to_owned() };
        let Ok(watch) = HealthClient::new(channel).watch(request).await else { continue };
        let mut watch = watch.into_inner();
        while let Ok(Some(answer)) = watch.message().await {
            if answer.status() == ServingStatus::Serving {
                return;
            }
        }
    }
}

/// What the bytes in a row say, where they are text.
fn bytes_of(row: &str) -> String {
    let digits = row.split("\\x").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap());
    digits.map(|digits| String::from_utf8_lossy(&unhex(digits)).into_owned()).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2 * 2).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
