//! Traces, sent over OTLP/gRPC to a collector that the standard variables name.
//!
//! Off unless an endpoint is given, and then nothing of it is there: no layer, no thread, no header
//! is looked at. What the variables say is read in `config::traces`. Where spans are made is in
//! `errand_chassis::trace`, in the storage engine and in the chat service.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use errand_chassis::trace;
use opentelemetry::{
    KeyValue,
    propagation::{TextMapCompositePropagator, TextMapPropagator},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    propagation::{BaggagePropagator, TraceContextPropagator},
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::{self, Handle, Runtime};
use tracing::{info, warn};

use crate::{
    cli::{Failure, Kind},
    config::traces::{Propagator, Settings},
};

/// The targets of the spans that make up a trace. Other spans are for log lines.
pub(crate) const TARGETS: [&str; 3] = [trace::TARGET, SQL, "errand_chat::trace"];

/// The target of the spans of statements.
pub(crate) const SQL: &str = "errand_storage::sql";

/// How long the last spans may take to be delivered when the process ends.
const LAST_DELIVERY: Duration = Duration::from_secs(3);

/// Delivers spans until it is stopped.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    ignored: Vec<String>,
    // After the provider, whose exporter lives on it.
    _runtime: Runtime,
}

/// The exporter, run where its connection lives, whose failures are told once each time they begin.
struct Delivery {
    exporter: Arc<Otlp>,
    runtime: Handle,
    fails: AtomicBool,
}

// === impl Settings ===

impl Settings {
    /// Begins to trace under a name, which an operator's own comes before. Nothing unless it was
    /// asked for.
    pub(crate) fn start(&self, name: &str) -> Result<Option<Traces>, Failure> {
        if !self.on {
            return Ok(None);
        }
        let failed = |error: &dyn fmt::Display| Failure::new(Kind::Failed, format!("traces can not start: {error}"));
        // Its own, so that the last spans can be delivered when everything else has ended.
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let exporter = {
            let _inside = runtime.enter();
            Otlp::builder().with_tonic().build().map_err(|error| failed(&error))?
        };
        let delivery =
            Delivery { exporter: Arc::new(exporter), runtime: runtime.handle().clone(), fails: AtomicBool::new(false) };
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !self.is_named {
            resource = resource.with_service_name(name.to_owned());
        }
        let provider =
            SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(delivery).build();
        let propagators = self.propagators.iter().map(|propagator| -> Box<dyn TextMapPropagator + Send + Sync> {
            match propagator {
                Propagator::TraceContext => Box::new(TraceContextPropagator::new()),
                Propagator::Baggage => Box::new(BaggagePropagator::new()),
            }
        });
        trace::start(Box::new(TextMapCompositePropagator::new(propagators.collect())));
        Ok(Some(Traces { provider, ignored: self.ignored.clone(), _runtime: runtime }))
    }
}

// === impl Traces ===

impl Traces {
    /// What makes spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("errand")
    }

    /// Says what was set and has no effect, once there is a log to say it in.
    pub(crate) fn tell_ignored(&self) {
        for what in &self.ignored {
            warn!(what, "set, and unknown here: ignored");
        }
    }
}

impl Drop for Traces {
    /// Delivers what is left.
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_DELIVERY) {
            warn!(%error, "the last spans were not delivered");
        }
    }
}

// === impl Delivery ===

impl SpanExporter for Delivery {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let outcome = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        let outcome = outcome.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        let failed_before = self.fails.swap(outcome.is_err(), Relaxed);
        match &outcome {
            Err(error) if !failed_before => warn!(%error, "traces are not delivered"),
            Ok(()) if failed_before => info!("traces are delivered again"),
            _ => {}
        }
        outcome
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("fails", &self.fails).finish_non_exhaustive()
    }
}
