//! Log lines go to stderr: pretty on a terminal, one JSON object a line otherwise.

use std::io::{self, IsTerminal};

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, value::LogFormat};

/// Starts logging. A filter that can not be read was refused by the configuration.
pub(crate) fn start(log: &Log) {
    let filter: Targets = log.filter.parse().unwrap_or_default();
    let terminal = io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Pretty => registry.with(lines.with_ansi(terminal && log.colour).compact()).try_init(),
        LogFormat::Auto if terminal => registry.with(lines.with_ansi(log.colour).compact()).try_init(),
        LogFormat::Auto | LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_current_span(true).with_span_list(false)).try_init()
        }
    };
    // It fails only where somebody started logging already, and then there is a log.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(alarm = "panic", place, "a thread panicked: {}", panic.payload_as_str().unwrap_or("no text"));
    }));
}
