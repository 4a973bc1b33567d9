//! Everything a test needs around Postrider: private RabbitMQ and PostgreSQL servers, a receiver that can
//! misbehave, the real binary as a child process, and a small client of its API.
//!
//! Promises: nothing outside the loopback interface and one temporary folder is touched; every process
//! started here is ended by its id, and the folder removed, however the test process itself ends, `kill -9`
//! included (see [`watchdog`]); nothing waits without a deadline (see [`deadline`]).

pub mod account;
pub mod certificates;
pub mod chaos;
pub mod deadline;
pub mod folder;
pub mod http;
pub mod listener;
pub mod port;
pub mod postgres;
pub mod postrider;
pub mod process;
pub mod rabbitmq;
pub mod receiver;
pub mod shared;
pub mod signal;
pub mod small_disk;
pub mod stranger;
pub mod watchdog;

pub use certificates::Certificates;
pub use chaos::{ChaosProxy, Weather};
pub use deadline::{eventually, eventually_at_its_pace, fault_lasts};
pub use folder::TempFolder;
pub use http::{Answer, Api};
pub use listener::Listener;
pub use postgres::Postgres;
pub use postrider::{Server, ServerOptions};
pub use rabbitmq::{Knobs, RabbitMq, RabbitMqCluster};
pub use receiver::{Behaviour, Gate, Received, Receiver, Seen, TlsSetup};
pub use shared::{fresh_prefix, shared_postgres, shared_rabbitmq};
pub use small_disk::{SmallDisk, take_all_space};
pub use stranger::{Stranger, Taken};
