//! `cargo run --release -p errand-bench`: requests per second and server CPU per request of the
//! real binary, beside a bare tonic echo under the same load in the same run.
//!
//! With the argument `edge` only the doors of gRPC-Web are measured: the gateway beside Envoy. With `turn`, how long
//! the first words of a turn take. With `overload`, what becomes of calls when there are ten times more callers than can
//! be served.
//!
//! CPU is what the kernel accounted to the server's process, so it does not depend on how busy the
//! load generator or the machine is; it is read as a ratio to the echo's.
#![expect(clippy::print_stdout, reason = "a report is its output")]

mod echo;
mod edge;
mod overload;
mod turn;
mod watchers;

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use errand_proto::{
    auth::{SignUpRequest, auth_service_client::AuthServiceClient},
    task::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, Task, task_service_client::TaskServiceClient},
};
use tokio::task::JoinHandle;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Connections and calls at a time; one connection alone is bound by its lock.
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
/// What the kernel counts CPU in.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server under load; it ends with this value.
struct Server {
    child: Child,
    url: String,
}

#[derive(Clone, Copy)]
enum Call {
    Create,
    Get,
    List,
}

/// What workers call by: how many calls were made, and whether it is over.
#[derive(Clone, Default)]
struct Pace {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Figures {
    calls: f64,
    seconds: f64,
    cpu_seconds: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("echo") => {
            echo::serve(([127, 0, 0, 1], 0).into(), |address| println!("listening on http://{address}")).await?;
            Ok(())
        }
        // The doors alone.
        Some("edge") => doors(Duration::from_secs(10)).await,
        Some("turn") => turn::run().await,
        Some("overload") => {
            let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
            let stage = Stage::of(overload::pinned, &[]).await?;
            overload::run(&stage, Duration::from_secs(seconds)).await
        }
        Some(seconds) => run(Duration::from_secs(seconds.parse()?)).await,
        None => run(Duration::from_secs(5)).await,
    }
}

/// A server, an account on it and a task of it.
struct Stage {
    binary: PathBuf,
    errand: Server,
    channels: Vec<Channel>,
    token: MetadataValue<Ascii>,
    task: String,
    _data: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same with these settings.
    async fn with(environment: &[(&str, &str)]) -> Result<Self> {
        Self::of(|program| Command::new(program), environment).await
    }

    /// The same with a server that is started like this.
    async fn of(program: impl FnOnce(&Path) -> Command, environment: &[(&str, &str)]) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let binary = binary(&std::env::current_exe()?)?;
        let mut command = program(&binary);
        command.arg("serve").env("ERRAND_LISTEN", "127.0.0.1:0").env("ERRAND_DATA_DIR", data.path());
        command.envs(environment.iter().copied());
        let errand = Server::start(&mut command)?;
        let channels = connect(&errand.url).await?;
        let sign_up = SignUpRequest {
            email: "bench@example.com".to_owned(),
            password: "a password of the bench".to_owned(),
            ..SignUpRequest::default()
        };
        let answer = AuthServiceClient::new(channels[0].clone()).sign_up(sign_up).await?.into_inner();
        let token = answer.credentials.map(|credentials| credentials.access_token).unwrap_or_default();
        let token: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        let task = create(&mut TaskServiceClient::new(channels[0].clone()), &token).await?.id;
        Ok(Self { binary, errand, channels, token, task, _data: data })
    }
}

async fn doors(time: Duration) -> Result<()> {
    let stage = Stage::set().await?;
    edge::run(&stage, time).await
}

async fn run(time: Duration) -> Result<()> {
    let echo = Server::start(Command::new(std::env::current_exe()?).arg("echo"))?;
    let stage = Stage::set().await?;
    let Stage { errand, channels, token, task, .. } = &stage;

    let none = MetadataValue::from_static("none");
    let limit = load(&echo, &connect(&echo.url).await?, Call::Get, &none, task, time).await?;
    println!("{:<12} {:>12} {:>18} {:>10}", "call", "requests/s", "server CPU us/call", "of echo");
    print("echo", &limit, &limit);
    for (name, call) in [("GetTask", Call::Get), ("ListTasks 20", Call::List), ("CreateTask", Call::Create)] {
        if matches!(call, Call::List) {
            for _ in 0..20 {
                create(&mut TaskServiceClient::new(channels[0].clone()), token).await?;
            }
        }
        let figures = load(errand, channels, call, token, task, time).await?;
        print(name, &figures, &limit);
    }
    edge::run(&stage, time).await?;
    watchers::run(errand, token).await
}

fn print(name: &str, figures: &Figures, limit: &Figures) {
    let ratio = figures.cpu_micros() / limit.cpu_micros();
    println!("{name:<12} {:>12.0} {:>18.1} {ratio:>9.2}x", figures.per_second(), figures.cpu_micros());
}

/// The binary beside this one: the same profile, or `ERRAND_BIN`.
fn binary(own: &Path) -> Result<PathBuf> {
    let named = std::env::var_os("ERRAND_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| own.with_file_name("errand"));
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: cargo build --release first", path.display()).into())
    }
}

async fn connect(url: &str) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(url.to_owned())?.connect().await?);
    }
    Ok(channels)
}

async fn create(
    client: &mut TaskServiceClient<Channel>,
    token: &MetadataValue<Ascii>,
) -> std::result::Result<Task, Status> {
    let task = Task { title: "a task of the usual length".to_owned(), ..Task::default() };
    let request = CreateTaskRequest { task: Some(task), ..CreateTaskRequest::default() };
    Ok(client.create_task(with(request, token)).await?.into_inner())
}

fn with<T>(message: T, token: &MetadataValue<Ascii>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

/// One call, whatever it answers.
async fn call(
    client: &mut TaskServiceClient<Channel>,
    call: Call,
    token: &MetadataValue<Ascii>,
    task: &str,
) -> std::result::Result<(), Status> {
    match call {
        Call::Create => drop(create(client, token).await?),
        Call::Get => drop(client.get_task(with(GetTaskRequest { task_id: task.to_owned() }, token)).await?),
        Call::List => {
            let request = ListTasksRequest { page_size: 20, ..ListTasksRequest::default() };
            drop(client.list_tasks(with(request, token)).await?);
        }
    }
    Ok(())
}

async fn load(
    server: &Server,
    channels: &[Channel],
    call: Call,
    token: &MetadataValue<Ascii>,
    task: &str,
    time: Duration,
) -> Result<Figures> {
    let pace = Pace::default();
    let workers = (0..IN_FLIGHT).map(|number| {
        let mut client = TaskServiceClient::new(channels[number % channels.len()].clone());
        let (pace, token, task) = (pace.clone(), token.clone(), task.to_owned());
        tokio::spawn(async move {
            while pace.goes_on() {
                self::call(&mut client, call, &token, &task).await?;
                pace.count();
            }
            Ok::<_, Status>(())
        })
    });
    pace.measure(server, workers.collect(), time).await
}

// === impl Pace ===

impl Pace {
    /// Whether there is another call to make.
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What the calls of these workers cost a server, after a second to warm up.
    async fn measure<E: Error + 'static>(
        &self,
        server: &Server,
        workers: Vec<JoinHandle<std::result::Result<(), E>>>,
        time: Duration,
    ) -> Result<Figures> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (began, calls, cpu) = (Instant::now(), self.done.load(Ordering::Relaxed), server.cpu()?);
        tokio::time::sleep(time).await;
        let (took, calls, cpu) = (began.elapsed(), self.done.load(Ordering::Relaxed) - calls, server.cpu()? - cpu);
        self.stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.await??;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
        let calls = calls as f64;
        Ok(Figures { calls, seconds: took.as_secs_f64(), cpu_seconds: cpu })
    }
}

// === impl Figures ===

impl Figures {
    fn add(&mut self, more: &Self) {
        self.calls += more.calls;
        self.seconds += more.seconds;
        self.cpu_seconds += more.cpu_seconds;
    }

    fn per_second(&self) -> f64 {
        self.calls / self.seconds
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.calls.max(1.0)
    }
}

// === impl Server ===

impl Server {
    /// Starts a program that says where it listens.
    fn start(command: &mut Command) -> Result<Self> {
        // What is meant for the bench is no setting of the server.
        command.env_remove("ERRAND_BIN").env_remove("ERRAND_ENVOY");
        // One user calls as often as it goes: what is measured is the work, not the limit.
        command.env("ERRAND_USER_RATES", "off").env("ERRAND_ADDRESS_RATES", "off");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let url = loop {
            let line = lines.next().ok_or("the server ended")??;
            if let Some(url) = line.trim().strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        // Read on, so that the server never blocks on its output.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }

    /// What the process holds in memory, in MiB.
    fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// The CPU time of the process so far, in seconds.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / TICKS_PER_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
