//! Configuration documents, read and written with their revisions.
//!
//! A change is: read, change, write if nothing came between; a few times, since two changes of one document seldom
//! meet. After every write the directory of this process is brought up to date, so that the next request here sees it.

use std::fmt::Display;
use std::sync::Arc;

use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    ConfigKey, ConfigKind, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected, ListConfig,
};
use postrider_contract::revision::Revision;
use postrider_service::config_object::{ConfigObject, read_object};
use postrider_service::directory::Directory;
use postrider_service::problem::{Code, Problem, RETRY_SOON};

/// How often a change is tried before its caller hears of the conflict.
const MAX_CHANGE_TRIES: usize = 5;

/// A document with the revision of its last change.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) object: T,
    pub(crate) revision: Revision,
}

pub(crate) struct Documents {
    store: Arc<dyn ConfigStore>,
    directory: Arc<Directory>,
}

impl Documents {
    pub(crate) fn new(store: Arc<dyn ConfigStore>, directory: Arc<Directory>) -> Self {
        Documents { store, directory }
    }

    /// # Errors
    /// 404 for what is unknown or deleted.
    pub(crate) async fn get<T: ConfigObject>(&self, key: &ConfigKey) -> Result<Stored<T>, Problem> {
        Ok(self.found(key).await?.1)
    }

    /// With the document itself.
    async fn found<T: ConfigObject>(&self, key: &ConfigKey) -> Result<(ConfigRecord, Stored<T>), Problem> {
        let record = self.store.read(key).await.map_err(unavailable)?.ok_or_else(Problem::not_found)?;
        let revision = record.revision;
        let object = read::<T>(&record)?.ok_or_else(Problem::not_found)?;
        Ok((record, Stored { object, revision }))
    }

    /// # Errors
    /// 409 with `taken` if the id is, or ever was, in use.
    pub(crate) async fn create<T: ConfigObject>(
        &self,
        object: &T,
        taken: &'static str,
    ) -> Result<Revision, Problem> {
        let written = self.write(object.write(Expected::Absent)).await?;
        written.ok_or_else(|| Problem::new(Code::Conflict, taken))
    }

    /// Reads, lets `change` make the new state (and whatever else the caller wants to know), writes. `None` from
    /// `change` means that there is nothing to write. Members that this version does not know stay.
    ///
    /// # Errors
    /// 404, what `change` refuses, or 409 after losing to other writers a few times.
    pub(crate) async fn change<T: ConfigObject, R>(
        &self,
        key: &ConfigKey,
        mut change: impl FnMut(&Stored<T>) -> Result<(Option<T>, R), Problem>,
    ) -> Result<(Stored<T>, R), Problem> {
        for _ in 0..MAX_CHANGE_TRIES {
            let (record, before) = self.found::<T>(key).await?;
            let (after, result) = change(&before)?;
            let Some(object) = after else { return Ok((before, result)) };
            if let Some(revision) = self.write(object.write_over(&record)).await? {
                return Ok((Stored { object, revision }, result));
            }
        }
        Err(changed_meanwhile())
    }

    /// The same for a document that may not be there yet: `change` is then given nothing.
    ///
    /// # Errors
    /// What `change` refuses, or 409 after losing to other writers a few times.
    pub(crate) async fn put<T: ConfigObject, R>(
        &self,
        key: &ConfigKey,
        mut change: impl FnMut(Option<&Stored<T>>) -> Result<(Option<T>, R), Problem>,
    ) -> Result<(Stored<T>, R), Problem> {
        for _ in 0..MAX_CHANGE_TRIES {
            let record = self.store.read(key).await.map_err(unavailable)?;
            let expected = record.as_ref().map_or(Expected::Absent, |record| Expected::At(record.revision));
            let object = record.as_ref().map(read::<T>).transpose()?.flatten();
            let before =
                record.zip(object).map(|(record, object)| Stored { object, revision: record.revision });
            let (after, result) = change(before.as_ref())?;
            let Some(object) = after else {
                return before.map(|before| (before, result)).ok_or_else(Problem::not_found);
            };
            if let Some(revision) = self.write(object.write(expected)).await? {
                return Ok((Stored { object, revision }, result));
            }
        }
        Err(changed_meanwhile())
    }

    /// Leaves a tombstone.
    ///
    /// # Errors
    /// 404, what `allow` refuses, or 409 after losing to other writers a few times.
    pub(crate) async fn delete(
        &self,
        key: &ConfigKey,
        allow: impl Fn(Revision) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        for _ in 0..MAX_CHANGE_TRIES {
            let record = self.store.read(key).await.map_err(unavailable)?;
            let revision = match record {
                Some(ConfigRecord { document: Some(_), revision, .. }) => revision,
                Some(ConfigRecord { document: None, .. }) | None => return Err(Problem::not_found()),
            };
            allow(revision)?;
            let write = ConfigWrite { key: key.clone(), expected: Expected::At(revision), document: None };
            if self.write(write).await?.is_some() {
                return Ok(());
            }
        }
        Err(changed_meanwhile())
    }

    /// `None` if another write came between.
    async fn write(&self, write: ConfigWrite) -> Result<Option<Revision>, Problem> {
        match self.store.write(vec![write]).await {
            Ok(revision) => {
                self.bring_up_to_date().await;
                Ok(Some(revision))
            }
            Err(ConfigWriteError::Conflict { .. }) => Ok(None),
            Err(ConfigWriteError::Store(error)) => Err(unavailable(error)),
        }
    }

    /// Newest first, by id descending; those before `before`.
    pub(crate) async fn list<T: ConfigObject>(
        &self,
        kind: ConfigKind,
        tenant: Option<&TenantId>,
        before: Option<String>,
        limit: usize,
    ) -> Result<Vec<Stored<T>>, Problem> {
        let records = self.records(kind, tenant, before, limit).await?;
        let mut listed = Vec::with_capacity(records.len());
        for record in &records {
            if let Some(object) = read::<T>(record)? {
                listed.push(Stored { object, revision: record.revision });
            }
        }
        Ok(listed)
    }

    /// The same, unread.
    pub(crate) async fn records(
        &self,
        kind: ConfigKind,
        tenant: Option<&TenantId>,
        before: Option<String>,
        limit: usize,
    ) -> Result<Vec<ConfigRecord>, Problem> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let query = ListConfig { kind, tenant: tenant.cloned(), before, limit };
        self.store.list(query).await.map_err(unavailable)
    }

    async fn bring_up_to_date(&self) {
        if let Err(error) = self.directory.refresh().await {
            // The change is written; this process hears of it as the others do.
            tracing::warn!(%error, "a change is stored, but this process could not read it back yet");
        }
    }
}

fn read<T: ConfigObject>(record: &ConfigRecord) -> Result<Option<T>, Problem> {
    read_object::<T>(record).map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a configuration document is not readable by this version"
        );
        Problem::internal()
    })
}

/// The store does not answer; the cause goes to the log.
pub(crate) fn unavailable(error: impl Display) -> Problem {
    tracing::warn!(%error, "the configuration store did not do what it was asked");
    Problem::new(Code::Unavailable, "the store does not answer at the moment; nothing was decided")
        .with_retry_after(RETRY_SOON)
}

fn changed_meanwhile() -> Problem {
    Problem::new(Code::Conflict, "others keep changing this at the same time; read it again and repeat")
}
