//! One question of the API to the log: the days it looks into, all within one time limit.

use std::time::Duration;

use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::ports::StoreError;
use rusqlite::Connection;

use super::day_files::DayFiles;
use crate::deadline::Deadline;

pub(crate) struct Reading<'a> {
    days: &'a DayFiles,
    deadline: Deadline,
}

impl<'a> Reading<'a> {
    pub(crate) fn begin(days: &'a DayFiles, limit: Duration) -> Self {
        Reading { days, deadline: Deadline::after(limit) }
    }

    /// Every day there is, newest first.
    pub(crate) fn days(&self) -> Vec<Day> {
        self.days.newest_first(None, None)
    }

    /// The days that can hold what was accepted from `since` until `until`, newest first.
    pub(crate) fn days_between(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Vec<Day> {
        self.days.newest_first(since.map(Timestamp::day), until.map(Timestamp::day))
    }

    /// Reads a day's file; `None` if there is nothing of that day.
    pub(crate) fn read<T>(
        &self,
        day: Day,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.days.read_until(day, self.deadline, work)
    }
}
