//! Traces, as a collector receives them over OTLP from the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

mod collector;
mod process;

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use collector::{Collector, Span, Trace};
use errand_cluster::Cluster;
use errand_proto::task::{GetTaskRequest, WatchTasksRequest};
use process::Process;

/// Where a caller's own span is, in a trace of its own for each test.
struct Place {
    trace: String,
    header: String,
}

const SPAN: &str = "00f067aa0ba902b7";

const SEND_MESSAGE: &str = "errand.chat.v1.ChatService/SendMessage";
const CREATE_TASKS: &str = "errand.task.v1.TaskService/BatchCreateTasks";
const CREATE_TASK: &str = "errand.task.v1.TaskService/CreateTask";
const WATCH_TASKS: &str = "errand.task.v1.TaskService/WatchTasks";
const GET_JWKS: &str = "errand.auth.v1.AuthService/GetJwks";
const GET_TASK: &str = "errand.task.v1.TaskService/GetTask";

impl Place {
    /// One that wants to be traced, or not.
    fn new(number: u8, is_sampled: bool) -> Self {
        let trace = format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}");
        let header = format!("00-{trace}-{SPAN}-0{}", u8::from(is_sampled));
        Self { trace, header }
    }
}

/// All roles in one process on a data folder, that send what they trace at once.
fn all_in_one(folder: &tempfile::TempDir, endpoint: &str, more: &[(&str, &str)]) -> Process {
    let folder = folder.path().to_str().unwrap();
    let always =
        [("ERRAND_DATA_DIR", folder), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    Process::start(&["serve"], &[always.as_slice(), more].concat())
}

/// What "add buy milk" has to show: gateway, chat, its model and its tool, task, and the database below each.
fn shows_everything(trace: &Trace, services: [&str; 3], database: &str) -> bool {
    let [gateway, chat, task] = services;
    let said = [("server", SEND_MESSAGE), ("client", SEND_MESSAGE), ("server", SEND_MESSAGE)];
    let did = [("internal", "execute_tool add_tasks"), ("client", CREATE_TASKS), ("server", CREATE_TASKS)];
    let path = [said.as_slice(), &[("internal", "invoke_agent errand")], &did].concat();
    let Some(path) = trace.path(SPAN, &path) else { return false };
    let [edge, call, served, turn, tool, asked, created] = path[..] else { return false };
    let Some(model) = trace.below(&turn.id, "internal", "chat planner") else { return false };
    let services: Vec<_> = path.iter().chain([&model]).map(|span| &*span.service).collect();
    let are_ended = [edge, call, served, asked, created].iter().all(|span| {
        let rpc = ["rpc.system.name", "rpc.method", "rpc.response.status_code"].map(|name| span.get(name));
        rpc == [Some("grpc"), Some(&*span.name), Some("OK")] && !span.is_error
    });
    are_ended
        && services == [gateway, gateway, chat, chat, chat, chat, task, chat]
        && model.get("gen_ai.operation.name") == Some("chat")
        && model.get("gen_ai.request.model") == Some("planner")
        && tool.get("gen_ai.tool.name") == Some("add_tasks")
        && [served, turn, created].into_iter().all(|span| trace.asks_database(span, database))
}

#[tokio::test]
async fn add_buy_milk_shows_gateway_chat_task_and_sql() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[]);
    let place = Place::new(1, true);
    server.person().await.say("add buy milk", &place.header).await;
    let trace = collector.trace(&place.trace, |trace| shows_everything(trace, ["errand"; 3], "sqlite")).await;
    println!("{trace}");
}

#[tokio::test]
async fn four_processes_on_postgresql_make_one_trace() {
    let Some(cluster) = Cluster::shared() else { return };
    let (collector, database) = (Collector::start().await, cluster.database());
    let migrated = Command::new(env!("CARGO_BIN_EXE_errand"))
        .env_clear()
        .envs([("HOME", "/"), ("ERRAND_DATABASE_URL", &database.url("errand_migrate"))])
        .args(["migrate", "up"])
        .status();
    assert!(migrated.unwrap().success());

    // Where each will listen, for the others to know.
    let folder = tempfile::tempdir().unwrap();
    let places = ["auth", "task", "chat"].map(|role| (role, format!("unix:{}/{role}", folder.path().display())));
    let targets = places.each_ref().map(|(role, place)| (format!("ERRAND_{}_TARGET", role.to_uppercase()), place));
    let start = |role: &str, listen: &str, database: &str| {
        let own = [
            ("HOME", "/"),
            ("ERRAND_LISTEN", listen),
            ("ERRAND_SECRET_KEY", "a secret of at least thirty-two bytes"),
            ("ERRAND_DATABASE_URL", database),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ];
        let targets = targets.iter().map(|(name, target)| (name.as_str(), target.as_str()));
        Process::start(&["serve", role], &own.into_iter().chain(targets).collect::<Vec<_>>())
    };
    let roles = places.each_ref().map(|(role, place)| start(role, place, &database.url(&format!("errand_{role}"))));
    let gateway = start("gateway", "127.0.0.1:0", &database.url("errand_task"));

    let place = Place::new(15, true);
    gateway.person().await.say("add buy milk", &place.header).await;
    let services = ["errand-gateway", "errand-chat", "errand-task"];
    let trace = collector.trace(&place.trace, |trace| shows_everything(trace, services, "postgresql")).await;
    println!("{trace}");
    tokio::task::spawn_blocking(|| [gateway].into_iter().chain(roles).for_each(|process| drop(process.stop())));
}

#[tokio::test]
async fn what_a_caller_did_wrong_is_an_error_of_the_caller_alone() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[("OTEL_SERVICE_NAME", "mine")]);
    let (person, place) = (server.person().await, Place::new(2, true));
    let request = GetTaskRequest { task_id: "0197a6f0-0000-7000-8000-000000000000".to_owned() };
    person.tasks().get_task(person.request(request, &place.header)).await.unwrap_err();
    let trace = collector.trace(&place.trace, |trace| of_call(trace, GET_TASK).is_some()).await;
    let spans = of_call(&trace, GET_TASK).unwrap();
    assert_eq!(spans.iter().map(|span| span.is_error).collect::<Vec<_>>(), [false, true, false]);
    for span in spans {
        assert_eq!(span.get("rpc.response.status_code"), Some("NOT_FOUND"));
        assert_eq!(span.service, "mine");
    }
}

#[tokio::test]
async fn the_last_spans_are_delivered_when_the_process_ends() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]);
    let place = Place::new(3, true);
    server.person().await.create("milk", &place.header).await.unwrap();
    assert_eq!(collector.calls(), 0);
    tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let arrived = Trace(collector.spans().into_iter().filter(|span| span.trace == place.trace).collect());
    let created = of_call(&arrived, CREATE_TASK).map(|path| path[2]);
    assert!(created.is_some_and(|created| arrived.asks_database(created, "sqlite")), "{arrived}");
}

#[tokio::test]
async fn a_log_line_says_which_span_it_belongs_to() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[("ERRAND_LOG", "info,errand_chassis=debug")]);
    let place = Place::new(4, true);
    server.person().await.create("milk", &place.header).await.unwrap();
    let trace = collector.trace(&place.trace, |trace| of_call(trace, CREATE_TASK).is_some()).await;
    let served = of_call(&trace, CREATE_TASK).unwrap()[2].id.clone();
    let log = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let line = log.iter().find(|line| line.contains(&place.trace) && line.contains("answered")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trace_id"], place.trace);
    assert_eq!(line["span_id"], served);
    assert_eq!(line["span"]["rpc.method"], format!("/{CREATE_TASK}"));
    assert!(line["span"]["request_id"].is_string() && line["span"]["user.id"].is_string(), "{line}");
}

/// The spans of one call, at the edge, between gateway and role, and in the role.
fn of_call<'t>(trace: &'t Trace, method: &str) -> Option<Vec<&'t Span>> {
    trace.path(SPAN, &[("server", method), ("client", method), ("server", method)])
}

#[tokio::test]
async fn a_stream_lasts_until_nobody_listens_any_more() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[]);
    let (person, place) = (server.person().await, Place::new(10, true));
    let request = person.request(WatchTasksRequest::default(), &place.header);
    let mut watch = person.tasks().watch_tasks(request).await.unwrap().into_inner();
    person.create("milk", &Place::new(11, true).header).await.unwrap();
    watch.message().await.unwrap().unwrap();
    let created = Place::new(11, true).trace;
    collector.trace(&created, |trace| of_call(trace, CREATE_TASK).is_some()).await;
    assert!(collector.spans().iter().all(|span| span.name != WATCH_TASKS), "it is still open");
    drop(watch);
    let trace = collector.trace(&place.trace, |trace| of_call(trace, WATCH_TASKS).is_some()).await;
    for span in of_call(&trace, WATCH_TASKS).unwrap() {
        assert_eq!(span.get("rpc.response.status_code"), Some("CANCELLED"), "{trace}");
    }
}

#[tokio::test]
async fn the_edge_knows_how_a_call_of_grpc_web_ended() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[]);
    for (number, method, status) in [(12, GET_JWKS, "OK"), (13, GET_TASK, "UNAUTHENTICATED")] {
        let (place, address) = (Place::new(number, true), server.address.unwrap());
        let header = place.header.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let head = format!(
                "POST /{method} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/grpc-web+proto\r\n\
                 traceparent: {header}\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
            );
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&[head.as_bytes(), &[0; 5]].concat()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        assert!(answer.await.unwrap().starts_with("HTTP/1.1 200"));
        let trace = collector.trace(&place.trace, |trace| trace.below(SPAN, "server", method).is_some()).await;
        let edge = trace.below(SPAN, "server", method).unwrap();
        assert_eq!(edge.get("rpc.response.status_code"), Some(status), "{trace}");
    }
}

#[test]
fn what_can_not_be_done_is_told_before_anything_starts() {
    let plain = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    let cases = [
        ([("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"), ("A", "")], "without TLS"),
        ([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"), ("A", "")], "http://host:port"),
        ([plain, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], "over grpc"),
        ([plain, ("OTEL_TRACES_EXPORTER", "zipkin")], "otlp or none"),
    ];
    for (variables, why) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        let output = command.env_clear().env("HOME", "/").envs(variables).args(["config", "check"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && said.contains(why), "{variables:?}: {said}");
    }
}

#[tokio::test]
async fn what_is_set_and_unknown_is_told_and_ignored() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let more = [("OTEL_PROPAGATORS", "b3,tracecontext"), ("OTEL_TRACES_SAMPLER", "mood")];
    let server = all_in_one(&folder, &collector.url(), &more);
    let place = Place::new(14, true);
    server.person().await.create("milk", &place.header).await.unwrap();
    collector.trace(&place.trace, |trace| of_call(trace, CREATE_TASK).is_some()).await;
    let log = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    for what in ["OTEL_PROPAGATORS: b3", "OTEL_TRACES_SAMPLER: mood"] {
        assert!(log.iter().any(|line| line.contains(what) && line.contains("WARN")), "{log:#?}");
    }
}

/// Nothing is sent, and lines name no span.
async fn is_off(more: &[(&str, &str)]) {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[&[("ERRAND_LOG", "debug")], more].concat());
    server.person().await.say("add buy milk", &Place::new(5, true).header).await;
    let log = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(collector.calls(), 0, "{more:?}");
    let answered = log.iter().find(|line| line.contains("answered") && line.contains(SEND_MESSAGE));
    let answered = answered.unwrap_or_else(|| panic!("{log:#?}"));
    assert!(!answered.contains("trace_id"), "{answered}");
}

#[tokio::test]
async fn nothing_is_traced_without_a_collector() {
    is_off(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).await;
}

#[tokio::test]
async fn the_standard_switches_turn_traces_off() {
    is_off(&[("OTEL_SDK_DISABLED", "true")]).await;
    is_off(&[("OTEL_TRACES_EXPORTER", "none")]).await;
}

#[tokio::test]
async fn samplers_decide_what_is_sent() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let server = all_in_one(&folder, &collector.url(), &[sampler]);
    let (person, wanted, unwanted) = (server.person().await, Place::new(6, true), Place::new(7, false));
    person.create("unwanted", &unwanted.header).await.unwrap();
    person.create("wanted", &wanted.header).await.unwrap();
    tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let spans = collector.spans();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace == wanted.trace), "{spans:#?}");
}

#[tokio::test]
async fn without_a_propagator_each_role_begins_a_trace_of_its_own() {
    let (collector, folder) = (Collector::start().await, tempfile::tempdir().unwrap());
    let server = all_in_one(&folder, &collector.url(), &[("OTEL_PROPAGATORS", "none")]);
    let place = Place::new(8, true);
    server.person().await.create("milk", &place.header).await.unwrap();
    tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == CREATE_TASK));
    assert!(spans.iter().all(|span| span.trace != place.trace), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    // A port that nobody listens on: bound, and let go of.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = all_in_one(&folder, &format!("http://{address}"), &[]);
    server.person().await.create("milk", &Place::new(9, true).header).await.unwrap();
    let log = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let told = log.iter().filter(|line| line.contains("traces are not delivered")).count();
    assert_eq!(told, 1, "{log:#?}");
}
