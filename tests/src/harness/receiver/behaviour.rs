//! What a receiver can be told to do with a request.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// How requests for one path are answered.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// A whole response, the connection kept. `Content-Length` is added.
    Respond {
        /// Status code, 100 to 999.
        status: u16,
        /// Names and values, written as they are.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
    },
    /// Nothing for a while, then the other.
    Delay {
        /// For how long.
        wait: Duration,
        /// What follows.
        then: Box<Behaviour>,
    },
    /// Nothing until the test opens the gate, then the other.
    Wait {
        /// What the test opens.
        gate: Gate,
        /// What follows.
        then: Box<Behaviour>,
    },
    /// One after another for the path's first requests, then always the last. Not to be nested.
    InTurn {
        /// For the first, the second, … request.
        first: Vec<Behaviour>,
        /// For all that come later.
        then: Box<Behaviour>,
    },
    /// For each value of a header, the first requests one way and the later ones another. Not to be nested.
    FirstOfEach {
        /// The header's name, in any case; requests without it count as one value.
        header: String,
        /// How many are the first.
        times: usize,
        /// For those.
        first: Box<Behaviour>,
        /// For the later ones.
        then: Box<Behaviour>,
    },
    /// A status line, then headers, a byte at each beat, without end.
    DripHeaders {
        /// Time between two bytes.
        beat: Duration,
    },
    /// Status 200 and whole headers at once, then a body of a megabyte, a byte at each beat.
    DripBody {
        /// Time between two bytes.
        beat: Duration,
    },
    /// The connection closed in place of an answer.
    CloseBeforeStatus,
    /// Status 200 and a body of which only a part is sent before the connection is closed.
    CloseMidBody {
        /// Bytes sent.
        sent: usize,
        /// Bytes promised in `Content-Length`.
        promised: usize,
    },
    /// Status 200 and a chunked body that goes on for as long as it is read.
    EndlessBody,
    /// Status 200 with this many bytes of headers.
    HeaderBomb {
        /// At least this many.
        bytes: usize,
    },
    /// These bytes and nothing else, then the connection closed.
    Raw(Bytes),
    /// No answer; the connection stays open until the client closes it.
    Hang,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::ok()
    }
}

impl Behaviour {
    /// 200 with an empty body.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// This status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Respond { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// This status with one header and an empty body.
    pub fn status_with(status: u16, name: &str, value: &str) -> Self {
        Self::Respond { status, headers: vec![(name.to_owned(), value.to_owned())], body: Bytes::new() }
    }

    /// A redirect to `location`.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status_with(status, "Location", location)
    }

    /// `status` for the path's first `times` requests, then 200.
    pub fn fail_times(times: usize, status: u16) -> Self {
        Self::InTurn { first: vec![Self::status(status); times], then: Box::new(Self::ok()) }
    }

    /// `status` for the first `times` requests of each value of `header` (an event's id, say), then 200.
    pub fn fail_each(header: &str, times: usize, status: u16) -> Self {
        let (first, then) = (Box::new(Self::status(status)), Box::new(Self::ok()));
        Self::FirstOfEach { header: header.to_owned(), times, first, then }
    }

    /// This one, after `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self::Delay { wait, then: Box::new(self) }
    }

    /// This one, once `gate` is open.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self::Wait { gate: gate.clone(), then: Box::new(self) }
    }
}

/// Holds answers back until a test opens it: how to catch Postrider with a request under way, without a timer.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed one.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets all answers through, those that wait and those to come.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Holds the answers to come back again.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    /// Until it is open.
    pub(super) async fn passed(&self) {
        // `self` holds the sender, so the wait cannot fail for want of one.
        self.0.subscribe().wait_for(|open| *open).await.ok();
    }
}
