//! The files of the log: which days there are, and the ones that are open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::ports::StoreError;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::deadline::Deadline;
use crate::error::{OpenError, read_failed};
use crate::mutex::lock;
use crate::private_files::make_folder;
use crate::schema::{self, DAY, open_reader, open_writer};

/// Files kept open: more than a month, at three file descriptors a connection.
const OPEN_FILES: usize = 40;

pub(crate) struct DayFiles {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: BTreeSet<Day>,
    open: BTreeMap<Day, Open>,
    uses: u64,
}

struct Open {
    file: Arc<DayFile>,
    used_at: u64,
}

impl DayFiles {
    /// Finds the files that are there; each must be ours.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: folder.to_owned(), source };
        make_folder(folder).map_err(failed)?;
        let mut known = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if let Some(day) = day_of(&path) {
                schema::check(&path, &DAY)?;
                known.insert(day);
            }
        }
        let state = State { known, ..State::default() };
        Ok(DayFiles { folder: folder.to_owned(), state: Mutex::new(state) })
    }

    /// The days there are from `first` to `last`, newest first.
    pub(crate) fn newest_first(&self, first: Option<Day>, last: Option<Day>) -> Vec<Day> {
        let state = lock(&self.state);
        let is_within =
            |day: &&Day| first.is_none_or(|first| first <= **day) && last.is_none_or(|last| **day <= last);
        state.known.iter().rev().filter(is_within).copied().collect()
    }

    /// `None` if there is nothing of that day.
    pub(crate) fn find(&self, day: Day) -> Option<Arc<DayFile>> {
        let mut state = lock(&self.state);
        state.known.contains(&day).then(|| state.file(&self.folder, day))
    }

    /// The file of a day, made when it is first written.
    pub(crate) fn find_or_make(&self, day: Day) -> Arc<DayFile> {
        let mut state = lock(&self.state);
        state.file(&self.folder, day)
    }

    /// Tells readers of a day that now has a file.
    fn made(&self, day: Day) {
        lock(&self.state).known.insert(day);
    }

    /// One transaction in a day's file.
    pub(crate) fn write<T>(
        &self,
        day: Day,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let file = self.find_or_make(day);
        let mut writer = lock(&file.writer);
        let connection = match &mut *writer {
            Some(connection) => connection,
            none => {
                let connection = none.insert(open_writer(&file.path, &DAY)?);
                self.made(day);
                connection
            }
        };
        let result =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
                let output = work(&transaction)?;
                transaction.commit()?;
                Ok(output)
            });
        result.map_err(|error| read_failed(&error))
    }

    /// Reads a day's file; `None` if there is nothing of that day. For the engine's own questions, whose answers are
    /// bounded.
    pub(crate) fn read<T>(
        &self,
        day: Day,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.read_until(day, Deadline::Never, work)
    }

    /// The same, for as long as that.
    pub(crate) fn read_until<T>(
        &self,
        day: Day,
        deadline: Deadline,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let Some(file) = self.find(day) else { return Ok(None) };
        let result = file.read(deadline, work);
        result.map(Some).map_err(|error| read_failed(&error))
    }

    /// Forgets a day and unlinks its files. Nothing may write to it meanwhile.
    pub(crate) fn remove(&self, day: Day) -> Result<(), StoreError> {
        let path = path_of(&self.folder, day);
        let mut state = lock(&self.state);
        state.known.remove(&day);
        state.open.remove(&day);
        drop(state);
        for suffix in ["-wal", "-shm", ""] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            match fs::remove_file(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    lock(&self.state).known.insert(day);
                    let reason = format!("cannot remove {}: {error}", name.display());
                    return Err(StoreError::Unavailable { reason });
                }
            }
        }
        Ok(())
    }
}

impl State {
    fn file(&mut self, folder: &Path, day: Day) -> Arc<DayFile> {
        self.uses += 1;
        let used_at = self.uses;
        if !self.open.contains_key(&day) && self.open.len() >= OPEN_FILES {
            self.close_one();
        }
        let open = self
            .open
            .entry(day)
            .or_insert_with(|| Open { file: Arc::new(DayFile::new(path_of(folder, day))), used_at });
        open.used_at = used_at;
        Arc::clone(&open.file)
    }

    /// Lets go of the one that was not used for longest. If somebody uses it still, it closes after that: two
    /// connections of one process to one file do not disturb each other.
    fn close_one(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used_at).map(|(day, _)| *day);
        if let Some(day) = oldest {
            self.open.remove(&day);
        }
    }
}

/// One day. Its connections are opened when they are first needed.
pub(crate) struct DayFile {
    path: PathBuf,
    writer: Mutex<Option<Connection>>,
    idle: Mutex<Vec<Connection>>,
}

impl DayFile {
    fn new(path: PathBuf) -> Self {
        DayFile { path, writer: Mutex::new(None), idle: Mutex::new(Vec::new()) }
    }

    fn read<T>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = lock(&self.idle).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path)?,
        };
        deadline.watch(&mut connection)?;
        let output = work(&connection)?;
        lock(&self.idle).push(connection);
        Ok(output)
    }
}

fn path_of(folder: &Path, day: Day) -> PathBuf {
    folder.join(format!("{day}.db"))
}

/// `20261121.db`; anything else in the folder is not ours to touch.
/// Whether a file is named as a day's is.
pub(crate) fn is_day(path: &Path) -> bool {
    day_of(path).is_some()
}

fn day_of(path: &Path) -> Option<Day> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".db")?;
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let time = format!("{}-{}-{}T00:00:00Z", &digits[..4], &digits[4..6], &digits[6..]);
    time.parse::<Timestamp>().ok().map(Timestamp::day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_found_by_its_file_and_nothing_else_is_taken_for_one() {
        let folder = Path::new("log");
        let day = "2026-11-21T10:00:00Z".parse::<Timestamp>().expect("a time").day();
        assert_eq!(day_of(&path_of(folder, day)), Some(day));
        for name in ["20261121.db-wal", "20261321.db", "2026112.db", "notes.db", "20261121"] {
            assert_eq!(day_of(&folder.join(name)), None, "{name}");
        }
    }
}
