//! What one connection is doing right now, shared between its socket, its requests and its answers.
//!
//! All of them run on the connection's own task, so the order of the steps is the order of the code; atomics are
//! here only because the parts are owned apart.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

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

#[derive(Debug, Default)]
pub(crate) struct ConnectionPhase {
    now: AtomicU8,
    requests: AtomicU64,
    has_unread_body: AtomicBool,
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

    pub(crate) fn note_answered(&self) {
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
