//! What the log's lists and counts promise.

use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::{Conclusion, JournalRecord};
use postrider_contract::outcome::{CancelReason, DeliveryStatus, HoldReason};
use postrider_contract::ports::{DeliveryFilter, EventFilter, Ledger, LedgerQuery, PageOf};
use postrider_contract::webhook::WebhookKind;

use super::log::apply;
use super::samples::{Sample, event_type, position, tenant, webhook};
use super::{StoreUnderTest, soon};

/// Ten seconds apart.
fn sample(number: u32, start: Timestamp) -> Sample {
    Sample::numbered(number, start.plus(Duration::from_secs(10 * u64::from(number))))
}

async fn deliveries(
    engine: &dyn StoreUnderTest,
    filter: DeliveryFilter,
    before: Option<DeliveryId>,
    limit: u32,
) -> Vec<DeliveryId> {
    let page = PageOf { before, limit };
    let found = soon(engine.queries().deliveries(&tenant("acme"), &filter, page)).await.expect("it answers");
    found.into_iter().map(|view| view.reference.id).collect()
}

fn ids(samples: &[&Sample]) -> Vec<DeliveryId> {
    samples.iter().map(|sample| sample.id()).collect()
}

pub async fn deliveries_are_listed_newest_first_in_pages(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let start = now.minus(Duration::from_secs(60 * 60 * 30));
    let day_apart =
        |number: u32| Sample::numbered(number, start.plus(Duration::from_secs(21_600 * u64::from(number))));
    let samples: Vec<Sample> = (0..6).map(day_apart).collect();
    for number in [3, 0, 5, 1, 4, 2] {
        apply(engine, vec![samples[number].accepted()]).await;
    }
    let other = Sample { tenant: tenant("other"), ..Sample::numbered(9, now) };
    apply(engine, vec![other.accepted()]).await;
    let newest: Vec<DeliveryId> = samples.iter().rev().map(Sample::id).collect();
    assert_eq!(deliveries(engine, DeliveryFilter::default(), None, 10).await, newest);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = deliveries(engine, DeliveryFilter::default(), before, 4).await;
        before = page.last().copied();
        paged.extend(page);
        if before.is_none() {
            break;
        }
    }
    assert_eq!(paged, newest);
}

pub async fn deliveries_of_one_moment_are_paged_without_loss(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let samples: Vec<Sample> = (0..9).map(|number| Sample::numbered(number, now)).collect();
    apply(engine, samples.iter().map(Sample::accepted).collect()).await;
    let mut newest: Vec<DeliveryId> = samples.iter().map(Sample::id).collect();
    newest.sort_unstable_by(|left, right| right.cmp(left));
    let mut paged = deliveries(engine, DeliveryFilter::default(), None, 4).await;
    paged.extend(deliveries(engine, DeliveryFilter::default(), paged.last().copied(), 4).await);
    paged.extend(deliveries(engine, DeliveryFilter::default(), paged.last().copied(), 4).await);
    assert_eq!(paged, newest);
}

pub async fn deliveries_are_filtered(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let delivered = sample(1, now);
    let retrying = Sample { event_type: event_type("partner.approved"), ..sample(2, now) };
    let held = Sample { kind: WebhookKind::Postback, ..sample(3, now) };
    let same_webhook = Sample { webhook: webhook(1), ..sample(4, now) };
    let records = vec![
        delivered.accepted(),
        delivered.delivered(position(1, 0)),
        retrying.accepted(),
        retrying.retried(position(1, 0), now),
        held.accepted(),
        held.held(position(1, 1), HoldReason::Paused, now),
        same_webhook.accepted(),
    ];
    apply(engine, records).await;
    let between = |sample: &Sample| Some(sample.accepted_at.minus(Duration::from_secs(5)));
    let none = DeliveryFilter::default;
    let cases = [
        (DeliveryFilter { status: Some(DeliveryStatus::Delivered), ..none() }, ids(&[&delivered])),
        (DeliveryFilter { status: Some(DeliveryStatus::Expired), ..none() }, ids(&[])),
        (DeliveryFilter { status: Some(DeliveryStatus::Held), ..none() }, ids(&[&held])),
        (DeliveryFilter { webhook: Some(webhook(1)), ..none() }, ids(&[&same_webhook, &delivered])),
        (
            DeliveryFilter { status: Some(DeliveryStatus::Held), webhook: Some(held.webhook), ..none() },
            ids(&[&held]),
        ),
        (DeliveryFilter { event: Some(held.event.clone()), ..none() }, ids(&[&held])),
        (DeliveryFilter { event_type: Some(event_type("partner.approved")), ..none() }, ids(&[&retrying])),
        (DeliveryFilter { kind: Some(WebhookKind::Postback), ..none() }, ids(&[&held])),
        (DeliveryFilter { code: Some(500), ..none() }, ids(&[&retrying])),
        (DeliveryFilter { since: between(&held), ..none() }, ids(&[&same_webhook, &held])),
        (DeliveryFilter { until: between(&held), ..none() }, ids(&[&retrying, &delivered])),
        (
            DeliveryFilter {
                status: Some(DeliveryStatus::Pending),
                webhook: Some(webhook(1)),
                since: between(&retrying),
                ..none()
            },
            ids(&[&same_webhook]),
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(deliveries(engine, filter.clone(), None, 10).await, expected, "{filter:?}");
    }
}

/// Delivered by its second try, which began then.
fn delivered_at(sample: &Sample, at: Timestamp) -> JournalRecord {
    let mut record = sample.delivered(position(2, 0));
    if let JournalRecord::Attempted(attempted) = &mut record {
        attempted.attempt.started_at = at;
    }
    record
}

pub async fn whether_a_webhook_delivered_since_is_told_whenever_it_was_accepted(
    engine: &mut dyn StoreUnderTest,
) {
    let now = engine.now();
    let days_ago = |days: u64| now.minus(Duration::from_secs(86_400 * days));
    let of = |number: u32, of_webhook: u32, accepted_at| Sample {
        webhook: webhook(of_webhook),
        ..Sample::numbered(number, accepted_at)
    };
    let (early, late) = (of(1, 1, days_ago(6)), of(2, 1, days_ago(5)));
    let failed = [of(3, 1, now), of(4, 3, now)];
    let (canceled, retrying) = (of(5, 3, days_ago(1)), of(6, 3, days_ago(2)));
    let well = of(7, 2, now);
    apply(
        engine,
        vec![
            late.accepted(),
            delivered_at(&late, days_ago(4)),
            early.accepted(),
            delivered_at(&early, days_ago(1)),
            failed[0].exhausted(position(1, 0)),
            failed[1].exhausted(position(1, 0)),
            canceled.concluded(Conclusion::Canceled(CancelReason::Requested), now),
            retrying.retried(position(1, 0), now),
            well.delivered(position(1, 0)),
        ],
    )
    .await;
    let queries = engine.queries();
    let view = soon(queries.delivery(&tenant("acme"), early.id())).await.expect("it answers");
    let last = view.and_then(|view| view.concluded_at).expect("it is concluded");
    for (number, since, expected) in [
        (1, days_ago(5), true),
        (1, last, true),
        (1, last.plus(Duration::from_millis(1)), false),
        (2, now, true),
        (3, days_ago(30), false),
        (4, days_ago(30), false),
    ] {
        let told = soon(queries.has_delivered_since(webhook(number), since)).await.expect("it answers");
        assert_eq!(told, expected, "webhook {number} since {since}");
    }
}

pub async fn events_are_listed_newest_first_filtered_and_paged(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let mut samples: Vec<Sample> = (0..5).map(|number| sample(number, now)).collect();
    samples[3].event_type = event_type("partner.approved");
    samples[1].accepted_at = samples[0].accepted_at;
    apply(engine, samples.iter().map(Sample::accepted).collect()).await;
    let other = Sample { tenant: tenant("other"), ..sample(9, now) };
    apply(engine, vec![other.accepted()]).await;
    let queries = engine.queries();
    let acme = tenant("acme");
    let list = |filter: EventFilter, before, limit| {
        let (queries, acme) = (queries.clone(), acme.clone());
        async move {
            let page = PageOf { before, limit };
            let found = soon(queries.events(&acme, &filter, page)).await.expect("it answers");
            found.into_iter().map(|event| (event.accepted_at, event.id)).collect::<Vec<_>>()
        }
    };
    let key = |number: usize| (samples[number].accepted_at, samples[number].event.clone());
    let all = vec![key(4), key(3), key(2), key(1), key(0)];
    assert_eq!(list(EventFilter::default(), None, 10).await, all);
    assert_eq!(list(EventFilter::default(), None, 4).await, all[..4]);
    assert_eq!(list(EventFilter::default(), Some(key(1)), 4).await, all[4..], "of one moment, by id");
    let typed = EventFilter { event_type: Some(event_type("partner.approved")), ..EventFilter::default() };
    assert_eq!(list(typed, None, 10).await, [key(3)]);
    let between = |number: usize| Some(samples[number].accepted_at.minus(Duration::from_secs(5)));
    let window = EventFilter { since: between(2), until: between(4), ..EventFilter::default() };
    assert_eq!(list(window, None, 10).await, [key(3), key(2)]);
}

async fn ledger(engine: &dyn StoreUnderTest, query: LedgerQuery, overdue_before: Timestamp) -> Ledger {
    soon(engine.queries().ledger(&query, overdue_before)).await.expect("it answers")
}

/// One delivery of every status, a replay, and an event that nobody wanted.
async fn write_one_of_each(engine: &dyn StoreUnderTest, now: Timestamp) {
    let samples: Vec<Sample> = (0..8).map(|number| sample(number, now)).collect();
    let far = now.plus(Duration::from_secs(100_000));
    let mut records: Vec<_> = samples[..7].iter().map(Sample::accepted).collect();
    let replay = Sample { replay: 1, ..samples[2].clone() };
    records.extend([
        samples[1].retried(position(1, 0), far),
        samples[2].held(position(1, 1), HoldReason::Paused, now),
        samples[3].delivered(position(1, 0)),
        samples[4].exhausted(position(1, 0)),
        samples[5].concluded(Conclusion::Canceled(postrider_contract::outcome::CancelReason::Requested), now),
        samples[6].concluded(Conclusion::Expired, now),
        replay.delivered(position(1, 0)),
        samples[7].accepted_with(Vec::new()),
    ]);
    apply(engine, records).await;
}

pub async fn the_ledger_counts_every_delivery_once(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    write_one_of_each(engine, now).await;
    let other = Sample { tenant: tenant("other"), ..sample(20, now) };
    apply(engine, vec![other.accepted()]).await;
    let all = Ledger {
        accepted: 8,
        matched: 7,
        unmatched: 1,
        in_doubt: 0,
        expected: 8,
        pending: 1,
        retrying: 1,
        held: 1,
        delivered: 2,
        failed: 1,
        canceled: 1,
        expired: 1,
        overdue: 0,
    };
    let acme = LedgerQuery { tenant: Some(tenant("acme")), ..LedgerQuery::default() };
    assert_eq!(ledger(engine, acme.clone(), now).await, all);
    let later = now.plus(Duration::from_secs(1000));
    assert_eq!(ledger(engine, acme.clone(), later).await.overdue, 1, "the pending one");
    let much_later = now.plus(Duration::from_secs(200_000));
    assert_eq!(ledger(engine, acme, much_later).await.overdue, 2);
    let everyone = ledger(engine, LedgerQuery::default(), now).await;
    assert_eq!((everyone.accepted, everyone.expected, everyone.pending), (9, 9, 2));
}

pub async fn the_ledger_is_told_for_a_window_and_a_webhook(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    write_one_of_each(engine, now).await;
    let at = |seconds: u64| Some(now.plus(Duration::from_secs(seconds)));
    let acme = LedgerQuery { tenant: Some(tenant("acme")), ..LedgerQuery::default() };
    let window = LedgerQuery { since: at(25), until: at(45), ..acme.clone() };
    let counted = ledger(engine, window, now).await;
    assert_eq!((counted.accepted, counted.matched, counted.unmatched), (2, 2, 0));
    assert_eq!((counted.expected, counted.delivered, counted.failed), (2, 1, 1));
    let one = LedgerQuery { webhook: Some(webhook(2)), ..acme };
    let counted = ledger(engine, one, now).await;
    assert_eq!((counted.expected, counted.held, counted.delivered, counted.failed), (2, 1, 1, 0));
}

pub async fn the_ledger_tells_what_is_in_doubt(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (doubtful, known) = (sample(1, now), sample(2, now));
    apply(engine, vec![doubtful.delivered(position(1, 0)), known.accepted()]).await;
    let counted = ledger(engine, LedgerQuery::default(), now).await;
    assert_eq!((counted.in_doubt, counted.delivered, counted.pending), (1, 1, 1));
    assert_eq!(counted.expected, 2, "what is in doubt is expected to have the deliveries it has");
    apply(engine, vec![doubtful.accepted()]).await;
    let counted = ledger(engine, LedgerQuery::default(), now).await;
    assert_eq!((counted.in_doubt, counted.accepted, counted.expected), (0, 2, 2));
}

#[macro_export]
macro_rules! log_lists_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            log_lists:
            deliveries_are_listed_newest_first_in_pages,
            deliveries_of_one_moment_are_paged_without_loss,
            deliveries_are_filtered,
            whether_a_webhook_delivered_since_is_told_whenever_it_was_accepted,
            events_are_listed_newest_first_filtered_and_paged,
            the_ledger_counts_every_delivery_once,
            the_ledger_is_told_for_a_window_and_a_webhook,
            the_ledger_tells_what_is_in_doubt,
        }
    };
}
