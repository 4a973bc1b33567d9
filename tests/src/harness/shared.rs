//! Servers that the tests of one binary share, because a start takes seconds.
//!
//! Each is started when it is first asked for, and ended by the watchdog once the test process is gone. They
//! are handed out by shared reference, so no test can stop one under another; a test that wants to stop or kill
//! a server starts its own.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::sync::OnceCell;

use super::postgres::Postgres;
use super::rabbitmq::RabbitMq;

/// The broker of this test binary. Take a virtual host each ([`RabbitMq::vhost`]).
pub async fn shared_rabbitmq() -> Result<&'static RabbitMq> {
    static BROKER: OnceCell<RabbitMq> = OnceCell::const_new();
    BROKER.get_or_try_init(RabbitMq::start).await
}

/// The database server of this test binary. Take a database each ([`Postgres::create_database`]).
pub async fn shared_postgres() -> Result<&'static Postgres> {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_try_init(Postgres::start).await
}

/// A word that no other call in this test process has returned, for names in a server that is shared.
/// Lower-case letters and digits only.
pub fn fresh_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
