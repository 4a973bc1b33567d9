//! What keyed requests promise.

use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::ports::{
    KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoredMatch,
};

use super::samples::{event_id, profile, rendered_with, tenant};
use super::{StoreUnderTest, soon};

fn request(key: &str, event: &str, accepted_at: Timestamp) -> KeyedRequest {
    let stored = |number: u128| StoredMatch {
        delivery: DeliveryId::from_u128(number << 64),
        webhook: WebhookId::from_u128(number),
        profile: profile(),
        rendered_with: rendered_with(),
    };
    KeyedRequest {
        tenant: tenant("acme"),
        name: KeyName::Request(key.to_owned()),
        body_hash: [9; 32],
        event: event_id(event),
        accepted_at,
        matches: vec![stored(1), stored(u128::MAX)],
    }
}

async fn begin(keyed: &dyn KeyedRequests, one: KeyedRequest) -> KeyedOutcome {
    let mut outcomes = soon(keyed.begin(vec![one])).await.expect("it answers");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

fn exists(request: KeyedRequest, state: KeyedState) -> KeyedOutcome {
    KeyedOutcome::Exists { request, state }
}

pub async fn a_key_counts_once(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let first = request("k", "evt_1", engine.now());
    assert_eq!(begin(&*keyed, first.clone()).await, KeyedOutcome::Inserted);
    let again =
        KeyedRequest { body_hash: [1; 32], matches: Vec::new(), ..request("k", "evt_2", engine.now()) };
    let found = begin(&*keyed, again).await;
    assert_eq!(found, exists(first.clone(), KeyedState::Pending), "as first made");
    engine.reopen().await;
    let found = begin(&*engine.keyed(), first.clone()).await;
    assert_eq!(found, exists(first, KeyedState::Pending), "over a restart");
}

pub async fn a_confirmed_key_says_so(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let (one, two) = (request("1", "evt_1", engine.now()), request("2", "evt_2", engine.now()));
    soon(keyed.begin(vec![one.clone(), two.clone()])).await.expect("it answers");
    let begun = vec![request("unknown", "evt_1", engine.now()).begun(), one.begun()];
    keyed.confirm(begun.clone()).await.expect("it answers");
    keyed.confirm(begun).await.expect("it answers twice");
    assert_eq!(begin(&*keyed, one.clone()).await, exists(one, KeyedState::Confirmed));
    assert_eq!(begin(&*keyed, two.clone()).await, exists(two, KeyedState::Pending));
}

/// What was begun may be gone, and another's be there under the same key: nobody has confirmed that one.
pub async fn only_the_very_request_is_confirmed(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let now = engine.now();
    let there = request("k", "evt_1", now);
    begin(&*keyed, there.clone()).await;
    let other_event = request("k", "evt_2", now);
    let other_time = request("k", "evt_1", now.plus(Duration::from_millis(1)));
    soon(keyed.confirm(vec![other_event.begun(), other_time.begun()])).await.expect("it answers");
    assert_eq!(begin(&*keyed, there.clone()).await, exists(there.clone(), KeyedState::Pending));
    soon(keyed.confirm(vec![other_event.begun(), there.begun()])).await.expect("it answers");
    assert_eq!(begin(&*keyed, there.clone()).await, exists(there, KeyedState::Confirmed));
}

pub async fn a_repeat_within_one_call_finds_its_elder(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let (old, new) = (request("old", "evt_0", engine.now()), request("new", "evt_1", engine.now()));
    begin(&*keyed, old.clone()).await;
    let repeat = request("new", "evt_2", engine.now());
    let outcomes = soon(keyed.begin(vec![new.clone(), old.clone(), repeat])).await.expect("it answers");
    let expected =
        [KeyedOutcome::Inserted, exists(old, KeyedState::Pending), exists(new, KeyedState::Pending)];
    assert_eq!(outcomes, expected);
}

pub async fn namespaces_and_tenants_never_meet(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let key = request("evt_1", "evt_1", engine.now());
    let event = KeyedRequest { name: KeyName::Event(event_id("evt_1")), ..key.clone() };
    let other = KeyedRequest { tenant: tenant("other"), ..key.clone() };
    let outcomes = soon(keyed.begin(vec![key.clone(), event.clone(), other])).await.expect("it answers");
    assert_eq!(outcomes, vec![KeyedOutcome::Inserted; 3]);
    keyed.confirm(vec![event.begun()]).await.expect("it answers");
    assert_eq!(begin(&*keyed, key.clone()).await, exists(key, KeyedState::Pending));
    assert_eq!(begin(&*keyed, event.clone()).await, exists(event, KeyedState::Confirmed));
}

pub async fn any_text_is_a_key(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    for text in ["", " ", "a'b\"c", "ключ", "K", "k", &"x".repeat(255)] {
        let one = request(text, "evt_1", engine.now());
        assert_eq!(begin(&*keyed, one.clone()).await, KeyedOutcome::Inserted, "{text}");
        assert_eq!(begin(&*keyed, one.clone()).await, exists(one, KeyedState::Pending), "{text}");
    }
}

pub async fn what_is_older_is_forgotten(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let now = engine.now();
    let (old, new) =
        (request("old", "evt_1", now.minus(Duration::from_secs(60))), request("new", "evt_2", now));
    soon(keyed.begin(vec![old.clone(), new.clone()])).await.expect("it answers");
    soon(keyed.forget_before(now)).await.expect("it answers");
    assert_eq!(begin(&*keyed, old).await, KeyedOutcome::Inserted);
    assert_eq!(begin(&*keyed, new.clone()).await, exists(new, KeyedState::Pending));
}

pub async fn what_is_there_is_found_and_nothing_is_begun(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let (one, two) = (request("1", "evt_1", engine.now()), request("2", "evt_2", engine.now()));
    soon(keyed.begin(vec![one.clone(), two.clone()])).await.expect("it answers");
    soon(keyed.confirm(vec![two.begun()])).await.expect("it answers");
    let absent = KeyName::Event(event_id("1"));
    let names = vec![
        (two.tenant.clone(), two.name.clone()),
        (one.tenant.clone(), absent.clone()),
        (one.tenant.clone(), one.name.clone()),
    ];
    let found = soon(keyed.find(names)).await.expect("it answers");
    let expected = vec![Some((two, KeyedState::Confirmed)), None, Some((one.clone(), KeyedState::Pending))];
    assert_eq!(found, expected);
    let own = KeyedRequest { name: absent, ..one };
    assert_eq!(begin(&*keyed, own).await, KeyedOutcome::Inserted, "it was only looked for");
}

pub async fn only_what_one_began_oneself_is_withdrawn(engine: &mut dyn StoreUnderTest) {
    let keyed = engine.keyed();
    let now = engine.now();
    let later = now.plus(Duration::from_millis(1));
    let (own, other, done) =
        (request("own", "evt_1", now), request("other", "evt_2", later), request("done", "evt_3", now));
    soon(keyed.begin(vec![own.clone(), other.clone(), done.clone()])).await.expect("it answers");
    soon(keyed.confirm(vec![done.begun()])).await.expect("it answers");
    let of_another = request("other", "evt_2", now).begun();
    soon(keyed.withdraw(vec![own.begun(), of_another, done.begun()])).await.expect("it answers");
    assert_eq!(begin(&*keyed, own).await, KeyedOutcome::Inserted);
    assert_eq!(begin(&*keyed, other.clone()).await, exists(other, KeyedState::Pending));
    assert_eq!(begin(&*keyed, done.clone()).await, exists(done, KeyedState::Confirmed));
}

pub async fn of_many_at_once_one_is_first(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let keyed = engine.keyed();
            let one = request("k", &format!("evt_{number}"), now);
            tokio::spawn(async move { begin(&*keyed, one).await })
        })
        .collect();
    let mut inserted = 0;
    for writer in writers {
        inserted += usize::from(soon(writer).await.expect("it does not panic") == KeyedOutcome::Inserted);
    }
    assert_eq!(inserted, 1);
}

#[macro_export]
macro_rules! keyed_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            keyed:
            a_key_counts_once,
            a_confirmed_key_says_so,
            only_the_very_request_is_confirmed,
            a_repeat_within_one_call_finds_its_elder,
            namespaces_and_tenants_never_meet,
            any_text_is_a_key,
            what_is_older_is_forgotten,
            what_is_there_is_found_and_nothing_is_begun,
            only_what_one_began_oneself_is_withdrawn,
            of_many_at_once_one_is_first,
        }
    };
}
