//! A collector of traces: takes OTLP over gRPC on a real socket, decodes it and keeps the spans.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span as Wire,
};
use prost::Message;
use tokio::{sync::watch, time::timeout};

/// How long spans may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector that listens for as long as it lives.
pub(crate) struct Collector {
    address: SocketAddr,
    spans: Arc<watch::Sender<Vec<Span>>>,
    calls: Arc<watch::Sender<usize>>,
}

/// A span as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// `service.name` of the process that made it.
    pub(crate) service: String,
    pub(crate) name: String,
    /// `server`, `client` or `internal`.
    pub(crate) kind: &'static str,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) attributes: HashMap<String, String>,
    /// Whether its status is an error.
    pub(crate) is_error: bool,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let spans = Arc::new(watch::Sender::new(Vec::new()));
        let calls = Arc::new(watch::Sender::new(0));
        let (kept, counted) = (spans.clone(), calls.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, counted) = (kept.clone(), counted.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counted.send_modify(|calls| *calls += 1);
                        tokio::spawn(take(request, respond, kept.clone()));
                    }
                });
            }
        });
        Self { address, spans, calls }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many calls were made so far.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Everything that has arrived so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }

    /// The spans of one trace, once what is asked for is among them.
    pub(crate) async fn trace(&self, trace: &str, is_complete: impl Fn(&Trace) -> bool) -> Trace {
        let mut spans = self.spans.subscribe();
        let of = |spans: &[Span]| Trace(spans.iter().filter(|span| span.trace == trace).cloned().collect());
        let complete = timeout(PATIENCE, spans.wait_for(|spans| is_complete(&of(spans)))).await.is_ok();
        let trace = of(&self.spans());
        assert!(complete, "only this has arrived:\n{trace}");
        trace
    }
}

/// The spans of one trace.
pub(crate) struct Trace(pub(crate) Vec<Span>);

impl Trace {
    /// The only span below `parent` whose name and kind are these, at whatever depth between the two there are none of
    /// these.
    pub(crate) fn below(&self, parent: &str, kind: &str, name: &str) -> Option<&Span> {
        self.0.iter().find(|span| span.parent == parent && span.kind == kind && span.name == name)
    }

    /// The spans from `parent` down, each found by kind and name among the children of the one before.
    pub(crate) fn path(&self, parent: &str, steps: &[(&str, &str)]) -> Option<Vec<&Span>> {
        let mut parent = parent.to_owned();
        let mut path = Vec::new();
        for (kind, name) in steps {
            let span = self.below(&parent, kind, name)?;
            parent.clone_from(&span.id);
            path.push(span);
        }
        Some(path)
    }

    /// Whether a statement was sent to a database directly below this span.
    pub(crate) fn asks_database(&self, span: &Span, system: &str) -> bool {
        self.0.iter().any(|sql| sql.parent == span.id && sql.get("db.system.name") == Some(system))
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        fn branch(all: &[Span], span: &Span, depth: usize, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            writeln!(f, "{:depth$}{} {} [{}]", "", span.kind, span.name, span.service, depth = depth * 2)?;
            all.iter().filter(|child| child.parent == span.id).try_for_each(|child| branch(all, child, depth + 1, f))
        }
        let is_root = |span: &&Span| !self.0.iter().any(|other| other.id == span.parent);
        self.0.iter().filter(is_root).try_for_each(|span| branch(&self.0, span, 0, f))
    }
}

impl Span {
    pub(crate) fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// Answers one `Export` and keeps what it brought.
async fn take(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    kept: Arc<watch::Sender<Vec<Span>>>,
) {
    assert_eq!(request.uri().path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    assert_eq!(bytes.get_u8(), 0, "not compressed");
    let length = bytes.get_u32() as usize;
    assert_eq!(length, bytes.len(), "one message");
    let message = ExportTraceServiceRequest::decode(bytes.freeze()).unwrap();
    let new = message.resource_spans.into_iter().flat_map(|spans| {
        let resource = attributes(&spans.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span::read(&service, span)).collect::<Vec<_>>()
    });
    kept.send_modify(|spans| spans.extend(new));

    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let mut answer = vec![0; 5];
    ExportTraceServiceResponse::default().encode(&mut answer).unwrap();
    stream.send_data(answer.into(), false).unwrap();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    stream.send_trailers(trailers).unwrap();
}

impl Span {
    fn read(service: &str, span: Wire) -> Self {
        let kind = match span.kind {
            2 => "server",
            3 => "client",
            _ => "internal",
        };
        let mut names: Vec<_> = span.attributes.iter().map(|attribute| &attribute.key).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: said twice: {names:?}", span.name);
        Self {
            service: service.to_owned(),
            kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: attributes(&span.attributes),
            is_error: span.status.is_some_and(|status| status.code == 2),
            name: span.name,
        }
    }
}

fn attributes(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(&attribute.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
