//! The path of one delivery through the worker: check → gate → attempt → decide → settle.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::attempt::{Attempt, AttemptResult, FailureClass};
use postrider_contract::clock::{Clock, Entropy, Timestamp};
use postrider_contract::decide::{DeliveryRules, decide};
use postrider_contract::delivery::{Delivery, Query, TooLong};
use postrider_contract::journal::Conclusion;
use postrider_contract::outcome::{CancelReason, Cause, FailureReason, HoldReason, Outcome};
use postrider_service::directory::WebhookEntry;
use postrider_service::webhook_requests::PrepareError;

use crate::attempt::{Attempter, NotTried};
use crate::check::{Checker, Recorded};
use crate::gate::{Deferral, Gate, Verdict};
use crate::prepared::{Preparations, Prepared};
use crate::settle::{Settle, Unsettled};
use crate::taken::Taken;
use crate::tally::Tally;
use crate::windows::{Pace, SLOW_TRY};

/// A lane that is early by less than this is not worth another hop.
const EARLY_SLACK: Duration = Duration::from_millis(250);
/// How long a delivery is put off, by how often it was: lanes that exist for retries anyway.
const DEFERRALS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// So often a delivery waits for somebody to put its webhook right: by a minute each time, a day.
const UNREPAIRED: u32 = 24 * 60;
/// What was put right meanwhile is tried again after this.
const AFTER_CHANGE: Duration = Duration::from_secs(1);

/// Given the pace of a try as soon as it has ended, before it is settled, so that its slot is free.
pub trait Slot: Send {
    fn free(self, pace: Pace);
}

/// All that a delivery passes.
pub struct Path {
    pub checker: Checker,
    pub gate: Gate,
    pub preparations: Preparations,
    pub attempter: Attempter,
    pub settle: Settle,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub tally: Tally,
}

impl Path {
    /// Takes one delivery to its end here.
    ///
    /// # Errors
    /// When it was given back instead; it will come again.
    pub async fn walk(&self, taken: Taken, slot: impl Slot) -> Result<(), Unsettled> {
        if let Some(rest) = self.too_early(&taken.delivery) {
            return self.settle.parked_again(taken, rest).await;
        }
        let Some(taken) = self.unless_recorded(taken).await? else { return Ok(()) };
        match self.gate.judge(&taken.delivery, taken.passage()).await {
            Verdict::Hold(why) => self.settle.held(taken, why).await,
            Verdict::Cancel(reason) => self.cancel(taken, reason).await,
            Verdict::Defer(why) => self.defer(taken, why).await,
            Verdict::Try(entry) => match self.prepare(&entry) {
                Ok(prepared) => self.attempt(taken, &prepared, slot).await,
                Err(error) => self.wait_for_repair(taken, error).await,
            },
        }
    }

    /// A secret that is not one of the profile that the body was rendered with, or not of the same kind, was given for
    /// another, and so was a credential that would stand in a header of that profile, and a URL without what that profile
    /// signs of it: then that other one, the webhook's present profile, makes the headers.
    fn prepare(&self, entry: &Arc<WebhookEntry>) -> Result<Arc<Prepared>, PrepareError> {
        let prepared = self.preparations.of(entry);
        let is_of_other_profile = match &prepared {
            Ok(prepared) => prepared.requests.has_secret_of_other_kind(),
            Err(PrepareError::Secret(_) | PrepareError::Credential { .. } | PrepareError::Query { .. }) => {
                true
            }
            Err(PrepareError::Sealed(_) | PrepareError::Header { .. } | PrepareError::Target) => false,
        };
        match self.gate.present(entry.webhook.id).filter(|_| is_of_other_profile) {
            Some(present) => self.preparations.of(&present),
            None => prepared,
        }
    }

    /// Puts a delivery that waited too long for its webhook into the waiting room.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn put_away(&self, taken: Taken) -> Result<(), Unsettled> {
        match self.unless_recorded(taken).await? {
            Some(taken) => self.settle.held(taken, HoldReason::Overflow).await,
            None => Ok(()),
        }
    }

    async fn attempt(&self, taken: Taken, prepared: &Prepared, slot: impl Slot) -> Result<(), Unsettled> {
        if let Query::TooLong(part) = taken.delivery.query {
            return self.unsendable(taken, prepared, part, slot).await;
        }
        let attempt = match self.attempter.attempt(&taken.delivery, prepared).await {
            Ok(attempt) => attempt,
            Err(NotTried::Injected(failure)) => return Err(failure.into()),
            Err(NotTried::Shortage(shortage)) => {
                tracing::warn!(%shortage, "a try is put off");
                return self.defer(taken, Deferral::NoSockets).await;
            }
            Err(NotTried::Unwritable(error)) => {
                return self.wait_for_repair(taken, error).await;
            }
        };
        slot.free(pace_of(&attempt));
        let outcome = self.decide(&attempt, prepared).await;
        let provider = prepared.entry().webhook.provider();
        self.tally.note((&taken.delivery, provider), &attempt, outcome, self.clock.now());
        self.settle.attempted(taken, attempt, outcome).await
    }

    /// A postback that became too long when it was filled stays so: its one try is that it cannot be made.
    async fn unsendable(
        &self,
        taken: Taken,
        prepared: &Prepared,
        part: TooLong,
        slot: impl Slot,
    ) -> Result<(), Unsettled> {
        let attempt = self.attempter.unsendable(&taken.delivery, prepared, part);
        slot.free(pace_of(&attempt));
        let cause = Some(Cause::Failure(FailureClass::Protocol));
        let outcome = Outcome::Failed { reason: FailureReason::Permanent, cause };
        let provider = prepared.entry().webhook.provider();
        self.tally.note((&taken.delivery, provider), &attempt, outcome, self.clock.now());
        self.settle.attempted(taken, attempt, outcome).await
    }

    /// Before a permanent failure is final, the webhook as it is now is looked at: a receiver may have refused an
    /// old secret or an old path, and what has been put right meanwhile deserves its try.
    async fn decide(&self, attempt: &Attempt, prepared: &Prepared) -> Outcome {
        let entry = prepared.entry();
        let rules = DeliveryRules::of(&entry.profile.profile, &entry.webhook);
        let now = self.clock.now();
        let decided = decide(&attempt.result, attempt.number, &rules, now, self.entropy.draw_jitter());
        let outcome = self.as_parked(decided, now);
        match outcome {
            Outcome::Failed { reason: FailureReason::Permanent, cause: Some(cause) } => {
                match self.gate.newer_than(entry).await {
                    Some(_) => Outcome::Retry { at: now.plus(AFTER_CHANGE), cause },
                    None => outcome,
                }
            }
            Outcome::Delivered
            | Outcome::Retry { .. }
            | Outcome::Failed { .. }
            | Outcome::Held { .. }
            | Outcome::Canceled { .. }
            | Outcome::Expired => outcome,
        }
    }

    /// A retry is due when its lane lets it go, which may be later than was decided: what the log says is due must
    /// not look overdue.
    fn as_parked(&self, outcome: Outcome, now: Timestamp) -> Outcome {
        match outcome {
            Outcome::Retry { at, cause } => {
                Outcome::Retry { at: now.plus(self.settle.queue.parked_for(at.since(now))), cause }
            }
            Outcome::Delivered
            | Outcome::Failed { .. }
            | Outcome::Held { .. }
            | Outcome::Canceled { .. }
            | Outcome::Expired => outcome,
        }
    }

    /// Acknowledges what was tried already; a record implies that its follow-up exists. What came out of the
    /// waiting room leaves it first: that try's own record may not have known of the row.
    async fn unless_recorded(&self, taken: Taken) -> Result<Option<Taken>, Unsettled> {
        if !taken.must_be_checked() {
            return Ok(Some(taken));
        }
        match self.checker.is_recorded(taken.delivery.reference.id, taken.delivery.position).await {
            Recorded::No => return Ok(Some(taken)),
            Recorded::Yes if taken.delivery.position.holds > 0 => self.settle.left_room(taken).await?,
            Recorded::Yes => taken.ticket.acknowledge(),
        }
        Ok(None)
    }

    async fn cancel(&self, taken: Taken, reason: CancelReason) -> Result<(), Unsettled> {
        self.tally.note_canceled();
        self.settle.concluded(taken, Conclusion::Canceled(reason)).await
    }

    /// The webhook's requests cannot be made until somebody puts its secrets or its profile right. If nobody does, the
    /// delivery ends where it is seen, and can be sent again, instead of waiting without end.
    async fn wait_for_repair(&self, taken: Taken, error: impl Display) -> Result<(), Unsettled> {
        let Taken { delivery, .. } = &taken;
        let (id, webhook) = (delivery.reference.id, delivery.reference.webhook);
        if delivery.position.deferrals < UNREPAIRED {
            tracing::error!(webhook.id = %webhook, delivery.id = %id, %error, "a try cannot be made, and is put off");
            return self.defer(taken, Deferral::NoSecrets).await;
        }
        tracing::error!(
            webhook.id = %webhook, delivery.id = %id, %error,
            "for a day a try could not be made; the delivery has failed"
        );
        self.settle.concluded(taken, Conclusion::Failed(FailureReason::Internal)).await
    }

    async fn defer(&self, taken: Taken, why: Deferral) -> Result<(), Unsettled> {
        let step = usize::try_from(taken.delivery.position.deferrals).unwrap_or(usize::MAX);
        let delay = DEFERRALS[step.min(DEFERRALS.len() - 1)];
        tracing::debug!(delivery.id = %taken.delivery.reference.id, ?why, ?delay, "a try is put off");
        self.settle.deferred(taken, delay).await
    }

    /// How much of its delay is left, if its lane was early by more than a clock's ordinary error: at most what
    /// it was parked for, whatever the clocks say.
    fn too_early(&self, delivery: &Delivery) -> Option<Duration> {
        if delivery.parked_for.is_zero() {
            return None;
        }
        let rest = delivery.due_at.since(self.clock.now()).min(delivery.parked_for);
        (rest > EARLY_SLACK.max(delivery.parked_for / 5)).then_some(rest)
    }
}

fn pace_of(attempt: &Attempt) -> Pace {
    match &attempt.result {
        AttemptResult::Failure { class: FailureClass::Timeout(_), .. } => Pace::TimedOut,
        AttemptResult::Failure { .. } | AttemptResult::Response(_) if attempt.timings.total > SLOW_TRY => {
            Pace::Slow
        }
        AttemptResult::Failure { .. } | AttemptResult::Response(_) => Pace::Quick,
    }
}
