//! What waits for the writer: jobs, whose size is bounded in bytes, and settlements, whose number is bounded by
//! the leases in hand. Putting something in never blocks a thread; waiting for room is asynchronous.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::WriteError;
use crate::mutex::lock;
use crate::shelf::Table;

/// Bytes that may wait for the writer. Above the largest single message (64 MiB) nothing is refused: it takes
/// all the room there is and goes alone.
const ROOM_KIB: u32 = 64 * 1024;
/// How long settlements wait for the company of a job, which shares its sync with them.
const LINGER: Duration = Duration::from_millis(2);
/// So many settlements are worth a commit of their own at once.
const CROWD: usize = 512;
/// While the storage says no: how long until it is tried again unasked.
const PROBE: Duration = Duration::from_millis(500);

/// One request to the writer.
pub(crate) trait Job: Send {
    /// Writes within the group's transaction. Called again, from the start, if the group was rolled back.
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// The group was committed, or not.
    fn finish(self: Box<Self>, result: Result<(), WriteError>);
}

/// A row to delete: its message is done with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) table: Table,
    pub(crate) id: i64,
}

pub(crate) struct Waiting {
    pub(crate) job: Box<dyn Job>,
    /// Room in the mailbox, given back when the job is finished.
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
pub(crate) struct Group {
    pub(crate) jobs: Vec<Waiting>,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Sound,
    Failing,
}

struct State {
    jobs: VecDeque<Waiting>,
    acknowledged: Vec<Acknowledged>,
    is_closed: bool,
}

pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    room: Arc<Semaphore>,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        let state = State { jobs: VecDeque::new(), acknowledged: Vec::new(), is_closed: false };
        Mailbox {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        }
    }

    /// Waits for room, then puts the job in. `size` is in bytes.
    pub(crate) async fn put(&self, job: Box<dyn Job>, size: usize) -> Result<(), WriteError> {
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX).min(ROOM_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| WriteError::Closed)?;
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(WriteError::Closed);
        }
        state.jobs.push_back(Waiting { job, _room: room });
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// For the engine's own threads, whose jobs are few: takes no room, waits for nothing.
    pub(crate) fn put_unbounded(&self, job: Box<dyn Job>) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(0) else { return };
        let mut state = lock(&self.state);
        if !state.is_closed {
            state.jobs.push_back(Waiting { job, _room: room });
            drop(state);
            self.arrived.notify_one();
        }
    }

    pub(crate) fn acknowledge(&self, acknowledged: Acknowledged) {
        let mut state = lock(&self.state);
        state.acknowledged.push(acknowledged);
        let count = state.acknowledged.len();
        drop(state);
        // The first starts the writer's linger, the last of a crowd ends it.
        if count == 1 || count == CROWD {
            self.arrived.notify_one();
        }
    }

    /// The group could not be written: its settlements wait on. Once closed, nobody would try again: then their
    /// messages come again after the next start.
    pub(crate) fn put_back(&self, acknowledged: Vec<Acknowledged>) {
        let mut state = lock(&self.state);
        if !state.is_closed {
            state.acknowledged.extend(acknowledged);
        }
    }

    /// No more jobs; the writer takes what is there and ends.
    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    /// Nobody will write any more: what waits is dropped, which tells those who wait for it.
    pub(crate) fn abandon(&self) {
        self.close();
        let dropped = take(&mut lock(&self.state));
        drop(dropped);
    }

    /// Blocks until there is something to write; `None` after the last. While the storage is failing, an empty
    /// group comes from time to time, so that it is tried without anybody asking.
    pub(crate) fn next_group(&self, storage: Storage) -> Option<Group> {
        let is_sound = storage == Storage::Sound;
        let mut deadline = (!is_sound).then(|| Instant::now() + PROBE);
        let mut state = lock(&self.state);
        loop {
            if state.is_closed && state.jobs.is_empty() && state.acknowledged.is_empty() {
                return None;
            }
            let now = Instant::now();
            let is_crowd = is_sound && state.acknowledged.len() >= CROWD;
            let is_late = deadline.is_some_and(|deadline| now >= deadline);
            if !state.jobs.is_empty() || state.is_closed || is_crowd || is_late {
                return Some(take(&mut state));
            }
            if deadline.is_none() && !state.acknowledged.is_empty() {
                deadline = Some(now + LINGER);
            }
            state = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now);
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn take(state: &mut State) -> Group {
    Group { jobs: state.jobs.drain(..).collect(), acknowledged: std::mem::take(&mut state.acknowledged) }
}
