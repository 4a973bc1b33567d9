//! What the HTTP server did, by the route that matched. A path that matched none is `unmatched`, whatever it was.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{Method, StatusCode};
use prometheus::{HistogramVec, IntCounterVec};

use super::{Metrics, MetricsError, histogram_options, options};

const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const LABELS: [&str; 3] = ["route", "method", "status_class"];
const UNMATCHED: &str = "unmatched";

/// Requests by route, method and class of status.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpMetrics {
    /// # Errors
    /// When the group is already registered.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let requests = options("http_requests_total", "Requests answered.");
        let durations = histogram_options(
            "http_request_duration_seconds",
            "From the request head to the head of its answer.",
            &BUCKETS,
        );
        Ok(HttpMetrics {
            requests: metrics.register(IntCounterVec::new(requests, &LABELS)?)?,
            durations: metrics.register(HistogramVec::new(durations, &LABELS)?)?,
        })
    }

    /// The router, observed. Goes on after every route is there.
    pub fn observe(self, router: Router) -> Router {
        router.layer(from_fn_with_state(self, observe))
    }
}

async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut observed = Observed {
        metrics,
        route,
        method: method_label(request.method()),
        start: Instant::now(),
        status: None,
    };
    let answer = next.run(request).await;
    observed.status = Some(answer.status());
    answer
}

/// Counts when dropped, so that a handler that panicked, or whose client left, is counted too.
struct Observed {
    metrics: HttpMetrics,
    route: Option<MatchedPath>,
    method: &'static str,
    start: Instant,
    status: Option<StatusCode>,
}

impl Drop for Observed {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        let class = match self.status {
            Some(status) => class_label(status),
            None if std::thread::panicking() => "5xx",
            None => "abandoned",
        };
        let labels = [route, self.method, class];
        self.metrics.requests.with_label_values(&labels).inc();
        self.metrics.durations.with_label_values(&labels).observe(self.start.elapsed().as_secs_f64());
    }
}

fn method_label(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

fn class_label(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
