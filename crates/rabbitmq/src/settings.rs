//! What the engine must be told. Nothing here is read from the environment.

use std::fmt;
use std::time::Duration;

use crate::topology::Topology;

/// Who declares the broker's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyAtStart {
    /// This process, idempotently, at start and again after each reconnection.
    Declare,
    /// Somebody else has: for a broker user without the right to configure, and for verifying.
    Assume,
}

/// For `amqps://`. The public certificate authorities are trusted without any of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Further certificate authorities to trust, PEM.
    pub authorities_pem: Option<String>,
}

/// How much a queue takes before it refuses. Both are arguments of the queues: changing them on a broker that
/// has the queues already is a mismatch; lower them by a policy instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages in one queue. The default of ten million is what a queue was seen to hold without strain: a
    /// quorum queue keeps about 150 bytes of each message in memory, the body on disk.
    pub messages: u32,
    /// Bytes of bodies in one queue; 64 GiB by default. The broker's own disk alarm usually comes first.
    pub bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits { messages: 10_000_000, bytes: 64 * 1024 * 1024 * 1024 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a publish waits for its confirm before it is in doubt and the connection is given up. Usual
    /// are 1–50 ms; a quorum that is lost answers nothing at all.
    pub confirm: Duration,
    /// How long any other question may take: opening a channel, declaring, subscribing, counting. A cluster needs
    /// seconds to make a quorum queue while it is busy.
    pub round_trip: Duration,
    /// How long a connection may take to come up, handshake included.
    pub connect: Duration,
    /// The first pause after a lost connection; doubles up to `longest_pause`, with jitter.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// After so long without any message, twice over, a source consumes anew: cheap, and it cures a consumer
    /// that the broker has silently forgotten.
    pub renew_idle: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            confirm: Duration::from_secs(5),
            round_trip: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            // What such a fault held up goes on within a minute of its end.
            renew_idle: Duration::from_secs(20),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`; several nodes as `host:port,host:port`, of which each
    /// connection uses one and, when that is lost, the next. Never logged.
    pub url: String,
    /// What every name on the broker begins with, so that installations can share one broker.
    pub prefix: String,
    /// How the broker shows our connections, by custom `role@host`.
    pub connection_name: String,
    pub topology: TopologyAtStart,
    pub limits: QueueLimits,
    pub timings: Timings,
    pub tls: TlsSettings,
}

impl Settings {
    /// The prefix of an installation that has the broker's virtual host to itself.
    pub const DEFAULT_PREFIX: &'static str = "postrider";

    /// Everything else as it is by default.
    #[must_use]
    pub fn new(url: impl Into<String>, connection_name: impl Into<String>) -> Self {
        Settings {
            url: url.into(),
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            connection_name: connection_name.into(),
            topology: TopologyAtStart::Declare,
            limits: QueueLimits::default(),
            timings: Timings::default(),
            tls: TlsSettings::default(),
        }
    }

    /// The names and arguments that follow from these settings.
    #[must_use]
    pub fn describe_topology(&self) -> Topology {
        Topology::new(&self.prefix, self.limits)
    }
}

/// Without the URL, which holds a password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("connection_name", &self.connection_name)
            .field("topology", &self.topology)
            .field("limits", &self.limits)
            .field("timings", &self.timings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_reaches_a_log() {
        let settings = Settings::new("amqp://user:s3cret@broker/%2f", "worker@host");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
