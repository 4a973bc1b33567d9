//! What one connection is doing right now, shared between its socket, its requests and its answers.
//!
//! All of them run on the connection's own task, so the order of the steps is the order of the code; atomics are
//! here because the parts are owned apart, and because the server looks for idle connections when it is full. What
//! it sees may be past by the time it acts, which it allows for.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const WAITING: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No byte of the next request has come.
    Waiting,
    /// Part of a request head has come.
    Head,
    /// A request is with its handler, or its answer is on the way.
    Busy,
}

#[derive(Debug)]
pub(crate) struct ConnectionPhase {
    opened: Instant,
    now: AtomicU8,
    /// When the connection last became idle, in milliseconds since it was opened.
    waits_since: AtomicU64,
    requests: AtomicU64,
    has_unread_body: AtomicBool,
}

impl Default for ConnectionPhase {
    /// Of a connection opened now.
    fn default() -> Self {
        ConnectionPhase {
            opened: Instant::now(),
            now: AtomicU8::new(WAITING),
            waits_since: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            has_unread_body: AtomicBool::new(false),
        }
    }
}

impl ConnectionPhase {
    pub(crate) fn now(&self) -> Phase {
        match self.now.load(Ordering::Relaxed) {
            WAITING => Phase::Waiting,
            HEAD => Phase::Head,
            _ => Phase::Busy,
        }
    }

    /// How many requests have come whole so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn note_bytes(&self) {
        if self.now() == Phase::Waiting {
            self.now.store(HEAD, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.now.store(BUSY, Ordering::Relaxed);
    }

    /// For how long no byte of a request has come, if the connection waits for one.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.waits_since.load(Ordering::Relaxed));
        (self.now() == Phase::Waiting).then(|| self.opened.elapsed().saturating_sub(since))
    }

    pub(crate) fn note_answered(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waits_since.store(since, Ordering::Relaxed);
        self.now.store(WAITING, Ordering::Relaxed);
    }

    pub(crate) fn note_body_begun(&self) {
        self.has_unread_body.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_body_read(&self) {
        self.has_unread_body.store(false, Ordering::Relaxed);
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(crate) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }
}
