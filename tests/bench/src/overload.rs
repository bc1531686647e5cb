//! Ten times more callers than can be served: what is done all the same, how soon the others are told, and what is
//! left of it afterwards.
//!
//! Callers wait for their answers, and who is told OVERLOADED waits for a second, as it is told. Where there is
//! `taskset` and more than one core, the server has the first and the load the others, so that neither is
//! measured by what the other takes from it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use errand_proto::task::task_service_client::TaskServiceClient;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{Call, Result, Server, Stage, call};

/// Callers that keep a server busy, and ten times as many.
const CALM: usize = 64;
const CROWD: usize = 640;
/// Callers of one connection, below the limit of the edge.
const OF_A_CONNECTION: usize = 80;
/// How long who was refused waits.
const PAUSE: Duration = Duration::from_secs(1);

/// What callers saw.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    refused: Vec<Duration>,
    wrong: Vec<Status>,
}

/// The program that keeps a process on some cores; nothing where there is nothing to share out.
pub(crate) fn pinned(program: &std::path::Path) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let has_taskset = Command::new("taskset").arg("--version").output().is_ok_and(|said| said.status.success());
    if cores < 2 || !has_taskset {
        return Command::new(program);
    }
    let own = std::process::id().to_string();
    // Threads that are made from here on are on these cores, too; the runtime's others are told apart by -a.
    _ = Command::new("taskset").args(["-a", "-p", "-c", &format!("1-{}", cores - 1), &own]).output();
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// Prints what becomes of calls that read a row and of calls that write one.
pub(crate) async fn run(stage: &Stage, time: Duration) -> Result<()> {
    println!(
        "{:<12} {:>8} {:>10} {:>9} {:>9} {:>11} {:>14} {:>14}",
        "call", "callers", "done/s", "p50 ms", "p99 ms", "refused/s", "p99 refused", "health ms"
    );
    for (name, call) in [("GetTask", Call::Get), ("CreateTask", Call::Create)] {
        for (callers, time) in [(CALM, time), (CROWD, time), (CALM, Duration::from_secs(2))] {
            let (seen, health) = crowd(stage, call, callers, time).await?;
            print(name, callers, time, seen, health);
        }
    }
    Ok(())
}

async fn crowd(stage: &Stage, call: Call, callers: usize, time: Duration) -> Result<(Seen, Duration)> {
    let mut channels = Vec::new();
    for _ in 0..callers.div_ceil(OF_A_CONNECTION) {
        channels.push(Endpoint::from_shared(stage.errand.url.clone())?.connect().await?);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let watched = watch(&stage.errand, stop.clone());
    let workers: Vec<_> = (0..callers)
        .map(|number| {
            let channel = channels[number % channels.len()].clone();
            tokio::spawn(caller(channel, call, stage.token.clone(), stage.task.clone(), stop.clone()))
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut seen = Seen::default();
    for worker in workers {
        let mut own = worker.await?;
        seen.took.append(&mut own.took);
        seen.refused.append(&mut own.refused);
        seen.wrong.append(&mut own.wrong);
    }
    let health = watched.join().map_err(|_| "who asks for health has panicked")??;
    Ok((seen, health))
}

async fn caller(
    channel: Channel,
    kind: Call,
    token: MetadataValue<Ascii>,
    task: String,
    stop: Arc<AtomicBool>,
) -> Seen {
    let (mut client, mut seen) = (TaskServiceClient::new(channel), Seen::default());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match call(&mut client, kind, &token, &task).await {
            Ok(()) => seen.took.push(began.elapsed()),
            Err(status) if status.code() == Code::ResourceExhausted => {
                seen.refused.push(began.elapsed());
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => seen.wrong.push(status),
        }
    }
    seen
}

/// Asks for health ten times a second, on connections of its own; the longest that it took.
fn watch(server: &Server, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<std::result::Result<Duration, String>> {
    let address = server.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let said = health(&address).map_err(|error| error.to_string())?;
            if !said.starts_with("HTTP/1.1 200") {
                return Err(format!("health says {said}"));
            }
            longest = longest.max(began.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(longest)
    })
}

fn health(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn print(name: &str, callers: usize, time: Duration, mut seen: Seen, health: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
    let rate = |count: usize| count as f64 / time.as_secs_f64();
    let (done, refused) = (rate(seen.took.len()), rate(seen.refused.len()));
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p99) = (millis(part(&mut seen.took, 50)), millis(part(&mut seen.took, 99)));
    let told = millis(part(&mut seen.refused, 99));
    let health = millis(health);
    println!("{name:<12} {callers:>8} {done:>10.0} {p50:>9.1} {p99:>9.1} {refused:>11.0} {told:>14.1} {health:>14.1}");
    if let Some(wrong) = seen.wrong.first() {
        println!("{} calls ended otherwise, the first with {wrong:?}", seen.wrong.len());
    }
}

/// What so many in a hundred took at most.
fn part(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
