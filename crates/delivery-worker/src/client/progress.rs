//! How far a call has come: what a time-out is named after, and the timings of the log.

use std::net::SocketAddr;
use std::time::Duration;

use postrider_contract::attempt::{Phase, Timings};
use tokio::time::Instant;

#[derive(Debug)]
pub struct Progress {
    pub started: Instant,
    pub deadline: Instant,
    pub phase: Phase,
    pub timings: Timings,
    pub address: Option<SocketAddr>,
}

impl Progress {
    pub fn begin(time_limit: Duration) -> Self {
        let started = Instant::now();
        let deadline = started + time_limit;
        Progress { started, deadline, phase: Phase::Headers, timings: Timings::default(), address: None }
    }

    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub fn resolved(&mut self) {
        self.timings.dns = Some(self.started.elapsed());
    }

    pub fn connected(&mut self, address: SocketAddr) {
        self.timings.connect = Some(self.started.elapsed());
        self.address = Some(address);
    }

    pub fn secured(&mut self) {
        self.timings.tls = Some(self.started.elapsed());
    }

    /// The first byte may have come before anybody looked, but never before the call began.
    pub fn answered(&mut self, first_byte: Option<Instant>) {
        self.timings.first_byte = first_byte.map(|at| at.saturating_duration_since(self.started));
    }

    /// The whole time, and with it the last word. A blocked call tells nothing else: timings would map the inside
    /// of a network for whoever asks often enough.
    pub fn end(mut self, shown: Shown) -> (Option<SocketAddr>, Timings) {
        let total = self.started.elapsed();
        self.timings.total = total;
        match shown {
            Shown::All => (self.address, self.timings),
            Shown::TotalOnly => (None, Timings { total, ..Timings::default() }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    All,
    TotalOnly,
}
