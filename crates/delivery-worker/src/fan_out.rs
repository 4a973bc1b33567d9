//! Fan-out: one message with many deliveries becomes many messages with one, page by page.
//!
//! The message is acknowledged after the last confirm. Interrupted, it is expanded again from the start, with
//! every delivery marked so that its worker looks up whether it was made already.

use postrider_contract::delivery::{Check, Delivery, FanOut, Work};
use postrider_contract::journal::{ConcludedRecord, Conclusion, JournalRecord};
use postrider_contract::outcome::FailureReason;
use postrider_contract::ports::{LeaseTicket, Publication, Route};
use postrider_service::failpoint::hit;

use crate::settle::{Settle, Unsettled};

/// So many publishes are confirmed together: enough to hide a confirm's latency, few enough to leave room for the
/// deliveries of others.
const PAGE: usize = 128;
/// Nor more bytes than this, with each delivery's body counted, as it is written once for each.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

impl Settle {
    /// Expands a fan-out and acknowledges it.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn fanned_out(
        &self,
        work: FanOut,
        redelivered: bool,
        ticket: LeaseTicket,
    ) -> Result<(), Unsettled> {
        let FanOut { deliveries, bodies, body_of } = work;
        let mut page = Vec::with_capacity(PAGE.min(deliveries.len()));
        let mut bytes = 0;
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let body = body_of.get(index).and_then(|body| bodies.get(usize::try_from(*body).ok()?));
            let Some(body) = body else {
                self.bodiless(delivery).await?;
                continue;
            };
            bytes += body.len();
            let check = if redelivered { Check::LookUp } else { delivery.check };
            let delivery = Delivery { body: body.clone(), check, ..delivery };
            page.push(Publication { route: Route::First, work: Work::Deliver(delivery) });
            if page.len() >= PAGE || bytes >= PAGE_BYTES {
                hit("fan_out.before_page")?;
                self.publish(std::mem::take(&mut page)).await?;
                hit("fan_out.after_page")?;
                bytes = 0;
            }
        }
        if !page.is_empty() {
            self.publish(page).await?;
        }
        hit("fan_out.before_acknowledge")?;
        ticket.acknowledge();
        Ok(())
    }

    /// A message that contradicts itself: the delivery is not dropped, but ends where it can be seen.
    async fn bodiless(&self, delivery: Delivery) -> Result<(), Unsettled> {
        tracing::error!(delivery.id = %delivery.reference.id, "a fan-out names no body for this delivery");
        let conclusion = Conclusion::Failed(FailureReason::Internal);
        let record = ConcludedRecord { delivery: delivery.reference, conclusion, at: self.clock.now() };
        self.record(JournalRecord::Concluded(record)).await
    }
}

#[cfg(test)]
mod tests;
