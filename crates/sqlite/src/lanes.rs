//! Which parked rows are due, and which of those have been read already. Only keys are kept here, and only of
//! rows that fall behind the cursor; the rows themselves wait in the table, however many there are.
//!
//! Rows are read in the order (due, id). The cursor stands behind the last one read. A row that is committed
//! with a due time the cursor may have passed (a delay of zero, a clock set back) is remembered as *late*.
//! Nothing is read before the writer has told of it, so no row can be both read and, afterwards, late.

use std::collections::BTreeSet;

/// Due time in milliseconds since 1970, then row id.
pub(crate) type Place = (i64, i64);

#[derive(Debug)]
pub(crate) struct Lanes {
    cursor: Place,
    /// The latest "now" that was read up to.
    horizon: i64,
    late: BTreeSet<Place>,
    next_due: Option<i64>,
    /// The highest id the writer has told of; ids grow in the order of commits.
    told: i64,
}

/// What one reading has to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// By id.
    pub(crate) late: Vec<Place>,
    /// After this place, due by `due_by`, with an id up to `told`, so many at most.
    pub(crate) after: Place,
    pub(crate) due_by: i64,
    pub(crate) told: i64,
    pub(crate) limit: usize,
}

impl Lanes {
    /// `told`: the highest id in the table; `next_due`: the earliest due time there.
    pub(crate) fn new(told: i64, next_due: Option<i64>) -> Self {
        Lanes { cursor: (i64::MIN, 0), horizon: i64::MIN, late: BTreeSet::new(), next_due, told }
    }

    pub(crate) fn committed(&mut self, place: Place) {
        self.told = self.told.max(place.1);
        if place.0 <= self.horizon {
            self.late.insert(place);
        } else {
            self.next_due = Some(self.next_due.map_or(place.0, |due| due.min(place.0)));
        }
    }

    /// When there may be something to read.
    pub(crate) fn next_due(&self) -> Option<i64> {
        let late = self.late.first().map(|place| place.0);
        match (late, self.next_due) {
            (Some(late), Some(due)) => Some(late.min(due)),
            (late, due) => late.or(due),
        }
    }

    pub(crate) fn begin_reading(&mut self, now: i64, limit: usize) -> Reading {
        self.horizon = self.horizon.max(now);
        let due = self.late.iter().take_while(|place| place.0 <= now);
        let (behind, ahead): (Vec<Place>, Vec<Place>) = due.partition(|place| **place <= self.cursor);
        // Those ahead of the cursor will be found in their order.
        ahead.iter().for_each(|place| {
            self.late.remove(place);
        });
        let late: Vec<Place> = behind.into_iter().take(limit).collect();
        late.iter().for_each(|place| {
            self.late.remove(place);
        });
        self.next_due = None;
        Reading { limit: limit - late.len(), late, after: self.cursor, due_by: now, told: self.told }
    }

    /// `last` is the last place that was read if the reading stopped short of all that was due, `next_due` the
    /// earliest due time after `reading.due_by`.
    pub(crate) fn end_reading(&mut self, reading: &Reading, last: Option<Place>, next_due: Option<i64>) {
        let reached = last.unwrap_or((reading.due_by, i64::MAX));
        self.cursor = self.cursor.max(reached);
        let more = if last.is_some() { Some(reading.due_by) } else { next_due };
        self.next_due = match (self.next_due, more) {
            (Some(told), Some(more)) => Some(told.min(more)),
            (told, more) => told.or(more),
        };
    }

    /// The reading failed: everything it was to fetch is still to be fetched.
    pub(crate) fn abandon_reading(&mut self, reading: Reading) {
        self.late.extend(reading.late);
        self.next_due = Some(self.next_due.map_or(reading.due_by, |due| due.min(reading.due_by)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_due_when_its_time_has_come_and_not_before() {
        let mut lanes = Lanes::new(0, None);
        lanes.committed((1_000, 1));
        lanes.committed((500, 2));
        assert_eq!(lanes.next_due(), Some(500));
        let reading = lanes.begin_reading(500, 10);
        assert_eq!((reading.after, reading.due_by, reading.told), ((i64::MIN, 0), 500, 2));
        lanes.end_reading(&reading, None, Some(1_000));
        assert_eq!(lanes.next_due(), Some(1_000));
    }

    #[test]
    fn a_row_that_falls_behind_the_cursor_is_read_once_by_its_id() {
        let mut lanes = Lanes::new(0, None);
        let reading = lanes.begin_reading(1_000, 10);
        lanes.committed((900, 7));
        lanes.end_reading(&reading, None, None);
        assert_eq!(lanes.next_due(), Some(900));
        let reading = lanes.begin_reading(1_000, 10);
        assert_eq!(reading.late, vec![(900, 7)]);
        lanes.end_reading(&reading, None, None);
        assert_eq!(lanes.next_due(), None);
    }

    #[test]
    fn a_late_row_that_the_cursor_has_not_reached_is_left_to_the_cursor() {
        let mut lanes = Lanes::new(0, None);
        let reading = lanes.begin_reading(1_000, 1);
        lanes.committed((900, 7));
        lanes.end_reading(&reading, Some((800, 3)), None);
        let reading = lanes.begin_reading(1_000, 1);
        assert_eq!((reading.late, reading.after, reading.told), (vec![], (800, 3), 7));
    }

    #[test]
    fn a_reading_that_failed_is_repeated_whole() {
        let mut lanes = Lanes::new(5, Some(10));
        let reading = lanes.begin_reading(20, 10);
        lanes.abandon_reading(reading);
        assert_eq!(lanes.next_due(), Some(20));
        assert_eq!(lanes.begin_reading(20, 10).after, (i64::MIN, 0));
    }
}
