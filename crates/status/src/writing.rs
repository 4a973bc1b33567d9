//! From the journal to the log: whatever has come is folded together, written at once, then acknowledged.
//!
//! **Written, then acknowledged.** A crash between the two writes the same rows again, which changes nothing.

use std::sync::Arc;
use std::time::Duration;

use postrider_contract::journal::JournalRecord;
use postrider_contract::log::{LogWrites, fold};
use postrider_contract::ports::{DeliveryLog, QueueError};
use postrider_service::failpoint;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::StatusMetrics;
use tokio::time::Instant;

use crate::gathering::{Gathered, Gathering, TicketShare};
use crate::tries::TryBoard;

const TRY_AGAIN: Duration = Duration::from_millis(250);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// One writer: takes its turns until told to stop, and writes what it has.
///
/// # Errors
/// When the journal cannot be read and will not mend itself.
pub async fn run_writer(
    gathering: Arc<Gathering>,
    log: Arc<dyn DeliveryLog>,
    board: Arc<TryBoard>,
    metrics: Arc<StatusMetrics>,
    stop: Stop,
) -> Result<(), QueueError> {
    while let Some(Gathered { records, tickets }) = gathering.next(&stop).await? {
        metrics.batch_size.observe(f64::from(u32::try_from(records.len()).unwrap_or(u32::MAX)));
        note_tries(&board, &records);
        if write(&*log, &fold(records.into_iter().map(Arc::unwrap_or_clone)), &metrics, &stop).await
            == Written::No
        {
            // Halted: the shares give their messages back as they are dropped.
            return Ok(());
        }
        tickets.into_iter().for_each(TicketShare::written);
        if let Err(failure) = failpoint::hit("status.after_acknowledge") {
            tracing::debug!(%failure, "nothing can fail here any more");
        }
    }
    Ok(())
}

fn note_tries(board: &TryBoard, records: &[Arc<JournalRecord>]) {
    for record in records {
        match &**record {
            JournalRecord::Attempted(attempted) => board.note(attempted),
            JournalRecord::Held(held) => board.note_hold(held),
            JournalRecord::Accepted(_)
            | JournalRecord::Released(_)
            | JournalRecord::Deferred(_)
            | JournalRecord::Concluded(_) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    No,
}

/// Tries until it is written, or until everything is to be let go.
async fn write(log: &dyn DeliveryLog, writes: &LogWrites, metrics: &StatusMetrics, stop: &Stop) -> Written {
    let mut wait = TRY_AGAIN;
    loop {
        let started = Instant::now();
        let before = failpoint::hit("status.before_write");
        let result = if before.is_ok() { log.apply(writes).await } else { Ok(()) };
        match result {
            Ok(()) if before.is_ok() && failpoint::hit("status.after_write").is_ok() => {
                metrics.write_duration.observe(started.elapsed().as_secs_f64());
                return Written::Yes;
            }
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "cannot write the delivery log; trying again"),
        }
        tokio::select! {
            () = stop.halted() => return Written::No,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(TRY_AGAIN_AT_MOST),
        }
    }
}

#[cfg(test)]
mod tests;
