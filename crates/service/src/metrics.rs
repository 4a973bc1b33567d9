//! What Prometheus is told. Every name begins with `postrider_`; every label value comes from an enum (for HTTP: from
//! the route table), never from input; every series exists at zero from the start, so that a rate sees the first
//! failure. Each role registers its own group.

mod http;
mod ingest;
mod label;
mod queue;
mod status;
mod worker;

use ::http::HeaderValue;
use ::http::header::CONTENT_TYPE;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::core::Collector;
use prometheus::{IntGauge, Opts, Registry, TextEncoder};

pub use self::http::HttpMetrics;
pub use self::ingest::{IngestMetrics, IngestResult, IngestSource};
pub use self::label::{CounterGrid, CounterTable, GaugeTable, HistogramTable, Label};
pub use self::queue::{QueueMetrics, QueueName};
pub use self::status::{StatusMetrics, StrayReason, WebhookState};
pub use self::worker::{AttemptReason, DeliveryEnd, ProviderLabel, RetryStep, WorkerMetrics};
use crate::problem::Problem;

const PREFIX: &str = "postrider";

/// A group registered twice, or two metrics of one name: a mistake in the program, told at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot register metrics")]
pub struct MetricsError(#[from] prometheus::Error);

/// The metrics of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// With the build's information and, on Linux, the process's CPU, memory and file descriptors.
    ///
    /// # Errors
    /// When a metric cannot be registered.
    pub fn new(version: &str, revision: &str) -> Result<Self, MetricsError> {
        let metrics = Metrics { registry: Registry::new() };
        let options = options("build_info", "The build that runs; always 1.")
            .const_label("version", version)
            .const_label("revision", revision);
        metrics.register(IntGauge::with_opts(options)?)?.set(1);
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// `GET /metrics`.
    pub fn routes(&self) -> Router {
        Router::new().route("/metrics", get(scrape)).with_state(self.clone())
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match TextEncoder::new().encode_to_string(&metrics.registry.gather()) {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            Problem::internal().into_response()
        }
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}

fn histogram_options(name: &str, help: &str, buckets: &[f64]) -> prometheus::HistogramOpts {
    prometheus::HistogramOpts { common_opts: options(name, help), buckets: buckets.to_vec() }
}

#[cfg(test)]
mod tests;
