//! What a webhook's state says about a delivery, at the moment of its try.
//!
//! *Unknown* is never *deleted*: what is merely not here is put off, at no cost of a try, until the directory
//! knows more. So is everything when the directory is too old to be trusted.
//!
//! URL, credentials, secret and state are those of this moment; headers, signature and waits are those of the profile
//! that the body was rendered with: a receiver never gets the body of one contract under the headers of another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::delivery::Delivery;
use postrider_contract::ids::WebhookId;
use postrider_contract::outcome::{CancelReason, HoldReason};
use postrider_contract::ports::StoreError;
use postrider_contract::profile::{PausedRule, ProfileName};
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookState;
use postrider_service::directory::{Directory, Found, ProfileEntry, WebhookEntry};
use tokio::time::{Instant, timeout};

use crate::taken::Passage;

/// How long a try waits for news of its webhook.
const NEWS_BOUND: Duration = Duration::from_secs(1);
/// After the store failed to tell, nobody asks for so long; and news of this age are news.
const NEWS_AGE: Duration = Duration::from_secs(1);

/// What the gate asks about webhooks.
#[async_trait]
pub trait Webhooks: Send + Sync {
    fn webhook(&self, id: WebhookId) -> Found<Arc<WebhookEntry>>;
    /// Everything up to here is known.
    fn revision(&self) -> Revision;
    /// For how long the store has not confirmed that this is all.
    fn age(&self) -> Duration;
    /// # Errors
    /// When the store does not answer.
    async fn refresh(&self) -> Result<(), StoreError>;
    /// A profile as it was at a revision; `None` where the store has to be asked.
    fn profile_at_hand(&self, name: &ProfileName, revision: Revision) -> Option<ProfileEntry>;
    /// The same from the store; `None` where that cannot be read any more.
    ///
    /// # Errors
    /// When it is not at hand and the store does not answer.
    async fn profile_at(
        &self,
        name: &ProfileName,
        revision: Revision,
    ) -> Result<Option<ProfileEntry>, StoreError>;
}

#[async_trait]
impl Webhooks for Directory {
    fn webhook(&self, id: WebhookId) -> Found<Arc<WebhookEntry>> {
        Directory::webhook(self, id)
    }

    fn revision(&self) -> Revision {
        Directory::revision(self)
    }

    fn age(&self) -> Duration {
        Directory::age(self)
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        Directory::refresh(self).await
    }

    fn profile_at_hand(&self, name: &ProfileName, revision: Revision) -> Option<ProfileEntry> {
        Directory::profile_at_hand(self, name, revision)
    }

    async fn profile_at(
        &self,
        name: &ProfileName,
        revision: Revision,
    ) -> Result<Option<ProfileEntry>, StoreError> {
        Directory::profile_at(self, name, revision).await
    }
}

/// Why a try is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferral {
    UnknownWebhook,
    StaleDirectory,
    /// The profile that the body was rendered with cannot be asked for.
    UnknownProfile,
    /// A secret of the webhook cannot be opened or read.
    NoSecrets,
    /// No socket could be opened here, or no name looked up.
    NoSockets,
}

/// What the gate says.
#[derive(Clone, Debug)]
pub enum Verdict {
    Try(Arc<WebhookEntry>),
    Hold(HoldReason),
    Cancel(CancelReason),
    Defer(Deferral),
}

pub struct Gate {
    webhooks: Arc<dyn Webhooks>,
    stale_after: Duration,
    /// One question to the store at a time; the others find its answer.
    asking: tokio::sync::Mutex<()>,
    failed_at: Mutex<Option<Instant>>,
}

impl Gate {
    /// With the store away, the directory is used until it is older than `stale_after`.
    #[must_use]
    pub fn new(webhooks: Arc<dyn Webhooks>, stale_after: Duration) -> Self {
        Gate { webhooks, stale_after, asking: tokio::sync::Mutex::new(()), failed_at: Mutex::new(None) }
    }

    /// How many deliveries of a webhook may be in flight at once, if it says so itself.
    #[must_use]
    pub fn window_of(&self, id: WebhookId) -> Option<usize> {
        let entry = self.webhooks.webhook(id).known()?;
        entry.webhook.max_in_flight.map(|window| usize::from(window.get()))
    }

    pub async fn judge(&self, delivery: &Delivery, passage: Passage) -> Verdict {
        let id = delivery.reference.webhook;
        let mut found = self.webhooks.webhook(id);
        if is_behind(&found, delivery) {
            self.learn_up_to(delivery.rendered_with.webhook).await;
            found = self.webhooks.webhook(id);
        }
        if self.webhooks.age() > self.stale_after {
            return Verdict::Defer(Deferral::StaleDirectory);
        }
        match found {
            Found::Unknown => Verdict::Defer(Deferral::UnknownWebhook),
            Found::Deleted => Verdict::Cancel(CancelReason::WebhookDeleted),
            Found::Known(entry) => match judge_state(entry, passage) {
                Verdict::Try(entry) => self.as_rendered(entry, delivery).await,
                verdict @ (Verdict::Hold(_) | Verdict::Cancel(_) | Verdict::Defer(_)) => verdict,
            },
        }
    }

    /// The webhook as it is now, under the profile that the body was rendered with.
    async fn as_rendered(&self, entry: Arc<WebhookEntry>, delivery: &Delivery) -> Verdict {
        let (name, revision) = (&delivery.profile, delivery.rendered_with.profile);
        if entry.profile.revision == revision && entry.profile.profile.name() == name {
            return Verdict::Try(entry);
        }
        let under = |profile| Verdict::Try(Arc::new(WebhookEntry { profile, ..WebhookEntry::clone(&entry) }));
        if let Some(profile) = self.webhooks.profile_at_hand(name, revision) {
            return under(profile);
        }
        if self.has_just_failed() {
            return Verdict::Defer(Deferral::UnknownProfile);
        }
        match timeout(NEWS_BOUND, self.webhooks.profile_at(name, revision)).await {
            Ok(Ok(Some(profile))) => under(profile),
            Ok(Ok(None)) => {
                tracing::warn!(
                    delivery.id = %delivery.reference.id, profile = %name, revision = revision.number(),
                    "a profile cannot be read as it was; the delivery goes by the webhook's present one"
                );
                Verdict::Try(entry)
            }
            Ok(Err(_)) | Err(_) => {
                self.note_answer(Some(Instant::now()));
                Verdict::Defer(Deferral::UnknownProfile)
            }
        }
    }

    /// The webhook with the profile that is its own now.
    #[must_use]
    pub fn present(&self, id: WebhookId) -> Option<Arc<WebhookEntry>> {
        self.webhooks.webhook(id).known()
    }

    /// The webhook as it is now, if it is another than the one a try was made with: asked before a failure is
    /// final, since the receiver may have refused what has been put right meanwhile.
    pub async fn newer_than(&self, used: &WebhookEntry) -> Option<Arc<WebhookEntry>> {
        if self.webhooks.age() > NEWS_AGE {
            self.ask_store(|| self.webhooks.age() <= NEWS_AGE).await;
        }
        let entry = self.webhooks.webhook(used.webhook.id).known()?;
        // Its profile may be another by now; what this delivery was rendered with stays.
        (entry.revision != used.revision).then_some(entry)
    }

    async fn learn_up_to(&self, revision: Revision) {
        if self.webhooks.revision() < revision {
            self.ask_store(|| self.webhooks.revision() >= revision).await;
        }
    }

    async fn ask_store(&self, is_known: impl Fn() -> bool) {
        if self.has_just_failed() {
            return;
        }
        let asked = timeout(NEWS_BOUND, async {
            let _one_at_a_time = self.asking.lock().await;
            if is_known() { Ok(()) } else { self.webhooks.refresh().await }
        });
        let failed = match asked.await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(Instant::now()),
        };
        self.note_answer(failed);
    }

    fn note_answer(&self, failed_at: Option<Instant>) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = failed_at;
    }

    fn has_just_failed(&self) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < NEWS_AGE)
    }
}

/// Whether ingest has seen more of the webhook than we have.
fn is_behind(found: &Found<Arc<WebhookEntry>>, delivery: &Delivery) -> bool {
    match found {
        Found::Known(entry) => entry.revision < delivery.rendered_with.webhook,
        Found::Unknown => true,
        Found::Deleted => false,
    }
}

fn judge_state(entry: Arc<WebhookEntry>, passage: Passage) -> Verdict {
    match &entry.webhook.state {
        WebhookState::Active => match (passage, entry.webhook.rate_limit_per_second) {
            (Passage::Direct, Some(_)) => Verdict::Hold(HoldReason::RateLimited),
            (Passage::Direct, None) | (Passage::Released, _) => Verdict::Try(entry),
        },
        WebhookState::Paused { .. } => match entry.profile.profile.definition().webhook.paused {
            PausedRule::Hold => Verdict::Hold(HoldReason::Paused),
            PausedRule::Skip => Verdict::Cancel(CancelReason::Skipped),
        },
        WebhookState::Disabled { .. } => Verdict::Cancel(CancelReason::WebhookDisabled),
    }
}

#[cfg(test)]
mod tests;
