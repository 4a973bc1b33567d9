//! What would become of an event: which webhooks it goes to, why not to the others, and to the byte what each is sent.
//!
//! Nothing is sent, and nothing is kept. Everything is made by the very code that makes it for an event that is
//! accepted: matching, rendering, laying out, signing. Which parts of a request are of its moment is found out by making
//! it again at another one.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use postrider_contract::clock::{Clock, Entropy, Timestamp};
use postrider_contract::decide::DeliveryRules;
use postrider_contract::delivery::{AttemptNumber, Check, Delivery, Origin, Query};
use postrider_contract::event::{Event, SchemaVersion, Versions};
use postrider_contract::filter::FailedTerm;
use postrider_contract::ids::EventId;
use postrider_contract::outcome::HoldReason;
use postrider_contract::rendering::{RenderError, Rendered, Renderer, choose};
use postrider_contract::schema::Violation;
use postrider_contract::submission::Submission;
use postrider_contract::template::Gap;
use postrider_service::directory::{TenantView, WebhookEntry};
use postrider_service::secret_box::SecretBox;
use postrider_service::webhook_requests::{PrepareError, TryRequest, UnwritableRequest, WebhookRequests};
use tokio::sync::Semaphore;

use crate::intake::event_of;
use crate::matching::{Match, Matching, Obstacle, UnknownWebhook, hold_reason};
use crate::publishing::{Planned, as_it_was_sent, delivery, renderers};
use crate::room_watch::RoomWatch;
use crate::schema_check;

/// More webhooks than this are not told of: as many as the longest page of a list.
const MAX_WEBHOOKS: usize = 200;
/// Another moment differs in every unit of time that a request can show.
const ANOTHER_MOMENT: Duration = Duration::from_millis(90_061_001);

/// How many explanations are made at once: each may make hundreds of bodies, beside the work that is being explained.
const AT_ONCE: usize = 2;

/// What explanations are made from.
pub struct ExplainerParts {
    pub room: Arc<RoomWatch>,
    pub secret_box: SecretBox,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

pub struct Explainer {
    parts: ExplainerParts,
    turns: Arc<Semaphore>,
}

/// When the event is taken to be tried, now if nothing is said; and accepted, then if nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) tried_at: Option<Timestamp>,
}

/// Whether signatures are made. They let their holder speak as the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    Made,
    Withheld,
}

pub(crate) struct Explanation {
    pub(crate) event: Event,
    /// What of it is not as the catalogue says, where the tenant has its events looked at.
    pub(crate) violations: Vec<Violation>,
    /// The whole event would be refused for them.
    pub(crate) is_refused: bool,
    pub(crate) tried_at: Timestamp,
    /// How many webhooks it goes to.
    pub(crate) matched: usize,
    /// Those that it goes to first.
    pub(crate) webhooks: Vec<Explained>,
    /// How many more there are.
    pub(crate) left_off: usize,
}

/// One webhook, and what it has to do with the event.
pub(crate) struct Explained {
    pub(crate) entry: Arc<WebhookEntry>,
    pub(crate) verdict: Verdict,
}

pub(crate) enum Verdict {
    /// With the terms that failed, where the filter is among what keeps it away.
    NoMatch(Vec<Obstacle>, Vec<FailedTerm>),
    /// Its profile's envelope does not take this data, so that the whole event would be refused.
    Refused(RenderError),
    Match(Box<ExplainedMatch>),
}

pub(crate) struct ExplainedMatch {
    pub(crate) delivery: Delivery,
    /// Of the data that it is sent.
    pub(crate) schema_version: SchemaVersion,
    pub(crate) held: Option<HoldReason>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) missing_macros: Vec<String>,
    pub(crate) request: Result<ExplainedRequest, Unsendable>,
    /// When each try is due if every one before it fails at once; chance and the receiver's wishes left out.
    pub(crate) tries: Vec<Timestamp>,
}

pub(crate) struct ExplainedRequest {
    pub(crate) request: TryRequest,
    /// The header that holds a credential.
    pub(crate) authentication: Option<HeaderName>,
    pub(crate) of_the_moment: Vec<Changed>,
}

/// Why a delivery has no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    #[error(
        "with its macros filled in it is too long; its delivery would end as failed, and nothing be sent"
    )]
    TooLong,
    #[error(transparent)]
    Unprepared(#[from] PrepareError),
    #[error(transparent)]
    Unwritable(#[from] UnwritableRequest),
}

/// What is of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The event's id, where its producer gives none.
    EventId,
    AcceptedAt,
    TriedAt,
    AttemptNumber,
}

/// What another moment would have changed of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) cause: Cause,
    /// By their names as they are written.
    pub(crate) headers: Vec<String>,
    pub(crate) query: bool,
    pub(crate) body: bool,
}

/// The moment of a request, or another that differs from it in one thing.
struct Scene {
    differs_in: Option<Cause>,
    event: Event,
    /// As [`Event::by_version`] takes it apart.
    versions: Vec<Event>,
    tried_at: Timestamp,
    attempt: AttemptNumber,
}

impl Explainer {
    #[must_use]
    pub fn new(parts: ExplainerParts) -> Arc<Self> {
        Arc::new(Explainer { parts, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Does its work when it is its turn, on a thread that nobody else waits for. `None` if it did not come to its end. The
    /// turn is the work's: it ends with it, also where nobody waits for the answer any more.
    pub(crate) async fn explain_apart<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&self)
        });
        done.await.inspect_err(|error| tracing::error!(%error, "an explanation was not finished")).ok()
    }

    /// # Errors
    /// When the submission names a webhook that is not there.
    pub(crate) fn explain(
        &self,
        view: &TenantView,
        submission: &Submission,
        moments: Moments,
        signatures: Signatures,
    ) -> Result<Explanation, UnknownWebhook> {
        let scenes = self.scenes(view, submission, moments);
        let mut renderers: Vec<Vec<Renderer<'_, '_>>> =
            scenes.iter().map(|scene| renderers(&scene.event, &scene.versions)).collect();
        let versions = Versions::of(submission.schema_version, &submission.data);
        let matching = Matching::new(view, submission, &versions, Origin::Producer)?;
        let (matches, others): (Vec<_>, Vec<_>) =
            view.webhooks.iter().partition(|entry| matching.matches(entry));
        let matched = matches.len();
        let told = matches.into_iter().chain(others).take(MAX_WEBHOOKS).map(|entry| {
            let obstacles: Vec<Obstacle> = matching.obstacles(entry).collect();
            let verdict = if obstacles.is_empty() {
                self.matched(entry, &scenes, &mut renderers, signatures)
            } else if obstacles.contains(&Obstacle::Filter) {
                Verdict::NoMatch(obstacles, matching.failed_terms(entry))
            } else {
                Verdict::NoMatch(obstacles, Vec::new())
            };
            Explained { entry: Arc::clone(entry), verdict }
        });
        let webhooks: Vec<Explained> = told.collect();
        let left_off = view.webhooks.len() - webhooks.len();
        let (event, tried_at) = (scenes[0].event.clone(), scenes[0].tried_at);
        let (violations, is_refused) = schema_check::explained(view, submission);
        Ok(Explanation { event, violations, is_refused, tried_at, matched, webhooks, left_off })
    }

    /// The one that is asked for first.
    fn scenes(&self, view: &TenantView, submission: &Submission, moments: Moments) -> Vec<Scene> {
        let now = self.parts.clock.now();
        let tried_at = moments.tried_at.unwrap_or(now);
        let accepted_at = moments.accepted_at.unwrap_or(tried_at);
        let event = event_of(&view.tenant.id, submission.clone(), accepted_at, &*self.parts.entropy);
        let attempt = AttemptNumber::FIRST;
        let scene = |differs_in, event: Event| {
            let versions = event.by_version();
            Scene { differs_in, event, versions, tried_at, attempt }
        };
        let mut scenes = vec![scene(None, event.clone())];
        let scene = |cause, event| scene(Some(cause), event);
        if submission.id.is_none() {
            let id = EventId::draw(accepted_at, &*self.parts.entropy);
            scenes.push(scene(Cause::EventId, Event { id, ..event.clone() }));
        }
        let later = accepted_at.plus(ANOTHER_MOMENT);
        let timestamp = submission.timestamp.unwrap_or(later);
        scenes.push(scene(Cause::AcceptedAt, Event { accepted_at: later, timestamp, ..event.clone() }));
        let tried_later = tried_at.plus(ANOTHER_MOMENT);
        scenes.push(Scene { tried_at: tried_later, ..scene(Cause::TriedAt, event.clone()) });
        scenes.push(Scene { attempt: attempt.next(), ..scene(Cause::AttemptNumber, event) });
        scenes
    }

    fn matched<'s>(
        &self,
        entry: &'s Arc<WebhookEntry>,
        scenes: &'s [Scene],
        renderers: &mut [Vec<Renderer<'s, 's>>],
        signatures: Signatures,
    ) -> Verdict {
        let held = hold_reason(entry, &self.parts.room);
        let mut deliveries = Vec::with_capacity(scenes.len());
        let (mut gaps, mut missing_macros) = (Vec::new(), Vec::new());
        let WebhookEntry { webhook, profile, tenant, .. } = &**entry;
        // The same in every scene: they differ in nothing that says which versions there are.
        let version = choose(&scenes[0].versions, webhook);
        for (scene, renderers) in scenes.iter().zip(renderers) {
            let renderer = &mut renderers[version];
            if let Err(error) = renderer.check(webhook, &profile.profile) {
                return Verdict::Refused(as_it_was_sent(error, webhook, &scene.event));
            }
            let rendered = renderer.render(webhook, &profile.profile, tenant);
            if scene.differs_in.is_none() {
                gaps.clone_from(&rendered.gaps);
                missing_macros.clone_from(&rendered.missing_macros);
            }
            deliveries.push(delivery_in(scene, renderer.event(), entry, held, rendered));
        }
        let request = self.request(entry, scenes, &deliveries, signatures);
        let tries = tries_from(scenes[0].tried_at, entry);
        let delivery = deliveries.swap_remove(0);
        let schema_version = scenes[0].versions.get(version).unwrap_or(&scenes[0].event).schema_version;
        Verdict::Match(Box::new(ExplainedMatch {
            delivery,
            schema_version,
            held,
            gaps,
            missing_macros,
            request,
            tries,
        }))
    }

    fn request(
        &self,
        entry: &Arc<WebhookEntry>,
        scenes: &[Scene],
        deliveries: &[Delivery],
        signatures: Signatures,
    ) -> Result<ExplainedRequest, Unsendable> {
        if matches!(deliveries[0].query, Query::TooLong(_)) {
            return Err(Unsendable::TooLong);
        }
        let requests = WebhookRequests::open(Arc::clone(entry), &self.parts.secret_box)?;
        let keys = match signatures {
            Signatures::Made => requests.signing_keys(scenes[0].tried_at),
            Signatures::Withheld => Vec::new(),
        };
        let request = requests.of_try(&deliveries[0], scenes[0].tried_at, &keys)?;
        let mut of_the_moment = Vec::new();
        for (scene, delivery) in scenes.iter().zip(deliveries) {
            let Some(cause) = scene.differs_in else { continue };
            let other = requests.of_try(delivery, scene.tried_at, &keys)?;
            of_the_moment.extend(Changed::between(cause, &request, &other));
        }
        let authentication = requests.authentication_header().cloned();
        Ok(ExplainedRequest { request, authentication, of_the_moment })
    }
}

fn delivery_in(
    scene: &Scene,
    event: &Event,
    entry: &Arc<WebhookEntry>,
    held: Option<HoldReason>,
    rendered: Rendered,
) -> Delivery {
    let planned = Planned::new(Match { entry: Arc::clone(entry), held }, event);
    let mut delivery = delivery(event, &planned, rendered, Origin::Producer, Check::Fresh);
    delivery.position.attempt = scene.attempt;
    delivery
}

/// The waits are bounded in number by their rule.
fn tries_from(first: Timestamp, entry: &WebhookEntry) -> Vec<Timestamp> {
    let rules = DeliveryRules::of(&entry.profile.profile, &entry.webhook);
    let mut number = AttemptNumber::FIRST;
    let mut tries = vec![first];
    let mut due = first;
    while let Some(wait) = rules.planned_wait(number) {
        due = due.plus(wait);
        tries.push(due);
        number = number.next();
    }
    tries
}

impl Changed {
    /// `None` if nothing is different.
    fn between(cause: Cause, request: &TryRequest, other: &TryRequest) -> Option<Self> {
        let is_other = |name: &str| request.headers.get(name) != other.headers.get(name);
        let headers: Vec<String> = request
            .written()
            .map(|(name, _)| name)
            .filter(|name| is_other(name))
            .map(str::to_owned)
            .collect();
        let (query, body) = (request.target != other.target, request.body != other.body);
        (!headers.is_empty() || query || body).then_some(Changed { cause, headers, query, body })
    }
}
