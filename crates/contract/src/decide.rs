//! The decision: what becomes of a delivery after a try. Pure: the same inputs always decide the same.

use std::time::Duration;

use crate::attempt::{AttemptResult, Response};
use crate::clock::{Jitter, Timestamp};
use crate::delivery::AttemptNumber;
use crate::outcome::{Cause, FailureReason, Outcome};
use crate::postback::SuccessRule;
use crate::profile::{AnswerRule, CompiledProfile, ProfileOverride};
use crate::provider::{AnswerHabits, Provider};
use crate::retry::{RetryAfter, RetryAfterRule, RetryRule};
use crate::webhook::{Webhook, WebhookKind};

/// What decides about one webhook's deliveries: its profile, and what it asks for differently.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryRules<'a> {
    answers: &'a AnswerRule,
    retry: &'a RetryRule,
    waits: &'a [Duration],
    habits: &'static AnswerHabits,
    /// A postback's own, in place of the profile's.
    success: Option<&'a SuccessRule>,
}

impl<'a> DeliveryRules<'a> {
    #[must_use]
    pub fn new(profile: &'a CompiledProfile, overrides: &'a ProfileOverride) -> Self {
        let definition = profile.definition();
        let waits = overrides.waits.as_deref().unwrap_or(definition.retry.waits.waits());
        let habits = Provider::Webhook.answer_habits();
        DeliveryRules { answers: &definition.answers, retry: &definition.retry, waits, habits, success: None }
    }

    /// Where the receiver is a provider, its own answers are understood too.
    #[must_use]
    pub fn at(self, provider: Provider) -> Self {
        DeliveryRules { habits: provider.answer_habits(), ..self }
    }

    /// What decides about the deliveries of this webhook, whose profile this is.
    #[must_use]
    pub fn of(profile: &'a CompiledProfile, webhook: &'a Webhook) -> Self {
        let success = match webhook.kind {
            WebhookKind::Webhook => None,
            WebhookKind::Postback => webhook.postback.success.as_ref(),
        };
        DeliveryRules { success, ..Self::new(profile, &webhook.overrides).at(webhook.provider()) }
    }

    /// The wait after try `number`, jitter left out: what a schedule is shown with. `None` after the last try.
    #[must_use]
    pub fn planned_wait(&self, number: AttemptNumber) -> Option<Duration> {
        self.retry.next_wait_in(self.waits, number, None, Jitter::NONE)
    }

    /// A postback's own rule knows its receiver better than the profile, or a table of providers.
    fn is_success(&self, response: &Response) -> bool {
        match self.success {
            Some(rule) => rule.is_met_by(response),
            None => {
                let is_meant =
                    self.answers.success.contains(response.status) || self.habits.is_success(response.status);
                is_meant && !self.habits.tells_of_an_error(response)
            }
        }
    }

    /// A provider that limits its rate takes the delivery later, whatever the profile says.
    fn is_permanent(&self, status: u16) -> bool {
        let is_permanent = self.answers.permanent.contains(status) || self.habits.is_permanent(status);
        is_permanent && !self.habits.is_rate_limit(status)
    }

    /// What the receiver asked for, where this profile looks at it.
    fn wish(&self, response: &Response, now: Timestamp) -> Option<RetryAfter> {
        if let Some(wish) = self.habits.wish(response, now) {
            return Some(wish);
        }
        let rule = self.retry.retry_after.as_ref()?;
        if !rule.statuses.contains(response.status) {
            return None;
        }
        RetryAfter::parse(response.header("retry-after")?, now)
    }

    fn after_failure(
        &self,
        cause: Cause,
        number: AttemptNumber,
        wish: Option<RetryAfter>,
        at: Moment,
    ) -> Outcome {
        let scheduled = self.retry.next_wait_in(self.waits, number, wish, at.jitter);
        let wait = match (wish, &self.retry.retry_after) {
            // A provider's wish counts where the profile looks at none.
            (Some(wish), None) => scheduled.map(|_| RetryAfterRule::bounds_alone().clamp(wish)),
            (Some(_) | None, _) => scheduled,
        };
        match wait {
            Some(wait) => Outcome::Retry { at: at.now.plus(wait), cause },
            None => Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(cause) },
        }
    }
}

/// When a decision is made, and the chance that was drawn for it.
#[derive(Clone, Copy)]
struct Moment {
    now: Timestamp,
    jitter: Jitter,
}

/// What becomes of a delivery after try `number` ended with `result`.
///
/// A success counts as soon as status line and headers are in: a body cut off by the time limit does not change
/// it. A status that ends the delivery ends it at once; any other answer, and no answer, is tried again until
/// the waits are used up. Answers [`Outcome::Delivered`], [`Outcome::Retry`] or [`Outcome::Failed`], no other.
#[must_use]
pub fn decide(
    result: &AttemptResult,
    number: AttemptNumber,
    rules: &DeliveryRules<'_>,
    now: Timestamp,
    jitter: Jitter,
) -> Outcome {
    let moment = Moment { now, jitter };
    match result {
        AttemptResult::Failure { class, .. } => {
            rules.after_failure(Cause::Failure(*class), number, None, moment)
        }
        AttemptResult::Response(response) => {
            let cause = Cause::Status(response.status);
            if rules.is_success(response) {
                Outcome::Delivered
            } else if rules.is_permanent(response.status) {
                Outcome::Failed { reason: FailureReason::Permanent, cause: Some(cause) }
            } else {
                rules.after_failure(cause, number, rules.wish(response, now), moment)
            }
        }
    }
}

/// Whether an answer disables the webhook at once, by its profile (`410 Gone` in Standard Webhooks).
#[must_use]
pub fn disables(result: &AttemptResult, rules: &DeliveryRules<'_>) -> bool {
    match result {
        AttemptResult::Response(response) => {
            let is_named = rules.success.is_some_and(|rule| rule.statuses.contains(response.status));
            rules.answers.disabling.contains(response.status) && !is_named
        }
        AttemptResult::Failure { .. } => false,
    }
}

#[cfg(test)]
mod tests;
