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

/// What waits for a table's lock makes everyone who comes later wait behind it.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '10s'";

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
    let settings = Settings { query_timeout: MIGRATION_TIMEOUT, ..settings.clone() };
    let server = Server::new(&settings)?;
    let mut connection = server.reach().await?;
    let failed = |reason: String| ConnectError::Migration { database: server.database().to_owned(), reason };
    let client = &mut connection.client;
    client
        .query("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(|e| failed(describe(&e)))?;
    client.batch_execute(LOCK_TIMEOUT).await.map_err(|error| failed(describe(&error)))?;
    // The advisory lock ends with the connection, whatever happens here.
    let installed = installed(client).await.map_err(|error| failed(describe(&error)))?;
    if let Some(Installed { version, floor }) = installed
        && version > newest_version()
    {
        let (database, known) = (server.database().to_owned(), newest_version());
        if floor > known {
            return Err(ConnectError::SchemaNewer { database, found: version, known });
        }
        return Ok(Migrated { steps: 0, version });
    }
    let report = embedded::migrations::runner().run_async(client).await.map_err(|e| failed(innermost(&e)))?;
    Ok(Migrated { steps: report.applied_migrations().len(), version: newest_version() })
}

/// What the server said, below what the libraries between say about it.
fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

/// That the schema is one that this program works with: its own, or a newer one that says so. While a cluster is
/// brought to a new version, process by process, both versions run on the newer schema; and a new version that
/// disappoints can be taken back without touching it.
pub(crate) async fn check_schema(client: &Client, server: &Server) -> Result<(), ConnectError> {
    let database = server.database().to_owned();
    let installed = installed(client)
        .await
        .map_err(|error| ConnectError::Unreachable { server: server.address(), reason: describe(&error) })?;
    let known = newest_version();
    match installed {
        None => Err(ConnectError::SchemaMissing { database }),
        Some(Installed { version, .. }) if version < known => {
            Err(ConnectError::SchemaOlder { database, found: version, needed: known })
        }
        Some(Installed { version, floor }) if version > known && floor > known => {
            Err(ConnectError::SchemaNewer { database, found: version, known })
        }
        Some(Installed { version, .. }) => {
            if version > known {
                tracing::info!(version, known, "the schema is newer than this program and suits it");
            }
            Ok(())
        }
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

/// What is there.
struct Installed {
    version: i32,
    /// Programs built for a lower version do not work with it.
    floor: i32,
}

async fn installed(client: &Client) -> Result<Option<Installed>, tokio_postgres::Error> {
    let found = client.query_one("SELECT max(version) FROM refinery_schema_history", &[]).await;
    let Some(version) = absent_as(found, None)? else { return Ok(None) };
    let floor = client.query_one("SELECT max(version) FROM schema_floor", &[]).await;
    Ok(Some(Installed { version, floor: absent_as(floor, Some(version))?.unwrap_or(version) }))
}

/// The number in a table that may not be there.
fn absent_as(
    answer: Result<tokio_postgres::Row, tokio_postgres::Error>,
    absent: Option<i32>,
) -> Result<Option<i32>, tokio_postgres::Error> {
    match answer {
        Ok(row) => row.try_get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(absent),
        Err(error) => Err(error),
    }
}
