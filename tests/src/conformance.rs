//! The conformance suite: what every engine promises behind the ports, each promise one test.
//!
//! An engine says how it is started and ended ([`QueueUnderTest`], [`StoreUnderTest`]), and
//! [`queue_conformance!`](crate::queue_conformance) and [`store_conformance!`](crate::store_conformance) make a test
//! of every promise for it. A new promise is a function in the file of its group, and its name in the list at that
//! file's end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, Journal, KeyedRequests, Leadership, LogQueries, Strays, WaitingRoom, WorkKind,
    WorkQueue,
};

pub mod configuration;
pub mod journal;
pub mod keyed;
pub mod leadership;
pub mod log;
pub mod log_lists;
pub mod log_order;
pub mod queue;
pub mod queue_end;
pub mod samples;
pub mod strays;
pub mod waiting_room;

/// How long anything that must happen may take. Only a broken engine ever waits for so long.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long is waited for what must not happen.
const QUIET: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);

/// A queue engine of one's own: nobody else publishes to it or takes from it, and it is empty at first.
#[async_trait]
pub trait QueueUnderTest: Send + Sync {
    fn queue(&self) -> Arc<dyn WorkQueue>;
    fn journal(&self) -> Arc<dyn Journal>;
    fn strays(&self) -> Arc<dyn Strays>;

    /// Gives up all that is open, leases included, without closing it, as a killed process does; then opens the
    /// same data again. What `queue` and `journal` answered before is not used for anything new after it.
    async fn reopen(&mut self);

    /// Puts bytes that cannot be decoded where work of this kind is taken from.
    async fn inject_undecodable(&self, kind: WorkKind);

    /// Puts bytes among the dead as a reader would that could not read them.
    async fn set_aside(&self, meant_for: MeantFor, bytes: Bytes);

    /// By the clock that the engine was given.
    fn now(&self) -> Timestamp;

    /// Moves a clock that stands still; a real one moves by itself.
    fn pass(&self, _by: Duration) {}
}

/// Where a message was to be taken from when it was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeantFor {
    FirstTries,
    Journal,
}

/// A store of one's own, empty at first.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    fn configuration(&self) -> Arc<dyn ConfigStore>;
    fn keyed(&self) -> Arc<dyn KeyedRequests>;
    fn log(&self) -> Arc<dyn DeliveryLog>;
    fn queries(&self) -> Arc<dyn LogQueries>;
    fn room(&self) -> Arc<dyn WaitingRoom>;
    fn leadership(&self) -> Arc<dyn Leadership>;

    /// As another process on the same store has it; `None` where there is only ever one process.
    async fn leadership_elsewhere(&self) -> Option<Arc<dyn Leadership>>;

    /// Closes everything and opens the same data again.
    async fn reopen(&mut self);

    /// Whether bodies of responses can be dropped before their tries.
    fn drops_bodies(&self) -> bool {
        true
    }

    /// By the clock that the engine was given.
    fn now(&self) -> Timestamp;
}

/// What must happen, within the deadline.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens before the deadline")
}

/// What must not happen: true if it does not for a while.
pub async fn stays_quiet<T>(what: impl Future<Output = T>) -> bool {
    tokio::time::timeout(QUIET, what).await.is_err()
}

/// Asks again until the answer is true, within the deadline.
pub async fn eventually<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    soon(async {
        while !ask().await {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
}

/// Makes a test of each named promise of a group, each with an engine of its own.
#[macro_export]
macro_rules! promises {
    ($start:ident, $group:ident: $($name:ident),+ $(,)?) => {
        mod $group {
            use super::$start;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let mut engine = $start().await;
                    $crate::conformance::$group::$name(&mut engine).await;
                }
            )+
        }
    };
}

/// Every promise of the queue and the journal, for the engine that the async function `$start` makes.
#[macro_export]
macro_rules! queue_conformance {
    ($start:ident) => {
        $crate::queue_promises!($start);
        $crate::queue_end_promises!($start);
        $crate::journal_promises!($start);
        $crate::strays_promises!($start);
    };
}

/// Every promise of the stores, for the engine that the async function `$start` makes.
#[macro_export]
macro_rules! store_conformance {
    ($start:ident) => {
        $crate::configuration_promises!($start);
        $crate::keyed_promises!($start);
        $crate::log_promises!($start);
        $crate::log_order_promises!($start);
        $crate::log_lists_promises!($start);
        $crate::waiting_room_promises!($start);
        $crate::leadership_promises!($start);
    };
}
