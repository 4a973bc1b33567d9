//! Whether this process lives, and whether it should be sent work.
//!
//! Alive means only that it answers. Ready means that every part has said so and no drain has begun; a balancer
//! that sees 503 sends its traffic elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use crate::lifecycle::Stop;
use crate::problem::{Code, FieldErrors, NotLogged, Problem, pointer_step};

/// What a probe commonly waits between two tries.
const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// About what a start takes.
const START_AGAIN: Duration = Duration::from_secs(1);
/// What hinders the process as a whole goes under this name.
const PROCESS: &str = "/process";

const ALIVE: &str = "/livez";
const READY: &str = "/readyz";

/// How one part of the process is. The reason is public: it names no address and no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Ready,
    NotReady(String),
}

type Parts = Arc<Mutex<BTreeMap<&'static str, Condition>>>;

/// The parts of this process and how they are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    parts: Parts,
    stop: Stop,
}

/// The handle by which one part tells how it is.
#[derive(Clone)]
pub struct HealthReporter {
    name: &'static str,
    parts: Parts,
}

impl fmt::Debug for HealthReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HealthReporter({})", self.name)
    }
}

impl HealthReporter {
    pub fn ready(&self) {
        self.set(Condition::Ready);
    }

    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Condition::NotReady(reason.into()));
    }

    fn set(&self, condition: Condition) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(self.name, condition.clone());
        drop(parts);
        match condition {
            now if before.as_ref() == Some(&now) => {}
            Condition::Ready => tracing::info!(part = self.name, "ready"),
            Condition::NotReady(reason) => tracing::warn!(part = self.name, "not ready: {reason}"),
        }
    }
}

impl Health {
    #[must_use]
    pub fn new(stop: Stop) -> Self {
        Health { parts: Parts::default(), stop }
    }

    /// Registers a part, which counts as not ready until it says otherwise.
    #[must_use]
    pub fn part(&self, name: &'static str) -> HealthReporter {
        let starting = Condition::NotReady("starting".to_owned());
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, starting);
        HealthReporter { name, parts: Arc::clone(&self.parts) }
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.hindrances().is_empty()
    }

    /// `GET /livez` and `GET /readyz`.
    pub fn routes(&self) -> Router {
        Router::new().route(ALIVE, get(alive)).route(READY, get(readiness)).with_state(self.clone())
    }

    fn hindrances(&self) -> FieldErrors {
        let mut hindrances = FieldErrors::default();
        if self.stop.is_draining() {
            hindrances.add(PROCESS, "draining");
        }
        for (name, condition) in self.parts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Condition::NotReady(reason) = condition {
                hindrances.add(format!("/{}", pointer_step(name)), reason.clone());
            }
        }
        hindrances
    }
}

/// Whether somebody asks here how the process is.
pub(crate) fn is_probe(path: &str) -> bool {
    [ALIVE, READY].contains(&path)
}

/// The same two while the process has no parts yet; it can do nothing else.
pub(crate) fn routes_while_starting() -> Router {
    let starting =
        async || Problem::new(Code::Unavailable, "the process is starting").with_retry_after(START_AGAIN);
    Router::new().route(ALIVE, get(alive)).route(READY, get(not_even_started)).fallback(starting)
}

async fn alive() -> Json<serde_json::Value> {
    Json(serde_json::json!({"status": "alive"}))
}

async fn readiness(State(health): State<Health>) -> Response {
    let hindrances = health.hindrances();
    if hindrances.is_empty() {
        return Json(serde_json::json!({"status": "ready"})).into_response();
    }
    refuse(hindrances)
}

async fn not_even_started() -> Response {
    let mut hindrances = FieldErrors::default();
    hindrances.add(PROCESS, "starting");
    refuse(hindrances)
}

fn refuse(hindrances: FieldErrors) -> Response {
    let problem = hindrances.into_problem_of(Code::Unavailable).with_retry_after(PROBE_AGAIN);
    (Extension(NotLogged), problem).into_response()
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(axum::body::Body::empty()).expect("a request");
        let answer = health.routes().oneshot(request).await.expect("routers do not fail");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn readiness_waits_for_every_part_and_ends_with_the_drain() {
        let stop = Stop::default();
        let health = Health::new(stop.clone());
        let (queue, store) = (health.part("queue"), health.part("store"));
        assert_eq!(ask(&health, "/livez").await.0, StatusCode::OK);
        queue.ready();
        store.not_ready("the database does not answer");
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("\"/store\"") && body.contains("does not answer") && !body.contains("/queue"),
            "{body}"
        );
        store.ready();
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::OK);
        stop.drain();
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(&health, "/livez").await.0, StatusCode::OK);
    }
}
