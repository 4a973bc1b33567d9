//! The events that the bench publishes. Each has a serial, by which the receiver tells them apart whatever profile made
//! the request's body, and the moment from which its delay counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// `{"serial":<some 7 digits>,"sent":<16 digits>,"padding":""}`: what an event's data holds besides its padding.
const FIELDS: usize = 56;

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Events of one size.
pub struct Samples {
    padding: String,
}

impl Samples {
    /// With this many bytes of data, as near as makes no difference.
    pub fn of_size(bytes: usize) -> Self {
        Samples { padding: "x".repeat(bytes.saturating_sub(FIELDS)) }
    }

    /// What is published: a new event each time. `sent` is in microseconds since 1970.
    pub fn next(&self, event_type: &str, sent: i64) -> String {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let padding = &self.padding;
        format!(
            r#"{{"type":"{event_type}","data":{{"serial":{serial},"sent":{sent},"padding":"{padding}"}}}}"#
        )
    }
}
