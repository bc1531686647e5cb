//! What the standard variables say about traces.
//!
//! What is read here: OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_PROPAGATORS and the endpoint. The SDK reads the
//! others itself: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SPAN_*,
//! OTEL_EXPORTER_OTLP_*. What is done with it is in [`crate::telemetry`].

use super::source::Sources;

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What the standard variables say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Whether spans are sent.
    pub(crate) on: bool,
    /// How a trace is passed on.
    pub(crate) propagators: Vec<Propagator>,
    /// Whether an operator has named the service.
    pub(crate) is_named: bool,
    /// What was said and has no effect here.
    pub(crate) ignored: Vec<String>,
}

/// The headers that a trace is passed on in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagator {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `baggage`.
    Baggage,
}

// === impl Settings ===

impl Settings {
    /// Reads the variables; what can not be done is a fault.
    pub(crate) fn read(sources: &mut Sources) -> Self {
        let of = |sources: &Sources, name: &str| sources.foreign(name).map(str::to_owned);
        let of_traces = |sources: &Sources, name: &str| {
            of(sources, &format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .map(|value| (format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), value))
                .or_else(|| {
                    let name = format!("OTEL_EXPORTER_OTLP_{name}");
                    of(sources, &name).map(|value| (name, value))
                })
        };
        let is_disabled = of(sources, "OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = of(sources, "OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        let Some((variable, endpoint)) = of_traces(sources, "ENDPOINT").filter(|_| !is_disabled && exporter != "none")
        else {
            return Self::default();
        };
        if exporter != "otlp" {
            sources.fault(format!("OTEL_TRACES_EXPORTER: `{exporter}` is not otlp or none"));
        }
        if let Some((variable, protocol)) = of_traces(sources, "PROTOCOL").filter(|(_, protocol)| protocol != "grpc") {
            sources.fault(format!("{variable}: traces are sent over grpc, not over `{protocol}`"));
        }
        let insecure = of_traces(sources, "INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let is_plain = endpoint.starts_with("http://") || (insecure && !endpoint.contains("://"));
        if !is_plain {
            sources.fault(format!(
                "{variable}: `{endpoint}` is not http://host:port; traces are sent without TLS, so to a collector \
                 beside this process"
            ));
        }

        let mut settings = Self { on: true, ..Self::default() };
        let names = of(sources, "OTEL_PROPAGATORS").unwrap_or_else(|| "tracecontext,baggage".to_owned());
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "tracecontext" => settings.propagators.push(Propagator::TraceContext),
                "baggage" => settings.propagators.push(Propagator::Baggage),
                "none" => {}
                _ => settings.ignored.push(format!("OTEL_PROPAGATORS: {name}")),
            }
        }
        if let Some(sampler) = of(sources, "OTEL_TRACES_SAMPLER").filter(|name| !SAMPLERS.contains(&name.as_str())) {
            settings.ignored.push(format!("OTEL_TRACES_SAMPLER: {sampler}"));
        }
        settings.is_named = of(sources, "OTEL_SERVICE_NAME").is_some()
            || of(sources, "OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|all| all.split(',').any(|one| one.trim_start().starts_with("service.name=")));
        settings
    }
}
