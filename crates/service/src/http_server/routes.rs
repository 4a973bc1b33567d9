//! The routes of a server, which it may be given after it has begun to serve: whoever asks meanwhile waits, but not
//! for long.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::health;

/// How long a request waits for the process to have started. Nearly every start takes less, and what a handler then
/// may take still fits into the five seconds in which every publish request is answered.
const START: Duration = Duration::from_secs(1);

/// Closed at first, then open for good. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Routes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    router: OnceLock<Router>,
    are_open: CancellationToken,
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        let routes = Routes::default();
        routes.open(router);
        routes
    }
}

impl Routes {
    /// From now on requests go to this router; later ones change nothing.
    pub fn open(&self, router: Router) {
        // Whoever opened first has cancelled the token already.
        self.0.router.get_or_init(|| router);
        self.0.are_open.cancel();
    }

    /// Where a request for this path goes. Probes are answered at once.
    pub(super) async fn router_for(&self, path: &str) -> Router {
        if let Some(router) = self.0.router.get() {
            return router.clone();
        }
        if !health::is_probe(path) {
            timeout(START, self.0.are_open.cancelled()).await.ok();
        }
        self.0.router.get().cloned().unwrap_or_else(health::routes_while_starting)
    }
}
