//! The pool, and one connection of it in use.
//!
//! A session bounds every statement in time and knows whether the connection is fit to be used again: one that
//! still owes an answer (its future was dropped, or time ran out), or is inside a transaction, is closed instead
//! of given back, and the server rolls back.

use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use postrider_contract::ports::StoreError;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::errors::{Fault, unavailable};
use crate::server::Server;

/// How much longer than the server's own limit a statement is waited for: a server that is alive ends it first.
const GRACE: Duration = Duration::from_secs(2);

/// SQLSTATE "read only sql transaction".
const READ_ONLY: &str = "25006";

/// How often a transaction that lost against others is tried again before the store counts as unavailable.
pub(crate) const CONTENDED_TRIES: u32 = 6;

pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

#[derive(Debug)]
pub(crate) struct Database {
    pool: Pool,
    server: Server,
    patience: Duration,
}

impl Database {
    pub(crate) fn new(pool: Pool, server: Server, statement_timeout: Duration) -> Self {
        Database { pool, server, patience: statement_timeout.saturating_add(GRACE) }
    }

    /// Where connections that are not the pool's are made.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) async fn session(&self) -> Result<Session, Fault> {
        let client = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Fault::from(error),
            PoolError::Timeout(_) => Fault::Store(unavailable("no connection became free in time")),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Fault::Store(unavailable("the pool of connections is closed"))
            }
        })?;
        let patience = self.patience;
        Ok(Session { client: Some(client), patience, is_owed: false, is_unfit: false, in_transaction: false })
    }

    /// One statement of its own.
    pub(crate) async fn query(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        let mut session = self.session().await?;
        Ok(session.query(sql, parameters).await?)
    }

    /// One statement of its own that changes rows; tried again when it lost against another.
    pub(crate) async fn execute(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64, StoreError> {
        let mut session = self.session().await?;
        for _ in 1..CONTENDED_TRIES {
            match session.execute(sql, parameters).await {
                Err(Fault::Contended) => {}
                settled => return Ok(settled?),
            }
        }
        Ok(session.execute(sql, parameters).await?)
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    client: Option<Object>,
    patience: Duration,
    is_owed: bool,
    /// Whatever it answers from now on, it is not used again.
    is_unfit: bool,
    in_transaction: bool,
}

impl Session {
    pub(crate) async fn query(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Fault> {
        self.is_owed = true;
        let client = self.client.as_ref().ok_or_else(gone)?;
        let answer = timeout(self.patience, async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, parameters).await
        });
        let answer = answer.await.map_err(|_| no_answer())?;
        self.settle(answer)
    }

    pub(crate) async fn execute(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<u64, Fault> {
        self.is_owed = true;
        let client = self.client.as_ref().ok_or_else(gone)?;
        let answer = timeout(self.patience, async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, parameters).await
        });
        let answer = answer.await.map_err(|_| no_answer())?;
        self.settle(answer)
    }

    /// Statements without parameters and without an answer.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), Fault> {
        self.is_owed = true;
        let client = self.client.as_ref().ok_or_else(gone)?;
        let answer = timeout(self.patience, client.batch_execute(sql)).await.map_err(|_| no_answer())?;
        self.settle(answer)
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        self.in_transaction = true;
        self.run("BEGIN").await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        self.run("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// After a failure that leaves the connection usable.
    pub(crate) async fn roll_back(&mut self) -> Result<(), Fault> {
        self.run("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// What the server answered, an error included, is owed no more. A connection that failed, one that asked with
    /// a plan that a migration outdated, and one to a server that takes no writes (any more), is not used again:
    /// the next one may be to the server that was promoted.
    fn settle<T>(&mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T, Fault> {
        match answer {
            Ok(value) => {
                self.is_owed = false;
                Ok(value)
            }
            Err(error) => {
                let code = error.code().map(tokio_postgres::error::SqlState::code);
                self.is_owed = code.is_none();
                self.is_unfit |= code.is_some_and(|code| code.starts_with("0A") || code == READ_ONLY);
                Err(error.into())
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if (self.is_owed || self.is_unfit || self.in_transaction)
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

fn gone() -> Fault {
    Fault::Store(unavailable("the connection is gone"))
}

fn no_answer() -> Fault {
    Fault::Store(unavailable("no answer in time"))
}
