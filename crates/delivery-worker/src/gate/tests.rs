use std::num::NonZeroU32;

use postrider_contract::delivery::RenderedWith;

use super::*;
use crate::stage::{FakeWebhooks, delivery, entry, noon, webhook, webhook_id};

const STALE: Duration = Duration::from_secs(660);

fn gate(webhooks: &Arc<FakeWebhooks>) -> Gate {
    Gate::new(Arc::clone(webhooks) as Arc<dyn Webhooks>, STALE)
}

fn in_state(state: WebhookState, profile: &str) -> Arc<FakeWebhooks> {
    let mut webhook = webhook("https://a.example/");
    webhook.state = state;
    FakeWebhooks::with(entry(webhook, profile, 1))
}

async fn verdict(webhooks: &Arc<FakeWebhooks>, passage: Passage) -> String {
    match gate(webhooks).judge(&delivery(), passage).await {
        Verdict::Try(entry) => format!("try at {}", entry.revision.number()),
        Verdict::Hold(why) => format!("{why:?}"),
        Verdict::Cancel(reason) => format!("{reason:?}"),
        Verdict::Defer(why) => format!("{why:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_of_the_moment_decides() {
    let paused = WebhookState::Paused { since: noon() };
    let disabled = WebhookState::Disabled { since: noon(), reason: String::new() };
    for (state, profile, expected) in [
        (WebhookState::Active, "trcker", "try at 1"),
        (paused.clone(), "trcker", "Paused"),
        (paused, "tracktile", "Skipped"),
        (disabled, "standard", "WebhookDisabled"),
    ] {
        for passage in [Passage::Direct, Passage::Released] {
            assert_eq!(verdict(&in_state(state.clone(), profile), passage).await, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_webhook_is_reached_through_the_waiting_room_only() {
    let mut limited = webhook("https://a.example/");
    limited.rate_limit_per_second = NonZeroU32::new(5);
    let webhooks = FakeWebhooks::with(entry(limited, "trcker", 1));
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "RateLimited");
    assert_eq!(verdict(&webhooks, Passage::Released).await, "try at 1");
}

#[tokio::test(start_paused = true)]
async fn unknown_is_not_deleted() {
    let webhooks = Arc::new(FakeWebhooks::default());
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "UnknownWebhook");
    webhooks.lose_store(Duration::from_secs(5));
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "UnknownWebhook");
    webhooks.delete(webhook_id());
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "WebhookDeleted");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_ingest_knows_better_is_asked_for_first() {
    let webhooks = in_state(WebhookState::Active, "trcker");
    webhooks.put_in_store(entry(webhook("https://a.example/"), "trcker", 9));
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "try at 1");
    assert_eq!(webhooks.refreshes(), 0, "nothing is asked for what is known");
    let mut newer = delivery();
    newer.rendered_with = RenderedWith { webhook: Revision::from_number(9), ..newer.rendered_with };
    let verdict = gate(&webhooks).judge(&newer, Passage::Direct).await;
    assert!(matches!(verdict, Verdict::Try(entry) if entry.revision.number() == 9));
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_what_is_known_is_used_until_it_is_too_old() {
    let webhooks = in_state(WebhookState::Active, "trcker");
    webhooks.lose_store(STALE);
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "try at 1");
    webhooks.lose_store(STALE + Duration::from_millis(1));
    assert_eq!(verdict(&webhooks, Passage::Direct).await, "StaleDirectory");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_not_asked_by_every_delivery() {
    let webhooks = Arc::new(FakeWebhooks::default());
    webhooks.lose_store(Duration::ZERO);
    let gate = gate(&webhooks);
    for _ in 0..50 {
        gate.judge(&delivery(), Passage::Direct).await;
    }
    assert_eq!(webhooks.refreshes(), 1);
    tokio::time::advance(NEWS_AGE).await;
    gate.judge(&delivery(), Passage::Direct).await;
    assert_eq!(webhooks.refreshes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_a_try_up_for_a_second_and_the_next_ones_not_at_all() {
    let webhooks = in_state(WebhookState::Active, "trcker");
    webhooks.silence_store();
    let mut newer = delivery();
    newer.rendered_with.webhook = Revision::from_number(9);
    let mut former = delivery();
    former.profile = "own".parse().unwrap();
    former.rendered_with.profile = Revision::from_number(5);
    for asks in [newer, former] {
        let (gate, began) = (gate(&webhooks), Instant::now());
        for _ in 0..50 {
            gate.judge(&asks, Passage::Direct).await;
        }
        assert_eq!(began.elapsed(), NEWS_BOUND);
    }
    assert_eq!((webhooks.refreshes(), webhooks.profile_questions()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn before_a_failure_is_final_news_are_looked_for() {
    let used = entry(webhook("https://a.example/"), "trcker", 1);
    let webhooks = FakeWebhooks::with(Arc::clone(&used));
    let gate = gate(&webhooks);
    webhooks.put_in_store(entry(webhook("https://b.example/"), "trcker", 2));
    assert!(gate.newer_than(&used).await.is_none(), "what is a second old is new enough");
    webhooks.grow_old(Duration::from_secs(30));
    assert_eq!(gate.newer_than(&used).await.unwrap().revision.number(), 2);
    assert!(gate.newer_than(&gate.newer_than(&used).await.unwrap()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_one_delivery_a_second_asks_for_its_former_profile() {
    let webhooks = in_state(WebhookState::Active, "trcker");
    webhooks.lose_store(Duration::ZERO);
    let gate = gate(&webhooks);
    let mut former = delivery();
    former.profile = "own".parse().unwrap();
    former.rendered_with.profile = Revision::from_number(5);
    for _ in 0..50 {
        let verdict = gate.judge(&former, Passage::Direct).await;
        assert!(matches!(verdict, Verdict::Defer(Deferral::UnknownProfile)), "{verdict:?}");
    }
    assert_eq!(webhooks.profile_questions(), 1);
    let mut at_hand = delivery();
    at_hand.profile = "trakkr".parse().unwrap();
    let verdict = gate.judge(&at_hand, Passage::Direct).await;
    assert!(matches!(verdict, Verdict::Try(entry) if entry.profile.profile.name().as_str() == "trakkr"));
    tokio::time::advance(NEWS_AGE).await;
    gate.judge(&former, Passage::Direct).await;
    assert_eq!(webhooks.profile_questions(), 2);
}
