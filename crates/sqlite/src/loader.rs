//! The loader: one thread that fills the shelves from the table when they run low, and when something is due.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use postrider_contract::clock::{Clock, Timestamp};
use rusqlite::Connection;

use crate::mutex::lock;

/// While something is parked, the clock is looked at this often: it may be set, or be a test's.
const LOOK_AT_CLOCK: Duration = Duration::from_millis(100);
/// After a failed reading.
const PAUSE: Duration = Duration::from_millis(500);

/// Wakes the loader. Rung any number of times before it is heard, it is heard once.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Rung {
    #[default]
    No,
    Yes,
    /// For good: the loader ends.
    Closed,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.set(Rung::Yes);
    }

    fn set(&self, rung: Rung) {
        let mut state = lock(&self.state);
        if *state == Rung::Closed || *state == rung {
            return;
        }
        *state = rung;
        drop(state);
        self.changed.notify_one();
    }

    /// Answers what was heard, at the latest after `longest`.
    fn wait(&self, longest: Option<Duration>) -> Rung {
        let is_quiet = |state: &mut Rung| *state == Rung::No;
        let state = lock(&self.state);
        let mut state = match longest {
            Some(longest) => {
                self.changed
                    .wait_timeout_while(state, longest, is_quiet)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => self.changed.wait_while(state, is_quiet).unwrap_or_else(PoisonError::into_inner),
        };
        let heard = *state;
        if heard == Rung::Yes {
            *state = Rung::No;
        }
        heard
    }
}

/// What came of one look at a shelf.
pub(crate) enum Loaded {
    /// Rows were read: look again.
    Some,
    /// Nothing to read until rung, or until this time.
    Nothing(Option<Timestamp>),
}

pub(crate) trait Load: Send {
    /// Reads at most one page.
    fn load(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<Loaded>;
}

pub(crate) struct Loader {
    bell: Arc<Bell>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Loader {
    pub(crate) fn start(
        connection: Connection,
        shelves: Vec<Box<dyn Load>>,
        bell: &Arc<Bell>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let heard = Arc::clone(bell);
        let thread = std::thread::Builder::new()
            .name("sqlite-loader".to_owned())
            .spawn(move || run(&connection, &shelves, &heard, clock.as_ref()))?;
        Ok(Loader { bell: Arc::clone(bell), thread: Mutex::new(Some(thread)) })
    }

    /// Blocks until the thread has ended, which is at most one page later.
    pub(crate) fn close(&self) {
        self.bell.set(Rung::Closed);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the loader's thread panicked");
        }
    }
}

fn run(connection: &Connection, shelves: &[Box<dyn Load>], bell: &Bell, clock: &dyn Clock) {
    let mut longest = Some(Duration::ZERO);
    while bell.wait(longest) != Rung::Closed {
        longest = look_round(connection, shelves, clock);
    }
}

/// One page of each shelf. Answers how long to wait for the bell.
fn look_round(connection: &Connection, shelves: &[Box<dyn Load>], clock: &dyn Clock) -> Option<Duration> {
    let mut longest: Option<Duration> = None;
    let mut at_most = |wait: Duration| longest = Some(longest.map_or(wait, |other| other.min(wait)));
    for shelf in shelves {
        let now = clock.now();
        match shelf.load(connection, now) {
            Ok(Loaded::Some) => at_most(Duration::ZERO),
            Ok(Loaded::Nothing(Some(due))) => at_most(due.since(now).min(LOOK_AT_CLOCK)),
            Ok(Loaded::Nothing(None)) => {}
            Err(error) => {
                tracing::error!(%error, "could not read messages from the queue's file");
                at_most(PAUSE);
            }
        }
    }
    longest
}
