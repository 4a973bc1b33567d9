//! Fan-out: one message with many deliveries becomes many messages with one, page by page.
//!
//! The message is acknowledged after the last confirm. Interrupted, it is expanded again from the start, with
//! every delivery marked so that its worker looks up whether it was made already.
//!
//! A page that the queue has no room for makes no [`Trouble`](crate::settle::Trouble): room is made by tries, so
//! they must go on. What is left of the fan-out goes round through a lane meanwhile, so that fan-outs that wait for
//! room cannot fill all that a worker may have in hand either.
//!
//! Of a page that was not taken whole nobody knows which part was, so all of it is published again, and what was
//! taken the first time is a copy. A queue that is nearly full is fed few of them: from then on the pages are
//! [`SMALL_PAGE`]s, also after the lane, and the first of those that is not taken whole sends the rest to the lane. So
//! the copies are fewer than [`PAGE`] the first time, and fewer than [`SMALL_PAGE`] each time that the rest is tried again.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::delivery::{Check, Delivery, FanOut, Work};
use postrider_contract::journal::{ConcludedRecord, Conclusion, JournalRecord};
use postrider_contract::outcome::FailureReason;
use postrider_contract::ports::{LeaseTicket, Publication, PublishError, Route};
use postrider_service::failpoint::hit;

use crate::settle::{FIRST_PAUSE, LONGEST_PAUSE, Settle, Unsettled};

/// So many publishes are confirmed together: enough to hide a confirm's latency, few enough to leave room for the
/// deliveries of others.
const PAGE: usize = 128;
/// After a page that was not taken whole: what is published in vain, or twice, is little then.
const SMALL_PAGE: usize = 8;
/// Nor more bytes than this, with each delivery's body counted, as it is written once for each.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// When what found no room comes again: a lane that exists for retries anyway.
const UNTIL_ROOM: Duration = Duration::from_secs(5);

/// What became of a page.
enum Placed {
    /// Every delivery before this one is published.
    UpTo(usize),
    /// There was no room: it waits in a lane, with all that comes after it.
    Parked,
}

impl Settle {
    /// Expands a fan-out and acknowledges it.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn fanned_out(
        &self,
        mut work: FanOut,
        redelivered: bool,
        ticket: LeaseTicket,
    ) -> Result<(), Unsettled> {
        let mut longest = longest_page(&work);
        if redelivered {
            mark(&mut work.deliveries);
        }
        let (mut made, mut looked_at) = (0, 0);
        while made < work.deliveries.len() {
            let page = page_from(&work, made, longest);
            for index in looked_at.max(page.start)..page.end {
                if work.body(index).is_none() {
                    self.bodiless(work.deliveries[index].clone()).await?;
                }
            }
            looked_at = looked_at.max(page.end);
            hit("fan_out.before_page")?;
            match self.place(&mut work, page, &mut longest).await? {
                Placed::UpTo(end) => made = end,
                Placed::Parked => break,
            }
            hit("fan_out.after_page")?;
        }
        hit("fan_out.before_acknowledge")?;
        ticket.acknowledge();
        Ok(())
    }

    /// Until the page, or as much of it as is published at once by then, is confirmed; or, where the queue has no room
    /// for it, what is left is confirmed in a lane.
    async fn place(
        &self,
        work: &mut FanOut,
        mut page: Range<usize>,
        longest: &mut usize,
    ) -> Result<Placed, Unsettled> {
        let mut pause = FIRST_PAUSE;
        loop {
            let publications = publications(work, page.clone());
            if publications.is_empty() {
                return Ok(Placed::UpTo(page.end));
            }
            let Err(error) = self.queue.publish(publications).await else {
                return Ok(Placed::UpTo(page.end));
            };
            // A part of it may have arrived.
            mark(&mut work.deliveries[page.start..]);
            if pause == FIRST_PAUSE {
                tracing::warn!(%error, "a page of a fan-out is not confirmed; trying again");
            }
            let has_no_room = match &error {
                PublishError::Refused { .. } => true,
                // The first time the connection may have broken; of a small page it is likelier that there is little room.
                PublishError::InDoubt { .. } => std::mem::replace(longest, SMALL_PAGE) == SMALL_PAGE,
            };
            if has_no_room && self.queue.check_writable().is_ok() {
                let left = Work::FanOut(left_of(work, page.start));
                let route = Route::Retry { delay: UNTIL_ROOM };
                if self.queue.publish(vec![Publication { route, work: left }]).await.is_ok() {
                    return Ok(Placed::Parked);
                }
            }
            page = page_from(work, page.start, *longest);
            tokio::select! {
                () = self.stop.halted() => return Err(Unsettled::Halted),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A message that contradicts itself: the delivery is not dropped, but ends where it can be seen.
    async fn bodiless(&self, delivery: Delivery) -> Result<(), Unsettled> {
        tracing::error!(delivery.id = %delivery.reference.id, "a fan-out names no body for this delivery");
        let conclusion = Conclusion::Failed(FailureReason::Internal);
        let record = ConcludedRecord { delivery: delivery.reference, conclusion, at: self.clock.now() };
        self.record(JournalRecord::Concluded(record)).await
    }
}

fn mark(deliveries: &mut [Delivery]) {
    deliveries.iter_mut().for_each(|delivery| delivery.check = Check::LookUp);
}

/// What was published before, by a worker that found no room above all, goes on carefully.
fn longest_page(work: &FanOut) -> usize {
    match work.deliveries.first().map(|first| first.check) {
        Some(Check::LookUp) => SMALL_PAGE,
        Some(Check::Fresh) | None => PAGE,
    }
}

/// The deliveries published together, from this one on.
fn page_from(work: &FanOut, start: usize, longest: usize) -> Range<usize> {
    let (mut end, mut bytes) = (start, 0);
    while end < work.deliveries.len() && end - start < longest && bytes < PAGE_BYTES {
        bytes += work.body(end).map_or(0, Bytes::len);
        end += 1;
    }
    start..end
}

fn publications(work: &FanOut, page: Range<usize>) -> Vec<Publication> {
    let whole = page.filter_map(|index| work.whole(index));
    whole.map(|delivery| Publication { route: Route::First, work: Work::Deliver(delivery) }).collect()
}

fn left_of(work: &FanOut, start: usize) -> FanOut {
    FanOut {
        deliveries: work.deliveries[start..].to_vec(),
        bodies: work.bodies.clone(),
        body_of: work.body_of.get(start..).unwrap_or_default().to_vec(),
    }
}

#[cfg(test)]
mod tests;
