//! SQLite: the conformance suite of the queue and of the stores, on a data directory of one's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, Journal, KeyedRequests, Leadership, LogQueries, Strays, WaitingRoom, WorkKind,
    WorkQueue,
};
use postrider_service::system::SystemClock;
use postrider_sqlite::{Settings, SqliteEngine};
use postrider_tests::conformance::{MeantFor, QueueUnderTest, StoreUnderTest};
use postrider_tests::harness::TempFolder;
use postrider_tests::{queue_conformance, store_conformance};

queue_conformance!(start);
store_conformance!(start);

struct SqliteUnderTest {
    folder: TempFolder,
    /// How often it was killed: each time it goes on in a copy of what was on disk at that moment.
    kills: u32,
    engine: SqliteEngine,
    /// The killed ones, which must not get a chance to write anything more to what is opened again.
    killed: Vec<SqliteEngine>,
}

async fn start() -> SqliteUnderTest {
    let folder = TempFolder::new("sqlite").expect("a folder is made");
    let engine = open(&folder.path().join("0")).await;
    SqliteUnderTest { folder, kills: 0, engine, killed: Vec::new() }
}

async fn open(folder: &Path) -> SqliteEngine {
    let settings = Settings::new(folder);
    let opened = tokio::task::spawn_blocking(|| SqliteEngine::open(settings, Arc::new(SystemClock)));
    opened.await.expect("it does not panic").expect("the data directory opens")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), target).expect("the file is copied");
        }
    }
}

impl SqliteUnderTest {
    /// What a killed process leaves is what is on disk; a copy of it has no leases and no threads.
    async fn kill_and_open(&mut self) {
        let from = self.folder.path().join(self.kills.to_string());
        self.kills += 1;
        let to = self.folder.path().join(self.kills.to_string());
        copy(&from, &to);
        let opened = open(&to).await;
        self.killed.push(std::mem::replace(&mut self.engine, opened));
    }
}

#[async_trait]
impl QueueUnderTest for SqliteUnderTest {
    fn queue(&self) -> Arc<dyn WorkQueue> {
        self.engine.work_queue()
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.engine.journal()
    }

    fn strays(&self) -> Arc<dyn Strays> {
        self.engine.strays()
    }

    async fn set_aside(&self, meant_for: MeantFor, bytes: Bytes) {
        let table = match meant_for {
            MeantFor::FirstTries => "work_first",
            MeantFor::Journal => "journal",
        };
        self.engine.set_aside_encoded(table, bytes).await.expect("it is written");
    }

    async fn reopen(&mut self) {
        self.kill_and_open().await;
    }

    async fn inject_undecodable(&self, kind: WorkKind) {
        let bytes = Bytes::from_static(b"\xff\xff\xff not a message");
        self.engine.publish_encoded(kind, bytes).await.expect("it is written");
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

#[async_trait]
impl StoreUnderTest for SqliteUnderTest {
    fn drops_bodies(&self) -> bool {
        false
    }

    fn configuration(&self) -> Arc<dyn ConfigStore> {
        self.engine.config_store()
    }

    fn keyed(&self) -> Arc<dyn KeyedRequests> {
        self.engine.keyed_requests()
    }

    fn log(&self) -> Arc<dyn DeliveryLog> {
        self.engine.delivery_log()
    }

    fn queries(&self) -> Arc<dyn LogQueries> {
        self.engine.log_queries()
    }

    fn room(&self) -> Arc<dyn WaitingRoom> {
        self.engine.waiting_room()
    }

    fn leadership(&self) -> Arc<dyn Leadership> {
        self.engine.leadership()
    }

    async fn leadership_elsewhere(&self) -> Option<Arc<dyn Leadership>> {
        None
    }

    async fn reopen(&mut self) {
        self.kill_and_open().await;
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}
