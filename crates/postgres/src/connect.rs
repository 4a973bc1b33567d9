//! The store as a whole: made once at start, then handed out port by port.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::ports::{
    ConfigStore, DeliveryLog, KeyedRequests, Leadership, LogQueries, WaitingRoom,
};

use crate::configuration::Configuration;
use crate::errors::ConnectError;
use crate::keyed::Keyed;
use crate::leadership::AdvisoryLocks;
use crate::log::Log;
use crate::migrations::check_schema;
use crate::server::Server;
use crate::session::Database;
use crate::waiting_room::Room;

/// How to reach the server, and how hard to lean on it.
#[derive(Clone)]
pub struct Settings {
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`.
    pub url: String,
    /// Connections kept for what somebody waits for: the API, configuration, keyed requests, checks. Leadership
    /// and change notices use one each beside these.
    pub pool_size: NonZeroU16,
    /// Connections kept for writing the log and releasing, opened when first used: so that the API cannot keep the
    /// log from being written.
    pub write_pool_size: NonZeroU16,
    /// A statement that somebody waits for is ended by the server after this.
    pub query_timeout: Duration,
    /// A statement that writes the log is ended by the server after this.
    pub write_timeout: Duration,
    /// For making a connection to one host, and for waiting for a free one.
    pub connect_timeout: Duration,
    /// What the server's own lists show, for instance `postrider status@host-1`.
    pub application_name: String,
    /// PEM; trusted beside the public certificate authorities. Only looked at where the URL asks for TLS.
    pub ca_certificates: Option<Vec<u8>>,
}

impl Settings {
    /// Defaults: eight connections and four to write with, up to 5 s for a question, up to 30 s for a write,
    /// connections within 5 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Settings {
            url: url.into(),
            pool_size: const { NonZeroU16::new(8).expect("eight is not zero") },
            write_pool_size: const { NonZeroU16::new(4).expect("four is not zero") },
            query_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            application_name: "postrider".to_owned(),
            ca_certificates: None,
        }
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("pool_size", &self.pool_size)
            .field("write_pool_size", &self.write_pool_size)
            .field("query_timeout", &self.query_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

/// The ports on one database.
#[derive(Clone)]
pub struct PostgresStore {
    configuration: Arc<Configuration>,
    keyed: Arc<Keyed>,
    log: Arc<Log>,
    room: Arc<Room>,
    locks: Arc<AdvisoryLocks>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Checks that the server answers and that its schema is the one this program knows. Must be called within a
    /// Tokio runtime, which then serves the connections.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing is left running.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let server = Server::new(&settings)?;
        let first = server.reach().await?;
        check_schema(&first.client, &server).await?;
        drop(first);
        let asking = server.pool(usize::from(settings.pool_size.get()), settings.query_timeout)?;
        let writing = server.pool(usize::from(settings.write_pool_size.get()), settings.write_timeout)?;
        let writing = Arc::new(Database::new(writing, server.clone(), settings.write_timeout));
        let database = Arc::new(Database::new(asking, server, settings.query_timeout));
        Ok(PostgresStore {
            configuration: Arc::new(Configuration::new(Arc::clone(&database))),
            keyed: Arc::new(Keyed::new(Arc::clone(&database))),
            log: Arc::new(Log::new(Arc::clone(&database), Arc::clone(&writing))),
            room: Arc::new(Room::new(Arc::clone(&database), writing)),
            locks: Arc::new(AdvisoryLocks::new(database)),
        })
    }

    #[must_use]
    pub fn configuration(&self) -> Arc<dyn ConfigStore> {
        self.configuration.clone()
    }

    #[must_use]
    pub fn keyed_requests(&self) -> Arc<dyn KeyedRequests> {
        self.keyed.clone()
    }

    #[must_use]
    pub fn delivery_log(&self) -> Arc<dyn DeliveryLog> {
        self.log.clone()
    }

    #[must_use]
    pub fn log_queries(&self) -> Arc<dyn LogQueries> {
        self.log.clone()
    }

    #[must_use]
    pub fn waiting_room(&self) -> Arc<dyn WaitingRoom> {
        self.room.clone()
    }

    #[must_use]
    pub fn leadership(&self) -> Arc<dyn Leadership> {
        self.locks.clone()
    }
}
