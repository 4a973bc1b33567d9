//! What is asked of a log of five million deliveries, and of a room where half a million wait, is answered by
//! indexes, for the price of a page. `make explain` runs it: it takes some minutes and 5 GB of disk.
//!
//! The server itself tells how each statement was answered (`auto_explain`), as it was really sent; each is asked
//! often enough that a plan for any parameters would have been chosen by then.

use std::collections::BTreeMap;

use postrider_contract::clock::Day;
use postrider_contract::delivery::Work;
use postrider_contract::ids::{DeliveryId, TenantId, WebhookId};
use postrider_contract::ports::{DeliveryFilter, EventFilter, PageOf};
use postrider_contract::wire;

use super::*;

/// Deliveries, three to an event, over this many days.
const DELIVERIES: u32 = 5_000_000;
const DAYS: i32 = 30;
/// Of one webhook among twenty that have something waiting.
const WAITING: u32 = 500_000;
/// More than the five after which a prepared statement may get a plan for any parameters.
const ASKED: usize = 7;
const LIMIT: u32 = 100;

/// What may be read for a page: a hundred rows that lie apart, their index, and a look into every other day.
const PAGE: u64 = 2_500;

/// Half of the events are one tenant's, the rest 199 tenants'; a twentieth of the deliveries is not simply delivered.
const FILL: [&str; 5] = [
    "INSERT INTO events SELECT tenant, 'evt_' || e, at, type, 0, 1, 0, at, 3, '\\x7b7d', NULL, NULL
     FROM (SELECT e, $1::bigint + e * $2::bigint AS at,
        CASE WHEN e % 2 = 0 THEN 'acme' ELSE 'tenant_' || e % 199 END AS tenant,
        'order.' || CASE WHEN e % 200000 = 100000 THEN 'lost'
            ELSE CASE e % 4 WHEN 0 THEN 'created' WHEN 1 THEN 'paid' WHEN 2 THEN 'sent' ELSE 'closed' END END AS type
        FROM generate_series(0, $3::bigint / 3 - 1) AS e) AS events",
    "INSERT INTO deliveries
     SELECT (lpad(to_hex(at), 12, '0') || substr(md5(n::text), 1, 20))::uuid,
        CASE WHEN e % 2 = 0 THEN 'acme' ELSE 'tenant_' || e % 199 END, 'evt_' || e,
        'order.' || CASE WHEN e % 200000 = 100000 THEN 'lost'
            ELSE CASE e % 4 WHEN 0 THEN 'created' WHEN 1 THEN 'paid' WHEN 2 THEN 'sent' ELSE 'closed' END END,
        lpad(to_hex(CASE WHEN e % 2 = 0 THEN n * 7919 % 500 ELSE 1000 + e % 199 * 10 + n % 3 END), 32, '0')::uuid,
        (n % 20 = 0)::int, 0, (n % 5000 = 0)::int, at, CASE WHEN s = 3 THEN 2305843009213693956 ELSE $5::bigint END, s,
        CASE WHEN s = 4 THEN 'exhausted' WHEN s = 2 THEN 'paused' END,
        CASE WHEN s IN (0, 1) THEN at + 60000 * (n % 100000) END, CASE WHEN s = 2 THEN at END,
        CASE WHEN s > 2 THEN at + 1000 END, CASE s WHEN 0 THEN 0 WHEN 1 THEN 2 WHEN 4 THEN 5 ELSE 1 END,
        CASE WHEN s = 3 THEN 200 + (n % 7 = 0)::int * 4 WHEN s <> 0 THEN 500 + (n % 5)::int END, NULL,
        'standard', 1, 1, 1, (lpad(to_hex(at), 12, '0') || substr(md5('a' || n), 1, 20))::uuid, $4::bytea, 2
     FROM (SELECT n, n / 3 AS e, $1::bigint + n / 3 * $2::bigint AS at,
        CASE WHEN n % 1000 < 940 THEN 3 WHEN n % 1000 < 970 THEN 4 WHEN n % 1000 < 980 THEN 1
             WHEN n % 1000 < 988 THEN 2 WHEN n % 1000 < 993 THEN 5 WHEN n % 1000 < 998 THEN 6 ELSE 0 END AS s
        FROM generate_series(0, $3::bigint - 1) AS n) AS deliveries",
    "INSERT INTO attempts
     SELECT d.id, (lpad(to_hex(d.accepted_at + k), 12, '0') || substr(md5(d.id::text || k), 1, 20))::uuid,
        d.first_attempt FROM deliveries d, generate_series(2, 5) AS k WHERE d.status IN (1, 4) AND k <= d.attempts",
    "INSERT INTO response_bodies SELECT id, first_attempt_id, '\\x6f6b' FROM deliveries WHERE status NOT IN (0, 2)",
    "INSERT INTO waiting_room
     SELECT (lpad(to_hex($1::bigint + n), 12, '0') || substr(md5('h' || n), 1, 20))::uuid, 1, 'acme',
        lpad(to_hex(n % 20), 32, '0')::uuid, 0, $1::bigint + n, 1000,
        CASE WHEN n < 4000 THEN $1::bigint + n END, $3::bytea
     FROM generate_series(0, $2::bigint - 1) AS n",
];

/// A log of its own server, filled.
struct FullLog {
    server: Postgres,
    store: PostgresStore,
    first: Timestamp,
    newest: Day,
    /// Of the tenant with half of the events: a plain delivery in the middle of the time.
    delivery: DeliveryId,
    event: String,
}

async fn fill() -> FullLog {
    let server = Postgres::start().await.expect("PostgreSQL starts");
    for line in ["session_preload_libraries = auto_explain", "max_wal_size = 4GB", "fsync = off"] {
        server.set(line).expect("it is set");
    }
    let mut server = server;
    server.restart().await.expect("it starts again");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let store = connect(&url).await;
    let newest = SystemClock.now().day();
    let first = newest.plus(-DAYS).start();
    soon(store.delivery_log().prepare_days(newest.plus(-DAYS), newest.plus(7))).await.expect("days are made");
    let step = i64::from(DAYS) * 86_400_000 / i64::from(DELIVERIES / 3);
    let sample = Sample::numbered(1, first);
    let JournalRecord::Attempted(attempted) = sample.delivered(position(1, 0)) else {
        unreachable!("a sample's try is one")
    };
    let record = wire::encode_attempt_apart(&attempted.attempt, &attempted.outcome).0;
    let client = harness::postgres::connect(&url).await.expect("the server answers");
    let (start, count) = (first.as_millis(), i64::from(DELIVERIES));
    let rank = postrider_contract::log::Rank::scheduled(position(1, 0)).number();
    client.execute(FILL[0], &[&start, &step, &count]).await.expect("events are made");
    client
        .execute(FILL[1], &[&start, &step, &count, &record.as_ref(), &rank])
        .await
        .expect("deliveries are made");
    client.execute(FILL[2], &[]).await.expect("attempts are made");
    client.execute(FILL[3], &[]).await.expect("bodies are made");
    let held = wire::encode_work(&Work::Deliver(sample.delivery()));
    client
        .execute(FILL[4], &[&start, &i64::from(WAITING), &held.as_ref()])
        .await
        .expect("the room is filled");
    client.batch_execute("VACUUM (ANALYZE)").await.expect("it is tidied");
    let one = client
        .query_one(
            "SELECT id::text, event_id FROM deliveries WHERE tenant = 'acme' AND status = 4 AND id >= $1::text::uuid
             ORDER BY id LIMIT 1",
            &[&format!("{:012x}{:020x}", newest.plus(-DAYS / 2).start().as_millis(), 0)],
        )
        .await
        .expect("there is one");
    let id: String = one.get(0);
    let delivery = u128::from_str_radix(&id.replace('-', ""), 16).expect("a number");
    let event = one.get(1);
    for setting in ["log_min_duration = 0", "log_analyze = on", "log_buffers = on", "log_timing = off"] {
        server.alter(&format!("auto_explain.{setting}")).await.expect("it is changed");
    }
    FullLog {
        server,
        store: connect(&url).await,
        first,
        newest,
        delivery: DeliveryId::from_u128(delivery),
        event,
    }
}

/// How one statement was answered, as far as it is judged.
#[derive(Clone, Debug, Default)]
struct Plan {
    text: String,
    pages: u64,
    whole_tables: Vec<String>,
}

impl FullLog {
    /// The plans that the server wrote while `ask` ran some times.
    async fn plans<F: Future<Output = ()>>(&self, ask: impl Fn() -> F) -> Vec<Plan> {
        let log = self.server.folder().join("postgres.out");
        let length = std::fs::metadata(&log).expect("a log").len();
        for _ in 0..ASKED {
            ask().await;
        }
        let text = std::fs::read(&log).expect("a log");
        let text = String::from_utf8_lossy(&text[usize::try_from(length).expect("a length")..]).into_owned();
        text.split(" duration: ").skip(1).map(Plan::read).collect()
    }
}

impl Plan {
    fn read(text: &str) -> Self {
        let numbers = |line: &str, name: &str| -> u64 {
            line.split(name).nth(1).and_then(|rest| rest.split([' ', ',']).next()?.parse().ok()).unwrap_or(0)
        };
        // The first line of buffers is the whole statement's.
        let buffers = text.lines().find(|line| line.contains("Buffers: shared")).unwrap_or_default();
        let whole = |line: &&str| {
            let large = ["deliveries", "events_", "attempts", "response_bodies", "waiting_room"];
            line.contains("Seq Scan on ")
                && large.iter().any(|table| line.contains(&format!("Seq Scan on {table}")))
                && !line.contains("never executed")
                && !line.contains("events_in_doubt")
        };
        Plan {
            text: text.to_owned(),
            pages: numbers(buffers, "hit=") + numbers(buffers, "read="),
            whole_tables: text.lines().filter(whole).map(str::to_owned).collect(),
        }
    }
}

/// Everything that is asked, by name, with what it may read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, and 5 GB of disk: `make explain`"]
async fn every_question_to_a_log_of_five_million_is_answered_by_an_index() {
    let full = fill().await;
    let mut report: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut judge = |name: &str, bound: u64, plans: Vec<Plan>| {
        assert!(plans.len() >= ASKED, "{name}: the server wrote {} plans", plans.len());
        let most = plans.iter().map(|plan| plan.pages).max().unwrap_or(0);
        report.insert(name.to_owned(), (most, plans.len()));
        if let Some(plan) = plans.iter().find(|plan| plan.pages > bound || !plan.whole_tables.is_empty()) {
            wrong.push(format!("{name} read {} pages of {bound}:\n{}", plan.pages, plan.text));
        }
    };
    for (name, tenant, filter) in delivery_filters(&full) {
        for before in [None, Some(full.delivery)] {
            let plans = full.plans(async || {
                let page = PageOf { before, limit: LIMIT };
                soon(full.store.log_queries().deliveries(&tenant, &filter, page)).await.expect("it answers");
            });
            judge(&format!("deliveries {name}, before {}", before.is_some()), PAGE, plans.await);
        }
    }
    for (name, tenant, filter) in event_filters(&full) {
        let plans = full.plans(async || {
            let page = PageOf { before: None, limit: LIMIT };
            soon(full.store.log_queries().events(&tenant, &filter, page)).await.expect("it answers");
        });
        judge(&format!("events {name}"), PAGE, plans.await);
    }
    judge_single_questions(&full, &mut judge).await;
    judge_disabling(&full, &mut judge).await;
    judge_counts(&full, &mut judge).await;
    for (name, (pages, plans)) in &report {
        println!("{pages:>8} pages at most, {plans:>3} plans: {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Of one event in two hundred thousand, all of the large tenant.
const RARE: &str = "order.lost";

/// A tenant, one of its webhooks, and a type of its events.
const TENANTS: [(&str, &str, u128, &str); 2] =
    [("a large tenant", "acme", 4, "order.sent"), ("a small tenant", "tenant_7", 1070, "order.paid")];

fn delivery_filters(full: &FullLog) -> Vec<(String, TenantId, DeliveryFilter)> {
    TENANTS
        .into_iter()
        .flat_map(|(size, id, webhook, event_type)| {
            let named = move |(name, filter): (String, DeliveryFilter)| {
                (format!("{name}, {size}"), tenant(id), filter)
            };
            filters_of(full, WebhookId::from_u128(webhook), event_type).into_iter().map(named)
        })
        .collect()
}

fn filters_of(full: &FullLog, webhook: WebhookId, event_type: &str) -> Vec<(String, DeliveryFilter)> {
    let none = DeliveryFilter::default();
    let webhook = Some(webhook);
    let day = (Some(full.newest.plus(-9).start()), Some(full.newest.plus(-8).start()));
    let mut filters = vec![
        ("all".to_owned(), none.clone()),
        ("of a webhook".to_owned(), DeliveryFilter { webhook, ..none.clone() }),
        ("of a day".to_owned(), DeliveryFilter { since: day.0, until: day.1, ..none.clone() }),
        ("of a code".to_owned(), DeliveryFilter { code: Some(503), ..none.clone() }),
        ("of a type".to_owned(), DeliveryFilter { event_type: event_type.parse().ok(), ..none.clone() }),
        ("of a rare type".to_owned(), DeliveryFilter { event_type: RARE.parse().ok(), ..none.clone() }),
        (
            "of postbacks".to_owned(),
            DeliveryFilter { kind: Some(postrider_contract::webhook::WebhookKind::Postback), ..none.clone() },
        ),
        ("of an event".to_owned(), DeliveryFilter { event: full.event.parse().ok(), ..none.clone() }),
    ];
    for status in DeliveryStatus::ALL {
        let of_all = DeliveryFilter { status: Some(status), ..none.clone() };
        filters.push((format!("{status:?} of a webhook"), DeliveryFilter { webhook, ..of_all.clone() }));
        filters.push((format!("{status:?}"), of_all));
    }
    filters
}

fn event_filters(full: &FullLog) -> Vec<(String, TenantId, EventFilter)> {
    let none = EventFilter::default();
    let day = (Some(full.newest.plus(-9).start()), Some(full.newest.plus(-8).start()));
    TENANTS
        .into_iter()
        .flat_map(|(size, id, _, event_type)| {
            let filters = [
                ("all", none.clone()),
                ("of a day", EventFilter { since: day.0, until: day.1, ..none.clone() }),
                ("of a type", EventFilter { event_type: event_type.parse().ok(), ..none.clone() }),
                ("of a rare type", EventFilter { event_type: RARE.parse().ok(), ..none.clone() }),
            ];
            filters.map(|(name, filter)| (format!("{name}, {size}"), tenant(id), filter))
        })
        .collect()
}

async fn judge_single_questions(full: &FullLog, judge: &mut impl FnMut(&str, u64, Vec<Plan>)) {
    let (queries, log, room) =
        (full.store.log_queries(), full.store.delivery_log(), full.store.waiting_room());
    let acme = tenant("acme");
    let plans = full.plans(async || {
        let found = soon(queries.delivery(&acme, full.delivery)).await.expect("it answers");
        assert!(found.is_some());
    });
    judge("one delivery", 20, plans.await);
    let plans = full.plans(async || {
        assert!(!soon(queries.attempts(full.delivery)).await.expect("it answers").is_empty());
    });
    judge("its tries", 60, plans.await);
    let plans = full.plans(async || {
        let event = full.event.parse().expect("an id");
        assert!(soon(queries.event(&acme, &event)).await.expect("it answers").is_some());
    });
    judge("one event", 200, plans.await);
    let plans = full.plans(async || {
        let asked = [(full.delivery, position(2, 0))];
        soon(log.is_recorded(&asked)).await.expect("it answers");
    });
    judge("was it recorded", 20, plans.await);
    let plans = full.plans(async || {
        assert_eq!(soon(log.overdue(SystemClock.now(), 256)).await.expect("it answers").len(), 256);
    });
    judge("what is overdue", PAGE, plans.await);
    let plans = full.plans(async || {
        let held = soon(room.oldest(WebhookId::from_u128(3), 1)).await.expect("it answers");
        assert_eq!(held.len(), 1);
    });
    judge("what waits longest", 20, plans.await);
    let plans = full.plans(async || {
        let wanted: Vec<_> = (0..20).map(|webhook| (WebhookId::from_u128(webhook), 12)).collect();
        assert_eq!(soon(room.oldest_of(&wanted)).await.expect("it answers").len(), 20 * 12);
    });
    judge("what is to be released", PAGE, plans.await);
    let plans = full.plans(async || {
        let summaries = soon(room.summaries()).await.expect("it answers");
        let (waiting, released) =
            summaries.iter().fold((0, 0), |(w, r), one| (w + one.waiting, r + one.released));
        assert_eq!((waiting, released), (u64::from(WAITING) - 4000, 4000));
    });
    judge("what waits, by webhook", 200, plans.await);
    let plans = full.plans(async || {
        soon(room.reopen_released_before(full.first)).await.expect("it answers");
    });
    judge("what was lost sight of", 200, plans.await);
}

/// What is asked of a webhook that fails, of which the log holds five thousand deliveries, all of them delivered: a look into
/// each day.
async fn judge_disabling(full: &FullLog, judge: &mut impl FnMut(&str, u64, Vec<Plan>)) {
    let (queries, acme) = (full.store.log_queries(), tenant("acme"));
    for (name, since, expected) in [("none", full.newest.plus(2).start(), false), ("one", full.first, true)] {
        let plans = full.plans(async || {
            let asked = queries.has_delivered_since(WebhookId::from_u128(4), since);
            assert_eq!(soon(asked).await.expect("it answers"), expected);
        });
        judge(&format!("whether a webhook delivered since, {name}"), 200, plans.await);
    }
    let plans = full.plans(async || {
        let webhook = Some(WebhookId::from_u128(4));
        let status = Some(DeliveryStatus::Failed);
        let until = Some(full.newest.plus(-5).start());
        let filter = DeliveryFilter { webhook, status, until, ..DeliveryFilter::default() };
        let page = PageOf { before: None, limit: 1 };
        assert!(soon(queries.deliveries(&acme, &filter, page)).await.expect("it answers").is_empty());
    });
    judge("whether a webhook's delivery failed before", 200, plans.await);
}

/// Counts read their window: its deliveries by an index alone, its events at worst a page each. So their bound is
/// the window's size: a day has 55,555 events, a month of the large tenant 833,333.
async fn judge_counts(full: &FullLog, judge: &mut impl FnMut(&str, u64, Vec<Plan>)) {
    let queries = full.store.log_queries();
    let day = |number: i32| Some(full.newest.plus(number).start());
    let windows = [
        ("a tenant's day", Some("acme"), None, (day(-9), day(-8)), 30_000),
        ("everybody's day", None, None, (day(-9), day(-8)), 60_000),
        ("a small tenant's month", Some("tenant_7"), None, (None, None), 30_000),
        ("a webhook's month", Some("acme"), Some(WebhookId::from_u128(4)), (None, None), 120_000),
    ];
    for (name, of, webhook, (since, until), bound) in windows {
        let query = LedgerQuery { tenant: of.map(tenant), webhook, since, until };
        let plans = full.plans(async || {
            let ledger = soon(queries.ledger(&query, SystemClock.now())).await.expect("it answers");
            assert!(ledger.delivered > 0);
        });
        judge(&format!("the ledger of {name}"), bound, plans.await);
    }
}
