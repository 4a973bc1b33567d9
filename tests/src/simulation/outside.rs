//! Those outside: producers that send events until they hear a 202, those that leave them to the broker, and an owner who
//! pauses and resumes webhooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{IntakeError, IntakeReceipt, ProducerMessage};
use postrider_contract::submission::Submission;
use postrider_contract::webhook::WebhookState;
use postrider_ingest::IdempotencyKey;

use super::custody::Produced;
use super::roles::{Door, put, tenant_id, webhook};
use super::scenario::WebhookKind;
use super::world::World;

/// Sends one event until it is accepted.
pub(super) async fn produce(world: Arc<World>, door: Door, number: u32) {
    let spread = if world.is_in_trouble() { world.chance.between(0, 5_000) } else { 0 };
    tokio::time::sleep(Duration::from_millis(spread)).await;
    let (own_id, key) = match world.chance.between(0, 3) {
        0 => (Some(format!("\"id\":\"evt_{number}\",")), None),
        1 => (None, Some(format!("key-{number}"))),
        _ => (None, None),
    };
    let body =
        format!("{{{}\"type\":\"order.paid\",\"data\":{{\"n\":{number}}}}}", own_id.unwrap_or_default());
    let body = Bytes::from(body);
    loop {
        if let Some(receipt) = send(&door, &body, key.as_deref()).await {
            world.promise(&receipt);
            return;
        }
        tokio::time::sleep(Duration::from_millis(world.chance.between(100, 3_000))).await;
    }
}

/// Numbers of events that come over AMQP: from here on.
pub(super) const FIRST_OVER_AMQP: u32 = 100;

/// Publishes one message over AMQP, now and then twice.
pub(super) async fn produce_over_amqp(world: Arc<World>, number: u32) {
    let spread = if world.is_in_trouble() { world.chance.between(0, 5_000) } else { 0 };
    tokio::time::sleep(Duration::from_millis(spread)).await;
    let number = FIRST_OVER_AMQP + number;
    let event = |id: &str| format!("{{{id}\"type\":\"order.paid\",\"data\":{{\"n\":{number}}}}}");
    let (body, kind) = match world.chance.between(0, 5) {
        0 => (format!("not json: {number}"), Produced::Refusal),
        1 | 2 => (event(&format!("\"id\":\"evt_{number}\",")), Produced::Event),
        _ => (event(""), Produced::Event),
    };
    let message = ProducerMessage {
        routing_key: tenant_id().to_string(),
        message_id: Some(format!("message-{number}")),
        content_type: None,
        body: Bytes::from(body),
    };
    if world.chance.between(0, 3) == 0 {
        world.produced(message.clone(), kind);
    }
    world.produced(message, kind);
}

/// `None` is everything that is not a 202: the producer sends it again.
async fn send(door: &Door, body: &Bytes, key: Option<&str>) -> Option<IntakeReceipt> {
    let (life, intake) = door.current()?;
    let submission = Submission::parse(body).expect("a submission");
    let key = key.map(|key| IdempotencyKey::parse(key).expect("a key"));
    let tenant = tenant_id();
    let answered: Result<IntakeReceipt, IntakeError> = tokio::select! {
        biased;
        () = life.dead.cancelled() => return None,
        answered = intake.accept_request(&tenant, submission, key, body) => answered,
    };
    match answered {
        Ok(receipt) if life.is_alive() => Some(receipt),
        Ok(_) => None,
        Err(
            IntakeError::Unavailable { .. }
            | IntakeError::InDoubt { .. }
            | IntakeError::KeyInProgress
            | IntakeError::Overloaded,
        ) => None,
        Err(
            error @ (IntakeError::UnknownTenant
            | IntakeError::UnreadableTenant
            | IntakeError::UnknownWebhook(_)
            | IntakeError::UnusableWebhook(_)
            | IntakeError::KeyReused
            | IntakeError::Unrenderable { .. }
            | IntakeError::SchemaBroken { .. }),
        ) => {
            life.world.break_off(format!("an event is refused: {error}"));
            None
        }
    }
}

/// Pauses and resumes one webhook, and leaves it active.
pub(super) async fn be_moody(world: Arc<World>, number: usize) {
    let mut current = webhook(number, WebhookKind::Moody);
    while world.is_in_trouble() {
        tokio::time::sleep(Duration::from_millis(world.chance.between(300, 4_000))).await;
        current.state = match current.state {
            WebhookState::Active => WebhookState::Paused { since: world.clock.now() },
            WebhookState::Paused { .. } | WebhookState::Disabled { .. } => WebhookState::Active,
        };
        write(&world, &current).await;
    }
    if !current.state.is_active() {
        current.state = WebhookState::Active;
        write(&world, &current).await;
    }
}

async fn write(world: &World, webhook: &postrider_contract::webhook::Webhook) {
    world.step(if webhook.state.is_active() { "a webhook is resumed" } else { "a webhook is paused" });
    if let Err(error) = put(world, webhook).await {
        world.break_off(format!("the configuration is not written: {error}"));
    }
}
