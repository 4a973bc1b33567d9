//! Bringing a server to rest that was given very many rows, for whoever measures it.

use postrider_contract::ports::StoreError;

use crate::connect::Settings;
use crate::errors::{describe, unavailable};
use crate::server::Server;

/// As long as it takes, what it would do by itself within the next minutes in the way of all else.
const CHORES: [&str; 3] = ["SET statement_timeout = 0", "VACUUM (ANALYZE)", "CHECKPOINT"];

/// Has the server look at every table of the database anew and write everything to its place.
///
/// # Errors
/// When it cannot be reached, or does not let this user do so.
pub async fn come_to_rest(settings: &Settings) -> Result<(), StoreError> {
    let reached = async { Server::new(settings)?.reach().await };
    let opened = reached.await.map_err(|error| unavailable(error.to_string()))?;
    for chore in CHORES {
        let done = opened.client.batch_execute(chore).await;
        done.map_err(|error| unavailable(format!("{chore}: {}", describe(&error))))?;
    }
    Ok(())
}
