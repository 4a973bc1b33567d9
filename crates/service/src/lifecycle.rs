//! The life of a process: its roles start, run together, and end in two stages.
//!
//! The first signal drains: roles stop taking work and finish what is in flight. A second signal, or the end of the
//! grace period, stops: roles drop what they hold, which the queue then gives to another. A role that ends before
//! it was asked to ends the whole process, as a failure that names it: half a process must not look alive.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// What a role gets after the hard stop to let go. Past it, it is aborted.
const LETTING_GO: Duration = Duration::from_secs(2);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a role watches to know that it should end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    drain: CancellationToken,
    hurry: CancellationToken,
    halt: CancellationToken,
}

impl Stop {
    /// Resolves when no new work should be taken.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when a drain should wait for nobody to notice it: the process has failed.
    pub async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Resolves when everything should be let go, finished or not.
    pub async fn halted(&self) {
        self.halt.cancelled().await;
    }

    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halt.is_cancelled()
    }

    /// Asks for the first stage.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks for the first stage, in a hurry.
    pub fn hurry(&self) {
        self.drain.cancel();
        self.hurry.cancel();
    }

    /// Asks for the second stage, which includes the first.
    pub fn halt(&self) {
        self.hurry();
        self.halt.cancel();
    }
}

/// A request from outside to end: `SIGTERM` or `SIGINT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndSignal;

/// The signals of this process, as the stream that [`Lifecycle::run_until_stopped`] wants.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn end_signals() -> io::Result<impl Stream<Item = EndSignal> + Send> {
    let streams = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(futures_util::stream::unfold(streams, |(mut terminate, mut interrupt)| async move {
        let came = tokio::select! { came = terminate.recv() => came, came = interrupt.recv() => came };
        came.map(|()| (EndSignal, (terminate, interrupt)))
    }))
}

/// How a role ended when it should not have.
#[derive(Debug, thiserror::Error)]
pub enum RoleEnd {
    #[error("it ended by itself")]
    Early,
    #[error("{0}")]
    Error(Cause),
    #[error("it panicked: {0}")]
    Panic(String),
}

/// How the process ended.
#[derive(Debug)]
pub enum Stopped {
    /// Asked to end, and everything in flight was finished.
    Clean,
    /// These roles had not finished when the grace period ended or a second signal came. Nothing is lost by it.
    GraceExceeded { unfinished: Vec<String> },
    /// This role failed first. The others were drained.
    RoleFailed { name: String, cause: RoleEnd },
}

impl Stopped {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        match self {
            Stopped::Clean => true,
            Stopped::GraceExceeded { .. } | Stopped::RoleFailed { .. } => false,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Clean => f.write_str("stopped, nothing left in flight"),
            Stopped::GraceExceeded { unfinished } => {
                write!(f, "stopped before these had finished: {}", unfinished.join(", "))
            }
            Stopped::RoleFailed { name, cause } => write!(f, "the {name} role failed: {cause}"),
        }
    }
}

/// The roles of one process. Roles are spawned through it and end with it.
#[derive(Debug)]
pub struct Lifecycle {
    stop: Stop,
    grace: Duration,
    roles: JoinSet<Result<(), Cause>>,
    names: HashMap<Id, String>,
}

impl Lifecycle {
    /// `grace` is the time between the two stages.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Lifecycle { stop: Stop::default(), grace, roles: JoinSet::new(), names: HashMap::new() }
    }

    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Starts a role, which ends with `Ok` once [`Stop::draining`] has resolved and its work is done.
    pub fn spawn<F, E>(&mut self, name: impl Into<String>, role: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Cause> + 'static,
    {
        let handle = self.roles.spawn(async move { role.await.map_err(Into::into) });
        self.names.insert(handle.id(), name.into());
    }

    /// Runs until every role has ended, and says how it went.
    pub async fn run_until_stopped(mut self, signals: impl Stream<Item = EndSignal>) -> Stopped {
        let mut signals = pin!(signals.fuse());
        let mut failure = None;
        // Far away until the drain begins; then the end of the grace period.
        let mut deadline = None;
        loop {
            if deadline.is_none() && self.stop.is_draining() {
                deadline = Some(Instant::now() + self.grace);
            }
            tokio::select! {
                biased;
                ended = self.roles.join_next_with_id() => match ended {
                    Some(ended) => {
                        let failed = self.note_end(ended);
                        if failure.is_none() {
                            failure = failed;
                        }
                    }
                    None => break,
                },
                Some(EndSignal) = signals.next() => {
                    if self.stop.is_draining() {
                        tracing::warn!("second signal: stopping now");
                        self.stop.halt();
                    } else {
                        tracing::info!("signal received: finishing what is in flight");
                        self.stop.drain();
                    }
                }
                () = self.stop.draining(), if deadline.is_none() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    tracing::warn!("the grace period is over: stopping now");
                    self.stop.halt();
                }
            }
            if self.stop.is_halted() {
                let unfinished = self.let_go().await;
                return failure.unwrap_or(Stopped::GraceExceeded { unfinished });
            }
        }
        failure.unwrap_or(Stopped::Clean)
    }

    /// Takes note of a role's end, and drains the others if it was not asked for.
    fn note_end(&mut self, ended: Result<(Id, Result<(), Cause>), JoinError>) -> Option<Stopped> {
        let (id, cause) = match ended {
            Ok((id, Ok(()))) if self.stop.is_draining() => (id, None),
            Ok((id, Ok(()))) => (id, Some(RoleEnd::Early)),
            Ok((id, Err(cause))) => (id, Some(RoleEnd::Error(cause))),
            Err(error) => (error.id(), Some(RoleEnd::Panic(panic_text(error)))),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        match cause {
            None => {
                tracing::debug!(role = name, "role has finished");
                None
            }
            Some(cause) => {
                tracing::error!(role = name, "role failed, stopping the process: {cause}");
                self.stop.hurry();
                Some(Stopped::RoleFailed { name, cause })
            }
        }
    }

    /// After the hard stop: waits a moment for the roles to let go. Returns those that had not finished.
    async fn let_go(&mut self) -> Vec<String> {
        let mut unfinished: Vec<String> = self.names.drain().map(|(_, name)| name).collect();
        unfinished.sort_unstable();
        let all_ended = async { while self.roles.join_next().await.is_some() {} };
        if timeout(LETTING_GO, all_ended).await.is_err() {
            self.roles.shutdown().await;
        }
        unfinished
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "it was aborted".to_owned() };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
