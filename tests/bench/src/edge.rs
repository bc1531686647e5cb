//! gRPC-Web through the gateway as a process of its own, beside the same calls without it and, where it is there,
//! beside Envoy doing the same work: all three in front of the same server, in the same run.

use std::{
    fs,
    io::{Error, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use errand_proto::task::GetTaskRequest;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use crate::{Figures, Pace, Result, Server, Stage};

/// Calls at a time. HTTP/1.1 has a connection for each, HTTP/2 two for all.
const IN_FLIGHT: usize = 32;
/// In turn, so that all doors meet the same machine, however busy it is.
const ROUNDS: u32 = 5;
const PATH: &str = "/errand.task.v1.TaskService/GetTask";
const ENVOY: &str = include_str!("envoy.yaml");

/// What a client sends its calls on.
enum Connection {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Prints what a gRPC-Web call costs the door that it goes through.
pub(crate) async fn run(stage: &Stage, time: Duration) -> Result<()> {
    let errand = &stage.errand;
    let behind: SocketAddr = errand.url.trim_start_matches("http://").parse()?;
    let gateway = gateway(&stage.binary, behind)?;
    let folder = tempfile::tempdir()?;
    let envoy = match envoy_program() {
        Some(program) => Some(envoy(&program, folder.path(), behind)?),
        None => None,
    };
    println!("\n{:<34} {:>12} {:>18} {:>10}", "GetTask over gRPC-Web", "requests/s", "CPU us/call", "of Envoy");
    let mut doors = vec![("no door (the server's CPU)", errand), ("gateway", &gateway)];
    doors.extend(envoy.as_ref().map(|envoy| ("Envoy", envoy)));
    for (version, two) in [("HTTP/1.1", false), ("HTTP/2", true)] {
        let mut figures: Vec<Figures> = doors.iter().map(|_| Figures::default()).collect();
        for _ in 0..ROUNDS {
            for ((_, door), sum) in doors.iter().zip(&mut figures) {
                sum.add(&load(door, stage, two, time / ROUNDS).await?);
            }
        }
        let beside = envoy.as_ref().and(figures.last()).map(Figures::cpu_micros);
        for ((name, _), sum) in doors.iter().zip(&figures) {
            let name = format!("{name}, {version}");
            let ratio = beside.map_or_else(|| "-".to_owned(), |beside| format!("{:.2}x", sum.cpu_micros() / beside));
            println!("{name:<34} {:>12.0} {:>18.1} {ratio:>10}", sum.per_second(), sum.cpu_micros());
        }
    }
    if envoy.is_none() {
        println!("Envoy is not here: ERRAND_ENVOY names it, or tests/clients/install installs it");
    }
    Ok(())
}

/// The gateway, which finds every role in one place.
pub(crate) fn gateway(binary: &Path, behind: SocketAddr) -> Result<Server> {
    let behind = behind.to_string();
    let mut command = Command::new(binary);
    command.args(["serve", "gateway"]).env("ERRAND_LISTEN", "127.0.0.1:0");
    for target in ["ERRAND_AUTH_TARGET", "ERRAND_TASK_TARGET", "ERRAND_CHAT_TARGET"] {
        command.env(target, &behind);
    }
    Server::start(&mut command)
}

/// Where Envoy is: `ERRAND_ENVOY`, or among the programs of tests/clients.
fn envoy_program() -> Option<PathBuf> {
    let named = std::env::var_os("ERRAND_ENVOY").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients/venv/bin/envoy");
    named.or_else(|| Some(installed).filter(|path| path.exists()))
}

/// Envoy, once it has the keys that it verifies tokens with.
fn envoy(program: &Path, folder: &Path, behind: SocketAddr) -> Result<Server> {
    let (config, admin) = (folder.join("envoy.yaml"), folder.join("admin"));
    fs::write(&config, ENVOY.replace("UPSTREAM", &behind.port().to_string()))?;
    let mut command = Command::new(program);
    command.arg("--config-path").arg(config).arg("--admin-address-path").arg(&admin);
    // As many threads as the gateway has.
    let threads = std::thread::available_parallelism()?;
    command.args(["--use-dynamic-base-id", "--log-level", "error", "--concurrency", &threads.to_string()]);
    let child = command.spawn()?;
    let mut server = Server { child, url: String::new() };
    for _ in 0..1000 {
        std::thread::sleep(Duration::from_millis(20));
        if server.child.try_wait()?.is_some() {
            return Err("Envoy ended".into());
        }
        let Ok(admin) = fs::read_to_string(&admin) else { continue };
        if !ask(&admin, "/ready").unwrap_or_default().contains("LIVE") {
            continue;
        }
        let listeners = ask(&admin, "/listeners")?;
        let address = listeners.lines().find_map(|line| line.split("::").nth(1)).ok_or("Envoy names no listener")?;
        server.url = format!("http://{}", address.trim());
        return Ok(server);
    }
    Err("Envoy is not ready".into())
}

/// Asks Envoy's administration, which closes after its answer.
fn ask(admin: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(admin.trim())?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
}

async fn load(door: &Server, stage: &Stage, two: bool, time: Duration) -> Result<Figures> {
    let address: SocketAddr = door.url.trim_start_matches("http://").parse()?;
    let message = GetTaskRequest { task_id: stage.task.clone() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);
    let request = Request::post(if two { format!("http://{address}{PATH}") } else { PATH.to_owned() })
        .header(CONTENT_TYPE, "application/grpc-web+proto")
        .header("accept", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("x-user-agent", "connect-es/2.2.0")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
        .header("origin", "http://localhost")
        .header("authorization", stage.token.to_str()?);
    let request = if two { request } else { request.header("host", address.to_string()) };
    let request = request.body(Full::new(Bytes::from(frame)))?;
    let mut shared = Vec::new();
    if two {
        for _ in 0..2 {
            shared.push(second(address).await?);
        }
    }
    let pace = Pace::default();
    let mut workers = Vec::new();
    for number in 0..IN_FLIGHT {
        let mut connection = match shared.get(number % 2) {
            Some(sender) => Connection::Two(sender.clone()),
            None => first(address).await?,
        };
        let (pace, request) = (pace.clone(), request.clone());
        workers.push(tokio::spawn(async move {
            while pace.goes_on() {
                connection.call(request.clone()).await?;
                pace.count();
            }
            Ok::<_, std::io::Error>(())
        }));
    }
    pace.measure(door, workers, time).await
}

async fn first(address: SocketAddr) -> Result<Connection> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Connection::One(sender))
}

async fn second(address: SocketAddr) -> Result<http2::SendRequest<Full<Bytes>>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

// === impl Connection ===

impl Connection {
    /// One call, and whether it went well.
    async fn call(&mut self, request: Request<Full<Bytes>>) -> std::io::Result<()> {
        let response = match self {
            Self::One(sender) => {
                sender.ready().await.map_err(Error::other)?;
                sender.send_request(request).await.map_err(Error::other)?
            }
            Self::Two(sender) => {
                sender.ready().await.map_err(Error::other)?;
                sender.send_request(request).await.map_err(Error::other)?
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.map_err(Error::other)?.to_bytes();
        if status == 200 && body.ends_with(b"grpc-status:0\r\n") {
            return Ok(());
        }
        Err(Error::other(format!("{status} {headers:?} {}", String::from_utf8_lossy(&body))))
    }
}
