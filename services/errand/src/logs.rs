//! Log lines go to stderr: pretty on a terminal, one JSON object a line otherwise. Where a trace is
//! made, a line says which span it belongs to.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use opentelemetry::{Context, trace::TraceContextExt};
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets, dynamic_filter_fn},
    fmt::{
        FmtContext, FormatEvent, FormatFields, Layer as Lines,
        format::{Format, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    cli::Failure,
    config::{Log, traces::Settings, value::LogFormat},
    telemetry::{self, Traces},
};

/// A format whose lines name trace and span.
struct Placed<F>(F);

/// Starts logging, and tracing if that is wanted: to be held until the end, when the last spans are
/// delivered. A filter that can not be read was refused by the configuration.
pub(crate) fn start(log: &Log, traces: &Settings, name: &str) -> Result<Option<Traces>, Failure> {
    let filter: Targets = log.filter.parse().unwrap_or_default();
    // Spans for traces would hide those that are for lines.
    let filter = filter.with_targets(telemetry::TARGETS.map(|target| (target, LevelFilter::OFF)));
    let traces = traces.start(name)?;
    let started = match &traces {
        None => tracing_subscriber::registry().with(lines(log, false)).with(filter).try_init(),
        Some(traces) => {
            let wanted = Targets::new().with_targets(telemetry::TARGETS.map(|target| (target, Level::DEBUG)));
            // What nobody called for, such as keeping house, is no trace.
            let called_for = dynamic_filter_fn(|metadata, _| {
                metadata.target() != telemetry::SQL || Context::map_current(Context::has_active_span)
            });
            let spans = tracing_opentelemetry::layer()
                .with_tracer(traces.tracer())
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_filter(wanted.and(called_for));
            tracing_subscriber::registry().with(lines(log, true).with_filter(filter)).with(spans).try_init()
        }
    };
    // It fails only where somebody started logging already, and then there is a log.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(alarm = "panic", place, "a thread panicked: {}", panic.payload_as_str().unwrap_or("no text"));
    }));
    if let Some(traces) = &traces {
        traces.tell_ignored();
    }
    Ok(traces)
}

/// What writes the lines.
fn lines(log: &Log, are_placed: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let terminal = io::stderr().is_terminal();
    let lines = Lines::default().with_writer(io::stderr);
    let is_pretty = log.format == LogFormat::Pretty || (log.format == LogFormat::Auto && terminal);
    let (pretty, json) = (Format::default().compact(), Format::default().json());
    let json = json.flatten_event(true).with_current_span(true).with_span_list(false);
    match (is_pretty, are_placed) {
        (true, false) => lines.with_ansi(terminal && log.colour).event_format(pretty).boxed(),
        (true, true) => lines.with_ansi(terminal && log.colour).event_format(Placed(pretty)).boxed(),
        (false, false) => lines.json().event_format(json).boxed(),
        (false, true) => lines.json().event_format(Placed(json)).boxed(),
    }
}

impl<S, N, F> FormatEvent<S, N> for Placed<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let place = Context::map_current(|here| {
            let span = here.span().span_context().clone();
            span.is_valid().then(|| (span.trace_id(), span.span_id()))
        });
        let Some((trace, span)) = place else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#),
            None => writeln!(writer, "{} trace_id={trace} span_id={span}", line.trim_end()),
        }
    }
}
