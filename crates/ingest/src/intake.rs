//! The way in: from a submission to a durable event.
//!
//! Order, which everything else rests on: match and check (nothing has happened yet, any error is the
//! producer's) → for a keyed request, its row (pending) → render and publish deliveries and journal records, all confirms
//! of a page awaited together → the key's row confirmed → `Ok`. Once publishing has begun, a failure is *in doubt*.
//!
//! What was accepted under a key stays accepted: a repeat that could not be accepted anew, because a webhook it names
//! is gone or its profile takes no such data any more, is looked up before it is refused.
//!
//! A keyed event is published by one request at a time ([`InHand`]): so its copies are as many as the times that it came
//! into doubt, however often its producer asked meanwhile.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use postrider_contract::clock::{Clock, Entropy, Timestamp};
use postrider_contract::delivery::{Check, Origin};
use postrider_contract::event::Event;
use postrider_contract::ids::{EventId, TenantId};
use postrider_contract::journal::JournalRecord;
use postrider_contract::ports::{
    EventIntake, IntakeError, IntakeReceipt, KeyedOutcome, KeyedRequest, KeyedState, WorkQueue,
};
use postrider_contract::schema::Violation;
use postrider_contract::submission::Submission;
use postrider_service::directory::{Directory, Found, TenantView};
use postrider_service::journal_writer::JournalWriter;

use crate::backlog::Backlog;
use crate::breaker::{Breaker, Breakers};
use crate::in_hand::InHand;
use crate::key::{IdempotencyKey, Keyed, begun_under, keys_of, replayed};
use crate::keyed_gate::KeyedGate;
use crate::matching::{UnknownWebhook, match_webhooks};
use crate::publishing::{Page, Pages, Planned, accepted_record, check_all};
use crate::refusals::{hit, in_doubt, not_now, store_away, unavailable, unrenderable};
use crate::room_watch::RoomWatch;
use crate::schema_check;

/// A first request that is pending for longer than this has died on the way: its repeat publishes.
const STILL_RUNNING: Duration = Duration::from_secs(10);
/// Nobody takes a request over that is younger than this: half of [`STILL_RUNNING`], so that it can still be written
/// down, or published, before it is taken for dead.
const SURELY_OURS: Duration = Duration::from_secs(5);

/// Far below what an engine takes for large, but for a template that repeats it.
const ORDINARY_BYTES: usize = 16 * 1024;
const ORDINARY_MATCHES: usize = 16;

/// What an [`Intake`] is made of.
#[derive(Clone)]
pub struct IntakeParts {
    pub directory: Arc<Directory>,
    pub queue: Arc<dyn WorkQueue>,
    pub journal: JournalWriter,
    pub keyed: KeyedGate,
    pub room: Arc<RoomWatch>,
    pub backlog: Arc<Backlog>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// How long the directory may be used while the store is away.
    pub max_directory_age: Duration,
}

/// Accepts events. Holds no state of its own that matters.
pub struct Intake {
    parts: IntakeParts,
    in_hand: InHand,
    breakers: Breakers,
}

/// What a request is that finds its key taken.
enum Repeat {
    Answered(Result<IntakeReceipt, IntakeError>),
    /// Of one that died on the way: to be published as it was first made.
    Unfinished(KeyedRequest),
}

/// An event with the webhooks it goes to, before anything is rendered.
struct Ready {
    event: Event,
    /// As its producer gave it, if at all.
    given_timestamp: Option<Timestamp>,
    matches: Vec<Planned>,
}

impl Ready {
    /// As nearly all events are: what is large, or goes to very many, may go to queues of its own.
    fn is_ordinary(&self) -> bool {
        self.event.data.as_bytes().len() <= ORDINARY_BYTES && self.matches.len() <= ORDINARY_MATCHES
    }

    fn request(&self, key: &Keyed) -> KeyedRequest {
        KeyedRequest {
            tenant: self.event.tenant.clone(),
            name: key.name.clone(),
            body_hash: key.body_hash,
            event: self.event.id.clone(),
            accepted_at: self.event.accepted_at,
            matches: self.matches.iter().map(|planned| planned.stored.clone()).collect(),
        }
    }
}

impl Intake {
    #[must_use]
    pub fn new(parts: IntakeParts) -> Arc<Self> {
        Arc::new(Intake { parts, in_hand: InHand::default(), breakers: Breakers::default() })
    }

    /// Accepts one event. `body` is the request's own bytes, by whose hash a repeat is told from a reuse of its key.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn accept_request(
        &self,
        tenant: &TenantId,
        submission: Submission,
        key: Option<IdempotencyKey>,
        body: &Bytes,
    ) -> Result<IntakeReceipt, IntakeError> {
        let view = self.view(tenant)?;
        let keys = keys_of(submission.id.as_ref(), key, body);
        if keys.is_empty() {
            schema_check::refuse_broken(&view, &submission)?;
            let ready = self.prepare(&view, submission, Origin::Producer).await?;
            self.check_breakers(&ready)?;
            return self.publish(&ready, Origin::Producer, Check::Fresh).await;
        }
        let prepared = match schema_check::refuse_broken(&view, &submission) {
            Ok(()) => self.prepare(&view, submission.clone(), Origin::Producer).await,
            Err(refusal) => Err(refusal),
        };
        match prepared {
            Ok(ready) => self.accept_keyed(ready, keys).await,
            Err(refusal) => self.refuse_unless_repeated(&view, submission, keys, refusal).await,
        }
    }

    /// What a producer is told of its event where its tenant has chosen to be warned; nothing elsewhere.
    #[must_use]
    pub fn warnings_of(&self, tenant: &TenantId, submission: &Submission) -> Vec<Violation> {
        let view = self.parts.directory.tenant(tenant).known();
        view.map(|view| schema_check::warnings(&view, submission)).unwrap_or_default()
    }

    /// Whether this tenant's events could be accepted now: what a batch asks before its first event.
    ///
    /// # Errors
    /// See [`IntakeError`]; nothing has happened then.
    pub fn check_open(&self, tenant: &TenantId) -> Result<(), IntakeError> {
        self.view(tenant).map(drop)
    }

    /// Brings in what was configured since: before something is said not to exist, once and for all.
    ///
    /// # Errors
    /// [`IntakeError::Unavailable`] when the store does not answer.
    pub(crate) async fn refresh_directory(&self) -> Result<(), IntakeError> {
        self.parts.directory.refresh().await.map_err(|error| store_away(&error))
    }

    fn view(&self, tenant: &TenantId) -> Result<Arc<TenantView>, IntakeError> {
        if self.parts.directory.age() > self.parts.max_directory_age {
            let reason = "the store of webhooks has been away for too long".to_owned();
            return Err(IntakeError::Unavailable { reason });
        }
        if self.parts.backlog.is_too_old() {
            return Err(IntakeError::Overloaded);
        }
        if let Err(error) = self.parts.queue.check_writable() {
            return Err(IntakeError::Unavailable { reason: error.to_string() });
        }
        match self.parts.directory.tenant(tenant) {
            Found::Known(view) => Ok(view),
            Found::Unknown if self.parts.directory.cannot_read_tenant(tenant) => {
                Err(IntakeError::UnreadableTenant)
            }
            Found::Deleted | Found::Unknown => Err(IntakeError::UnknownTenant),
        }
    }

    async fn prepare(
        &self,
        view: &TenantView,
        submission: Submission,
        origin: Origin,
    ) -> Result<Ready, IntakeError> {
        let named = submission.webhook_ids.as_deref();
        if let Some(webhook) = view.unusable_for(&submission.event_type, named) {
            return Err(IntakeError::UnusableWebhook(webhook));
        }
        let matches = match_webhooks(view, &submission, origin, &self.parts.room)
            .await
            .map_err(|UnknownWebhook(id)| IntakeError::UnknownWebhook(id))?;
        let accepted_at = self.parts.clock.now();
        let given_timestamp = submission.timestamp;
        let event = self.event(view, submission, accepted_at);
        let matches = matches.into_iter().map(|matched| Planned::new(matched, &event)).collect();
        let ready = checked(Ready { event, given_timestamp, matches })?;
        if self.is_any_shut(&ready) { Err(not_now()) } else { Ok(ready) }
    }

    /// Asked right before the first of it is published.
    fn check_breakers(&self, ready: &Ready) -> Result<(), IntakeError> {
        let now = self.parts.clock.now();
        // Nobody takes the turn at one of them who is turned away by the other.
        let may_try = !self.is_any_shut(ready) && self.breakers_of(ready).all(|one| one.lets_through(now));
        if may_try { Ok(()) } else { Err(not_now()) }
    }

    fn is_any_shut(&self, ready: &Ready) -> bool {
        let now = self.parts.clock.now();
        self.breakers_of(ready).any(|breaker| breaker.is_shut(now))
    }

    fn breakers_of(&self, ready: &Ready) -> impl Iterator<Item = &Breaker> {
        let is_tried = ready.is_ordinary() && ready.matches.iter().any(|planned| planned.held.is_none());
        std::iter::once(&self.breakers.journal).chain(is_tried.then_some(&self.breakers.work))
    }

    fn event(&self, view: &TenantView, submission: Submission, accepted_at: Timestamp) -> Event {
        event_of(&view.tenant.id, submission, accepted_at, &*self.parts.entropy)
    }

    /// Each key in turn: the first that exists already decides what this request is a repeat of.
    async fn accept_keyed(&self, mut ready: Ready, keys: Vec<Keyed>) -> Result<IntakeReceipt, IntakeError> {
        let mut check = Check::Fresh;
        // Begun by this request: taken back if another key says that nothing is to be published for them.
        let mut begun: Vec<&Keyed> = Vec::new();
        for key in &keys {
            match self.parts.keyed.begin(ready.request(key)).await.map_err(unavailable)? {
                KeyedOutcome::Inserted => {
                    hit("ingest.after_key_insert")?;
                    begun.push(key);
                }
                KeyedOutcome::Exists { request, state } => match self.judge(key, request, state) {
                    Repeat::Answered(answer) => {
                        self.withdraw(&ready, &begun).await;
                        return answer;
                    }
                    Repeat::Unfinished(first) => {
                        self.withdraw(&ready, &begun).await;
                        ready = self.as_first_made(ready, first).await?;
                        check = Check::LookUp;
                        hit("ingest.before_republish")?;
                        // They stand for the first request now, which is what a repeat by them has to find.
                        for key in &begun {
                            self.parts.keyed.begin(ready.request(key)).await.map_err(unavailable)?;
                        }
                    }
                },
            }
        }
        if let Err(refusal) = self.check_breakers(&ready) {
            // Those of a repeat stand for the first request.
            if check == Check::Fresh {
                self.withdraw(&ready, &begun).await;
            }
            return Err(refusal);
        }
        if !self.is_surely_ours(&ready.event) {
            // Its row waited for the store, and looked dead to a repeat, which publishes too.
            check = Check::LookUp;
        }
        self.publish_keyed(&ready, check, keys).await
    }

    fn is_surely_ours(&self, event: &Event) -> bool {
        self.parts.clock.now().since(event.accepted_at) < SURELY_OURS
    }

    fn judge(&self, key: &Keyed, first: KeyedRequest, state: KeyedState) -> Repeat {
        if first.body_hash != key.body_hash {
            return Repeat::Answered(Err(IntakeError::KeyReused));
        }
        match state {
            KeyedState::Confirmed => Repeat::Answered(Ok(replayed(&first))),
            KeyedState::Pending if self.parts.clock.now().since(first.accepted_at) < STILL_RUNNING => {
                Repeat::Answered(Err(IntakeError::KeyInProgress))
            }
            KeyedState::Pending => Repeat::Unfinished(first),
        }
    }

    /// If the store does not answer, the names are taken until their request is taken for dead. As they stay if this
    /// comes so late that a repeat may stand by them by now, and publish.
    async fn withdraw(&self, ready: &Ready, begun: &[&Keyed]) {
        let event = &ready.event;
        if begun.is_empty() || !self.is_surely_ours(event) {
            return;
        }
        let begun = begun.iter().map(|key| begun_under(event, &key.name));
        if let Err(error) = self.parts.keyed.withdraw(begun.collect()).await {
            tracing::warn!(%error, event.id = %event.id, "a key that was begun in vain stays pending");
        }
    }

    /// A request that cannot be accepted anew, unless it is the repeat of one that was.
    async fn refuse_unless_repeated(
        &self,
        view: &TenantView,
        submission: Submission,
        keys: Vec<Keyed>,
        refusal: IntakeError,
    ) -> Result<IntakeReceipt, IntakeError> {
        let names = keys.iter().map(|key| (view.tenant.id.clone(), key.name.clone())).collect();
        let found = self.parts.keyed.find(names).await.map_err(unavailable)?;
        let mut known =
            keys.iter().zip(found).filter_map(|(key, found)| found.map(|found| (key, found.0, found.1)));
        let Some((key, first, state)) = known.next() else { return Err(refusal) };
        match self.judge(key, first, state) {
            Repeat::Answered(answer) => answer,
            // Of what it asks for, nothing is wrong: the queue is not trusted at the moment.
            Repeat::Unfinished(_) if matches!(refusal, IntakeError::Unavailable { .. }) => Err(refusal),
            Repeat::Unfinished(first) => {
                let given_timestamp = submission.timestamp;
                let event = self.event(view, submission, self.parts.clock.now());
                let ready = Ready { event, given_timestamp, matches: Vec::new() };
                let ready = self.as_first_made(ready, first).await?;
                self.check_breakers(&ready)?;
                self.publish_keyed(&ready, Check::LookUp, keys).await
            }
        }
    }

    async fn publish_keyed(
        &self,
        ready: &Ready,
        check: Check,
        keys: Vec<Keyed>,
    ) -> Result<IntakeReceipt, IntakeError> {
        // Until the key is confirmed: a repeat that comes before then finds it pending, and a later one what came of it.
        let Some(_taken) = self.in_hand.take(&ready.event) else { return Err(IntakeError::KeyInProgress) };
        if check == Check::LookUp
            && let Some(receipt) = self.confirmed_meanwhile(ready, &keys).await?
        {
            return Ok(receipt);
        }
        let receipt = self.publish(ready, Origin::Producer, check).await?;
        hit("ingest.before_key_confirm")?;
        for key in keys {
            // The event is durable: a key that stays pending costs a check when it is repeated, no more.
            if let Err(error) = self.parts.keyed.confirm(begun_under(&ready.event, &key.name)).await {
                tracing::warn!(%error, event.id = %receipt.event, "an accepted request's key stays pending");
            }
        }
        hit("ingest.after_key_confirm")?;
        Ok(receipt)
    }

    /// Whoever had the event in hand before may have confirmed it since its row was read as pending.
    async fn confirmed_meanwhile(
        &self,
        ready: &Ready,
        keys: &[Keyed],
    ) -> Result<Option<IntakeReceipt>, IntakeError> {
        let names = keys.iter().map(|key| (ready.event.tenant.clone(), key.name.clone())).collect();
        let found = self.parts.keyed.find(names).await.map_err(unavailable)?;
        let confirmed = found.into_iter().flatten().find(|(request, state)| {
            *state == KeyedState::Confirmed
                && request.event == ready.event.id
                && request.accepted_at == ready.event.accepted_at
        });
        Ok(confirmed.map(|(request, _)| replayed(&request)))
    }

    /// The same event with the same ids, matches and bodies as when it was first tried, whatever changed meanwhile.
    /// A webhook that is deleted by now is among them: a worker cancels its delivery, and the ledger balances.
    async fn as_first_made(&self, ready: Ready, first: KeyedRequest) -> Result<Ready, IntakeError> {
        let timestamp = ready.given_timestamp.unwrap_or(first.accepted_at);
        let event = Event { id: first.event, accepted_at: first.accepted_at, timestamp, ..ready.event };
        let mut matches = Vec::with_capacity(first.matches.len());
        for stored in first.matches {
            let entry = self.parts.directory.webhook_as_rendered(
                &event.tenant,
                stored.webhook,
                &stored.profile,
                stored.rendered_with,
            );
            let entry = entry.await.map_err(|error| store_away(&error))?.ok_or_else(|| {
                let reason = format!("webhook {} cannot be read as it was", stored.webhook);
                IntakeError::Unavailable { reason }
            })?;
            // Whether it is to be held is for a worker to see: it may be in the room already.
            matches.push(Planned { entry, held: None, stored });
        }
        checked(Ready { event, matches, ..ready })
    }

    /// Page after page. The log is told of the event with the last one: it expects what is published, and heals what of
    /// that is not found; of an event that stays in doubt it has what was published until then.
    async fn publish(
        &self,
        ready: &Ready,
        origin: Origin,
        check: Check,
    ) -> Result<IntakeReceipt, IntakeError> {
        let (record, receipt) = accepted_record(&ready.event, &ready.matches, origin);
        let mut pages = Pages::new(&ready.event, &ready.matches, origin, check);
        hit("ingest.before_publish")?;
        let mut page = pages.render_next().await;
        while !pages.is_last() {
            self.publish_page(page, None).await?;
            page = pages.render_next().await;
        }
        self.publish_page(page, Some(record)).await?;
        Ok(receipt)
    }

    async fn publish_page(&self, page: Page, accepted: Option<JournalRecord>) -> Result<(), IntakeError> {
        let (clock, breakers) = (&self.parts.clock, &self.breakers);
        let (begun_at, is_ordinary) = (clock.now(), page.is_ordinary());
        let Page { publications, holds, .. } = page;
        let tells_of_journal = accepted.is_some() || !holds.is_empty();
        let deliveries = async {
            hit("ingest.before_deliveries")?;
            if !publications.is_empty() {
                let published = self.parts.queue.publish(publications).await;
                if is_ordinary {
                    breakers.work.note(published.is_ok(), begun_at, clock.now());
                }
                published.map_err(in_doubt)?;
            }
            hit("ingest.after_deliveries")
        };
        // A held record is its delivery's only copy, so it is durable when the accepted record says that the delivery
        // is held.
        let journal = async {
            let (holds, journal) = (holds.into_iter().map(Arc::new), &self.parts.journal);
            let written = match accepted {
                Some(record) => journal.record_after(holds.collect(), Arc::new(record)).await,
                None => try_join_all(holds.map(|record| journal.record(record))).await.map(drop),
            };
            if tells_of_journal {
                breakers.journal.note(written.is_ok(), begun_at, clock.now());
            }
            written
        };
        // Both run to their end: a journal record without its deliveries is healed, silence about it is not.
        let (deliveries, journal) = futures_util::join!(deliveries, journal);
        hit("ingest.after_publish")?;
        deliveries?;
        journal.map_err(in_doubt)
    }
}

#[async_trait]
impl EventIntake for Intake {
    async fn accept(
        &self,
        tenant: &TenantId,
        submission: Submission,
        origin: Origin,
    ) -> Result<IntakeReceipt, IntakeError> {
        let view = self.view(tenant)?;
        let ready = self.prepare(&view, submission, origin).await?;
        self.check_breakers(&ready)?;
        self.publish(&ready, origin, Check::Fresh).await
    }
}

/// The event that a submission becomes when it is accepted at this time.
pub(crate) fn event_of(
    tenant: &TenantId,
    submission: Submission,
    accepted_at: Timestamp,
    entropy: &dyn Entropy,
) -> Event {
    Event {
        id: submission.id.unwrap_or_else(|| EventId::draw(accepted_at, entropy)),
        tenant: tenant.clone(),
        event_type: submission.event_type,
        schema_version: submission.schema_version,
        timestamp: submission.timestamp.unwrap_or(accepted_at),
        accepted_at,
        data: submission.data,
        summary: submission.summary,
        workflow: submission.workflow,
    }
}

/// What it goes into takes it.
fn checked(ready: Ready) -> Result<Ready, IntakeError> {
    check_all(&ready.event, &ready.matches).map_err(unrenderable)?;
    Ok(ready)
}

#[cfg(test)]
mod tests;
