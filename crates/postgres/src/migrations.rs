//! The schema: made and brought up to date by `postrider migrate`, only looked at by everything else.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connect::Settings;
use crate::errors::{ConnectError, describe};
use crate::server::Server;

/// The advisory lock under which migrations run: two that start together must not race.
const MIGRATION_LOCK: i64 = 0x706f_7374_7269_6465;

/// A migration may have to wait for another to end, and then to rewrite tables.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(3600);

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// What a call of [`migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How many steps were taken; 0 if the schema was up to date.
    pub steps: usize,
    /// The version the schema has now.
    pub version: i32,
}

/// Brings the schema up to date. Safe to call from several processes at once, and any number of times.
///
/// # Errors
/// See [`ConnectError`].
pub async fn migrate(settings: &Settings) -> Result<Migrated, ConnectError> {
    let settings = Settings { statement_timeout: MIGRATION_TIMEOUT, ..settings.clone() };
    let server = Server::new(&settings)?;
    let mut connection = server.reach().await?;
    let failed = |reason: String| ConnectError::Migration { database: server.database().to_owned(), reason };
    let client = &mut connection.client;
    client
        .query("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(|e| failed(describe(&e)))?;
    // The lock ends with the connection, whatever happens here.
    if let Some(found) = installed_version(client).await.map_err(|error| failed(describe(&error)))?
        && found > newest_version()
    {
        let (database, known) = (server.database().to_owned(), newest_version());
        return Err(ConnectError::SchemaNewer { database, found, known });
    }
    let report = embedded::migrations::runner().run_async(client).await.map_err(|e| failed(innermost(&e)))?;
    Ok(Migrated { steps: report.applied_migrations().len(), version: newest_version() })
}

/// What the server said, below what the libraries between say about it.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// That the schema is the one this program was built with.
pub(crate) async fn check_schema(client: &Client, server: &Server) -> Result<(), ConnectError> {
    let database = server.database().to_owned();
    let found = installed_version(client)
        .await
        .map_err(|error| ConnectError::Unreachable { server: server.address(), reason: describe(&error) })?;
    let known = newest_version();
    match found {
        None => Err(ConnectError::SchemaMissing { database }),
        Some(found) if found < known => Err(ConnectError::SchemaOlder { database, found, needed: known }),
        Some(found) if found > known => Err(ConnectError::SchemaNewer { database, found, known }),
        Some(_) => Ok(()),
    }
}

fn newest_version() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}

async fn installed_version(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    match client.query_one("SELECT max(version) FROM refinery_schema_history", &[]).await {
        Ok(row) => row.try_get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}
