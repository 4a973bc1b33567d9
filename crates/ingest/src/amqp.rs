//! Events over AMQP: the routing key names the tenant, `message_id` is the idempotency key.
//!
//! A message is acknowledged when its event is durable, or when it stands in the refused queue with its problem.
//! Nothing vanishes, and nothing that can work later is refused. What keeps every event out is waited for with the message
//! in hand, if it does not last; what keeps this one out, for however long, must not keep out others: such a message is put
//! off, to come in again behind them.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    IntakeError, IntakeSource, Lease, ProducerMessage, PutOffQueue, QueueError, Refusal, RefusedQueue,
};
use postrider_contract::submission::{InvalidSubmission, Submission};
use postrider_service::failpoint;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::{IngestMetrics, IngestResult, IngestSource};
use postrider_service::sparing::Sparing;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::intake::Intake;
use crate::key::IdempotencyKey;
use crate::refusals::hit;

/// Messages worked on at once; the journal and the queue gather them into few writes.
const AT_ONCE: usize = 256;
/// Between tries of a message that cannot be accepted now.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// A message that was in hand for so long is put off: the broker keeps its log from the oldest message in hand on, and
/// takes back all that a consumer has for the sake of one that is held for too long.
const LONGEST_IN_HAND: Duration = Duration::from_secs(120);
const MAX_BODY: usize = 1024 * 1024;

/// While the broker takes nothing, every message in hand is tried twice a second.
static STILL_IN_HAND: Sparing = Sparing::new(1, Duration::from_secs(1));

/// Where messages go that are not accepted.
pub struct Asides {
    pub refused: Arc<dyn RefusedQueue>,
    pub put_off: Arc<dyn PutOffQueue>,
}

/// Takes messages until told to stop, then finishes those in hand.
///
/// # Errors
/// When the queue ends by itself.
pub async fn run_amqp_intake(
    mut source: Box<dyn IntakeSource>,
    asides: Asides,
    intake: Arc<Intake>,
    metrics: Arc<IngestMetrics>,
    stop: Stop,
) -> Result<(), QueueError> {
    let (places, asides) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(asides));
    loop {
        let lease = tokio::select! {
            () = stop.draining() => break,
            lease = source.next() => match lease {
                Err(QueueError::Closed) if stop.is_draining() => break,
                lease => lease?,
            },
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let worker = OneMessage {
            asides: Arc::clone(&asides),
            intake: Arc::clone(&intake),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            worker.settle(lease).await;
            drop(place);
        });
    }
    // Every place back means nothing is in hand any more.
    let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
    tokio::select! {
        () = stop.halted() => {}
        _ = places.acquire_many(all) => {}
    }
    Ok(())
}

struct OneMessage {
    asides: Arc<Asides>,
    intake: Arc<Intake>,
    metrics: Arc<IngestMetrics>,
    stop: Stop,
}

/// What to do with a message after one try.
enum Verdict {
    Accepted(IngestResult),
    Refuse(Refusal, IngestResult),
    /// For a reason that holds up this message alone, or that lasts.
    PutOff(IntakeError),
    /// For a reason that may hold up every message.
    Later(IntakeError),
}

impl OneMessage {
    /// Done with it, in whichever way, then acknowledged: a crash in between has it come again, and its key tells that it
    /// was accepted; what was put aside before then is there twice.
    async fn settle(&self, lease: Lease<ProducerMessage>) {
        let Lease { message, ticket, .. } = lease;
        let taken_at = Instant::now();
        loop {
            match self.try_once(&message).await {
                Verdict::Later(_) if taken_at.elapsed() < LONGEST_IN_HAND => {}
                Verdict::Accepted(result) => {
                    self.metrics.events.at(IngestSource::Amqp, result).inc();
                    return ticket.acknowledge();
                }
                Verdict::PutOff(why) | Verdict::Later(why) => match self.put_off(&message).await {
                    Ok(()) => {
                        tracing::debug!(%why, "put off a producer's message");
                        return ticket.acknowledge();
                    }
                    Err(error) => tell_of_still_in_hand(&error, &why),
                },
                Verdict::Refuse(refusal, result) => match self.put_aside(&message, &refusal).await {
                    Ok(()) => {
                        self.metrics.events.at(IngestSource::Amqp, result).inc();
                        let Refusal { code, detail } = refusal;
                        tracing::warn!(code, detail, "refused a producer's message");
                        return ticket.acknowledge();
                    }
                    Err(error) => tell_of_still_in_hand(&error, &refusal.detail),
                },
            }
            tokio::select! {
                () = self.stop.draining() => return ticket.give_back(),
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }

    async fn put_aside(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError> {
        failpoint::hit("amqp.before_refuse").map_err(unconfirmed)?;
        self.asides.refused.refuse(message, refusal).await?;
        failpoint::hit("amqp.after_refuse").map_err(unconfirmed)
    }

    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError> {
        failpoint::hit("amqp.before_put_off").map_err(unconfirmed)?;
        self.asides.put_off.put_off(message).await?;
        failpoint::hit("amqp.after_put_off").map_err(unconfirmed)
    }

    async fn try_once(&self, message: &ProducerMessage) -> Verdict {
        let (tenant, key, submission) = match read(message) {
            Ok(parts) => parts,
            Err(refusal) => return Verdict::Refuse(refusal, IngestResult::Invalid),
        };
        let accept = async || {
            hit("amqp.before_accept")?;
            let (submission, key) = (submission.clone(), Some(key.clone()));
            let receipt = self.intake.accept_request(&tenant, submission, key, &message.body).await?;
            hit("amqp.after_accept")?;
            Ok(receipt)
        };
        let mut result = accept().await;
        if let Err(
            IntakeError::UnknownTenant | IntakeError::UnknownWebhook(_) | IntakeError::SchemaBroken { .. },
        ) = result
        {
            // What it asks for may be newer than the directory, and a refusal is for good: the store has the last word.
            result = match self.intake.refresh_directory().await {
                Ok(()) => accept().await,
                Err(error) => Err(error),
            };
        }
        match result {
            Ok(receipt) if receipt.replayed => Verdict::Accepted(IngestResult::Duplicate),
            Ok(_) => Verdict::Accepted(IngestResult::Accepted),
            Err(error) => verdict_on(error),
        }
    }
}

fn tell_of_still_in_hand(error: &QueueError, why: &dyn Display) {
    if let Some(untold) = STILL_IN_HAND.tell() {
        tracing::warn!(%error, %why, untold, "cannot put off or aside a producer's message yet");
    }
}

fn unconfirmed(failure: failpoint::InjectedFailure) -> QueueError {
    QueueError::Unavailable { reason: failure.to_string() }
}

fn verdict_on(error: IntakeError) -> Verdict {
    match error {
        IntakeError::UnknownTenant => refuse("not_found", &error, IngestResult::Unauthorized),
        IntakeError::UnknownWebhook(_)
        | IntakeError::Unrenderable { .. }
        | IntakeError::SchemaBroken { .. } => refuse("invalid_request", &error, IngestResult::Invalid),
        IntakeError::KeyReused => refuse("idempotency_key_reused", &error, IngestResult::Invalid),
        // Until this process is replaced, at the latest.
        IntakeError::UnreadableTenant | IntakeError::UnusableWebhook(_) => Verdict::PutOff(error),
        IntakeError::KeyInProgress
        | IntakeError::Unavailable { .. }
        | IntakeError::InDoubt { .. }
        | IntakeError::Overloaded => Verdict::Later(error),
    }
}

fn refuse(code: &str, error: &IntakeError, result: IngestResult) -> Verdict {
    Verdict::Refuse(Refusal { code: code.to_owned(), detail: error.to_string() }, result)
}

fn read(message: &ProducerMessage) -> Result<(TenantId, IdempotencyKey, Submission), Refusal> {
    let refusal = |code: &str, detail: String| Refusal { code: code.to_owned(), detail };
    let tenant = message
        .routing_key
        .parse()
        .map_err(|error| refusal("not_found", format!("the routing key must be a tenant's id: {error}")))?;
    let Some(message_id) = &message.message_id else {
        let detail = "message_id is required: without it a redelivery could not be recognised".to_owned();
        return Err(refusal("invalid_request", detail));
    };
    let key = IdempotencyKey::parse(message_id)
        .map_err(|error| refusal("invalid_request", format!("message_id {error}")))?;
    if message.body.len() > MAX_BODY {
        return Err(refusal("payload_too_large", format!("the body is over {MAX_BODY} bytes")));
    }
    match Submission::parse(&message.body) {
        Ok(submission) if submission.event_type.is_reserved() => {
            Err(refusal("invalid_request", "/type: types that begin with postrider. are reserved".to_owned()))
        }
        Ok(submission) => Ok((tenant, key, submission)),
        Err(InvalidSubmission::Json(error)) => Err(refusal("malformed_json", error.to_string())),
        Err(field @ InvalidSubmission::Field { .. }) => Err(refusal("invalid_request", field.to_string())),
    }
}

#[cfg(test)]
mod tests;
