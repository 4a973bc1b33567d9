//! The configuration store in memory: every state of every document, in the order they were written.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::Outage;
use super::watched::Watched;
use crate::clock::Day;
use crate::ports::{
    Changes, ConfigKey, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected, ListConfig,
    StoreError,
};
use crate::revision::Revision;

type History = Vec<ConfigRecord>;

/// Each clone is a process of its own on the same store: it is told of changes by itself.
#[derive(Debug)]
pub struct FakeConfiguration {
    history: Arc<Watched<History>>,
    /// How far it was when a day was first noted.
    days: Arc<Mutex<BTreeMap<Day, Revision>>>,
    outage: Arc<Outage>,
    /// The last revision that this process was told of.
    told: AtomicU64,
}

impl FakeConfiguration {
    #[must_use]
    pub fn new(outage: Arc<Outage>) -> Self {
        FakeConfiguration {
            history: Arc::new(Watched::new(Vec::new())),
            days: Arc::default(),
            outage,
            told: AtomicU64::new(0),
        }
    }
}

impl Clone for FakeConfiguration {
    fn clone(&self) -> Self {
        FakeConfiguration {
            history: Arc::clone(&self.history),
            days: Arc::clone(&self.days),
            outage: Arc::clone(&self.outage),
            told: AtomicU64::new(0),
        }
    }
}

fn newest<'a>(history: &'a History, key: &ConfigKey) -> Option<&'a ConfigRecord> {
    history.iter().rev().find(|record| record.key == *key)
}

fn last_revision(history: &History) -> Revision {
    history.last().map_or(Revision::ZERO, |record| record.revision)
}

fn write_one(history: &mut History, one: ConfigWrite) -> Result<(), ConfigWriteError> {
    let current = newest(history, &one.key);
    let is_as_expected = match (one.expected, current) {
        (Expected::Absent, current) => current.is_none(),
        (Expected::At(_), None) => false,
        (Expected::At(revision), Some(current)) => current.document.is_some() && current.revision == revision,
    };
    if !is_as_expected {
        return Err(ConfigWriteError::Conflict { current: current.map(|record| record.revision) });
    }
    let revision = Revision::from_number(last_revision(history).number() + 1);
    history.push(ConfigRecord { key: one.key, revision, document: one.document });
    Ok(())
}

#[async_trait]
impl ConfigStore for FakeConfiguration {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        self.outage.check()?;
        self.history.change(|history| {
            let before = history.len();
            for one in writes {
                if let Err(conflict) = write_one(history, one) {
                    history.truncate(before);
                    return Err(conflict);
                }
            }
            Ok(last_revision(history))
        })
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        self.outage.check()?;
        Ok(self.history.read(|history| newest(history, key).cloned()))
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        self.outage.check()?;
        Ok(self.history.read(|history| {
            let is_that = |record: &&ConfigRecord| record.key == *key && record.revision <= revision;
            history.iter().rev().find(is_that).cloned()
        }))
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        self.outage.check()?;
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        Ok(self.history.read(|history| {
            let mut found: Vec<ConfigRecord> = newest_states(history)
                .filter(|record| record.document.is_some())
                .filter(|record| record.key.kind == query.kind && record.key.tenant == query.tenant)
                .filter(|record| query.before.as_ref().is_none_or(|before| record.key.id < *before))
                .cloned()
                .collect();
            found.sort_by(|left, right| right.key.id.cmp(&left.key.id));
            found.truncate(limit);
            found
        }))
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        self.outage.check()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.history.read(|history| {
            let mut records: Vec<ConfigRecord> =
                newest_states(history).filter(|record| record.revision > revision).cloned().collect();
            records.sort_by_key(|record| record.revision);
            let has_more = records.len() > limit;
            records.truncate(limit);
            let all = last_revision(history).max(revision);
            let up_to =
                if has_more { records.last().map_or(revision, |record| record.revision) } else { all };
            Changes { records, up_to, has_more }
        }))
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        self.outage.check()?;
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.history.change(|history| {
            days.entry(today).or_insert(last_revision(history));
            let Some(mark) = days.range(..day).next_back().map(|(_, mark)| *mark) else { return 0 };
            let before = history.len();
            let of_mark: Vec<ConfigRecord> =
                history.iter().filter(|record| record.revision <= mark).cloned().collect();
            history.retain(|record| {
                newest(&of_mark, &record.key).is_none_or(|kept| record.revision >= kept.revision)
            });
            days.retain(|noted, _| *noted >= day);
            u64::try_from(before - history.len()).unwrap_or(u64::MAX)
        }))
    }

    async fn changed(&self) {
        let is_news = |history: &mut History| {
            let last = last_revision(history).number();
            (self.told.swap(last, Ordering::SeqCst) != last).then_some(())
        };
        self.history.when(is_news).await;
    }
}

/// Newest first.
fn newest_states(history: &History) -> impl Iterator<Item = &ConfigRecord> {
    let mut seen = HashSet::new();
    history.iter().rev().filter(move |record| seen.insert(record.key.clone()))
}
