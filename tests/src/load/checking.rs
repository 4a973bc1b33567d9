//! The check of an installation against a producer's ledger, in the manner of Jepsen's `total-queue`.
//!
//! Everything that was accepted is at the receiver with a 2xx, or stands in the log as ended; nothing else is
//! there; every repeat has the same event id and body, signed rightly; the log contradicts neither side; the
//! server's own ledger balances with nothing waiting. How many requests came twice is counted, and for the caller
//! to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_service::system::SystemClock;
use serde_json::{Value, json};
use sha2::Sha256;

use super::findings::{Findings, Wrong};
use super::{EVENT_TYPE, Ledger, data};
use crate::harness::{Api, Behaviour, Received, Receiver, eventually, eventually_at_its_pace};
use crate::stage::text;

/// The profile that the check can read: its bodies hold the event's id, its waits have no jitter.
pub const PROFILE: &str = "trcker";
/// By this header of the profile the tries of one delivery are told from those of others.
pub const DELIVERY_HEADER: &str = "X-Trcker-Webhook-Id";
const SIGNATURE_HEADER: &str = "X-Trcker-Signature";
const SECRET: &str = "a secret of the subscriber";
/// The most a list answers at once.
const PAGE: usize = 200;

/// A webhook that gets every event of the load.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub id: String,
    pub path: String,
    /// So many tries of each delivery fail.
    pub failures: usize,
}

impl Subscriber {
    /// Registers one to a path of the receiver, with short waits between tries, whose first so many tries of each
    /// delivery meet with `failure`. `fields` of the webhook come on top.
    pub async fn register(
        api: &Api,
        receiver: &Receiver,
        path: &str,
        (failures, failure): (usize, Behaviour),
        fields: Value,
    ) -> Result<Self> {
        let header = DELIVERY_HEADER.to_owned();
        let (first, then) = (Box::new(failure), Box::new(Behaviour::ok()));
        receiver.script(path, Behaviour::FirstOfEach { header, times: failures, first, then });
        let mut webhook = json!({
            "name": path.trim_matches('/'),
            "url": receiver.url(path),
            "events": [EVENT_TYPE],
            "secret": SECRET,
            "retry": {"waits": WAITS},
        });
        if let (Value::Object(webhook), Value::Object(fields)) = (&mut webhook, fields) {
            webhook.extend(fields);
        }
        let made = api.post("/v1/webhooks", &webhook).await?.require(201)?.json()?;
        Ok(Self { id: text(&made, "id")?, path: path.to_owned(), failures })
    }
}

/// Short, so that a test sees retries; several, so that a fault that costs a try does not end a delivery.
pub const WAITS: [&str; 6] = ["300ms", "1s", "1s", "2s", "2s", "4s"];

/// Longer than the last of these: what waits in a lane comes out of it meanwhile.
const LONGEST_RETRY: Duration = Duration::from_secs(6);

/// What the receiver saw of one delivery.
#[derive(Debug, Default)]
struct Arrivals<'a> {
    requests: Vec<&'a Received>,
    events: BTreeSet<String>,
}

/// Everything that was accepted so far. A process that does not read the journal itself answers for what is some seconds
/// old, so the window has an end.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Up to here the log must have caught up.
    settled: Timestamp,
    /// What is counted; later where a server's clock is ahead.
    until: Timestamp,
}

impl Window {
    /// By servers whose clocks are right.
    pub fn until_now() -> Self {
        Self::ahead(Duration::ZERO)
    }

    /// By servers whose clocks are ahead by no more than this.
    pub fn ahead(by: Duration) -> Self {
        let settled = SystemClock.now().plus(Duration::from_millis(1));
        Window { settled, until: settled.plus(by) }
    }

    /// The ledger of it; `None` while the log has not caught up, or there is no answer, which during a fault is part of
    /// what is waited out.
    async fn settled_ledger(self, api: &Api, last: &mut String) -> Option<Value> {
        for until in [self.settled, self.until] {
            let answer = api.get(&format!("/v1/ledger?until={until}")).await.ok()?;
            *last = answer.to_string();
            let ledger = answer.require(200).ok()?.json().ok()?;
            if until == self.settled && ledger["settling"] != false {
                return None;
            }
            if until == self.until {
                return Some(ledger);
            }
        }
        None
    }
}

/// Waits until every delivery of the window is concluded and the ledger balances, with nothing
/// overdue; answers it.
///
/// # Errors
/// When the ledger stays as it is for so long before that.
pub async fn concluded(api: &Api, window: Window, within: Duration) -> Result<Value> {
    let mut last = String::new();
    let waited = eventually_at_its_pace("every delivery to be concluded", within, async || {
        let settled = window.settled_ledger(api, &mut last).await;
        Ok(match settled.filter(has_ended) {
            Some(ledger) => ControlFlow::Break(ledger),
            None => ControlFlow::Continue(last.clone()),
        })
    });
    waited.await.with_context(|| format!("the last ledger: {last}"))
}

fn has_ended(ledger: &Value) -> bool {
    let counts = &ledger["deliveries"];
    let waiting = ["pending", "retrying", "held", "overdue"].iter().any(|state| counts[state] != 0);
    !waiting && ledger["balanced"] == true
}

/// Waits until every delivery that was promised with a 202 has ended, and for a moment for the others too. What is
/// then still open belongs to requests that were never answered for certain, and only healing can end it.
///
/// # Errors
/// When promised deliveries are open and nothing moves for so long; it is told which.
pub async fn promised_concluded(
    ledger: &Ledger,
    api: &Api,
    window: Window,
    within: Duration,
) -> Result<Open> {
    let known: BTreeSet<&str> = ledger.accepted.values().map(|accepted| accepted.event.as_str()).collect();
    let (mut promised, mut last) = (Vec::new(), String::new());
    let waited = eventually_at_its_pace("every promised delivery to be concluded", within, async || {
        if let Some(open) = open_deliveries(api, window, &mut last).await {
            promised = open;
            promised.retain(|row| row["event_id"].as_str().is_some_and(|event| known.contains(event)));
            if promised.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(last.clone()))
    });
    let waited = waited.await;
    waited.with_context(|| format!("{} are open, among them {:?}", promised.len(), promised.first()))?;
    let others = eventually("what is in doubt to be concluded", LONGEST_RETRY, async || {
        Ok(open_deliveries(api, window, &mut String::new()).await.filter(Vec::is_empty).map(drop))
    });
    Ok(if others.await.is_ok() { Open::None } else { Open::InDoubt })
}

/// What is left of the deliveries once all that was promised has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    None,
    /// Some of events that nobody was promised.
    InDoubt,
}

/// The deliveries that have not ended, once the log has caught up; `None` while it has not, or does not answer. `last`
/// is what the ledger said.
async fn open_deliveries(api: &Api, window: Window, last: &mut String) -> Option<Vec<Value>> {
    window.settled_ledger(api, last).await?;
    let mut open = Vec::new();
    for status in ["pending", "retrying", "held"] {
        open.extend(list(api, &format!("&status={status}")).await.ok()?);
    }
    Some(open)
}

/// What the check is made of, besides the producer's ledger.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub subscribers: &'a [Subscriber],
    pub receiver: &'a Receiver,
    pub api: &'a Api,
    /// What [`concluded`] said.
    pub concluded: Result<Value>,
    /// Deliveries that were healed, as the servers said.
    pub healed: &'a BTreeSet<String>,
}

/// Compares the producer's ledger, the receiver and the server's log.
pub async fn examine(ledger: &Ledger, evidence: Evidence<'_>) -> Result<Findings> {
    let Evidence { subscribers, receiver, api, concluded, healed } = evidence;
    let requests = receiver.requests();
    let log = read_log(api).await?;
    let mut findings = Findings::of(ledger.accepted.len(), requests.len());
    match concluded {
        Ok(counts) => check_counts(ledger, &counts, &mut findings),
        // What is open then tells more than that something is.
        Err(error) => findings.problem(Wrong::Unexpected, "not concluded", || format!("{error:#}")),
    }
    for unexpected in &ledger.unexpected {
        findings.problem(Wrong::Unexpected, "unexpected answer", || unexpected.clone());
    }
    let arrivals = sort_arrivals(ledger, &requests, &mut findings);
    for subscriber in subscribers {
        check_subscriber(ledger, subscriber, &arrivals, &log, &mut findings);
    }
    check_strangers(ledger, &arrivals, &log, &mut findings);
    for accepted in ledger.accepted.values() {
        for (delivery, _) in accepted.deliveries.iter().filter(|(delivery, _)| healed.contains(delivery)) {
            findings.problem(Wrong::Unexpected, "healed although it was promised", || {
                format!("{delivery} of {}", accepted.event)
            });
        }
    }
    findings.healed = healed.len();
    let tries: u64 = log.values().filter_map(|row| row["attempts"].as_u64()).sum();
    let tries = usize::try_from(tries)?;
    if tries > findings.requests {
        findings.problem(Wrong::Ghost, "tries that never were", || {
            format!("{tries} in the log, {} requests", requests.len())
        });
    }
    findings.unlogged = findings.requests.saturating_sub(tries);
    Ok(findings)
}

/// The server's own count of events: all that the producer was told of, and at most what it was not sure of.
fn check_counts(ledger: &Ledger, counts: &Value, findings: &mut Findings) {
    let (accepted, in_doubt) = (&counts["events"]["accepted"], &counts["events"]["in_doubt"]);
    let counted = accepted.as_u64().unwrap_or(0) + in_doubt.as_u64().unwrap_or(0);
    let (sure, possible) =
        (ledger.accepted.len() as u64, (ledger.accepted.len() + ledger.doubtful.len()) as u64);
    if !(sure..=possible).contains(&counted) || accepted.as_u64() < Some(sure) {
        findings.problem(Wrong::Contradiction, "wrong count", || {
            format!("{sure} to {possible} events were accepted; {counts}")
        });
    }
}

/// The receiver's requests by path and number; what is wrong with each by itself is noted.
fn sort_arrivals<'a>(
    ledger: &Ledger,
    requests: &'a [Received],
    findings: &mut Findings,
) -> BTreeMap<(&'a str, u64), Arrivals<'a>> {
    let mut arrivals: BTreeMap<(&str, u64), Arrivals<'_>> = BTreeMap::new();
    for request in requests {
        match read_request(ledger.seed, request) {
            Ok((number, event)) => {
                let entry = arrivals.entry((request.path(), number)).or_default();
                if let Some(first) = entry.requests.first()
                    && (first.body != request.body
                        || first.header(DELIVERY_HEADER) != request.header(DELIVERY_HEADER))
                {
                    findings.problem(Wrong::Corrupt, "a repeat that differs", || {
                        format!("event {number} to {}", request.path())
                    });
                }
                entry.requests.push(request);
                entry.events.insert(event);
            }
            Err(error) => {
                findings.problem(Wrong::Corrupt, "other bytes, or a wrong signature", || format!("{error:#}"))
            }
        }
    }
    arrivals
}

/// The number in a request's data and its event's id, after checking signature and bytes.
fn read_request(seed: u64, request: &Received) -> Result<(u64, String)> {
    let header = request.header(SIGNATURE_HEADER).context("not signed")?;
    let (time, signature) =
        header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).context("not a signature")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(&[time.as_bytes(), b".", &request.body].concat());
    ensure!(signature == hex::encode(mac.finalize().into_bytes()), "a wrong signature");
    let body = std::str::from_utf8(&request.body)?;
    let number = number_in(&request.body).context("no number")?;
    ensure!(
        body.ends_with(&format!(r#""data":{}}}"#, data(seed, number))),
        "other data than was sent: {body}"
    );
    let event = body.strip_prefix(r#"{"id":""#).and_then(|rest| rest.split_once('"')).context("no id")?;
    Ok((number, event.0.to_owned()))
}

/// The number of the event that a request's body tells of.
pub(super) fn number_in(body: &[u8]) -> Option<u64> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once(r#"{ "number":"#)?;
    rest.split_once(' ')?.0.parse().ok()
}

fn check_subscriber(
    ledger: &Ledger,
    subscriber: &Subscriber,
    arrivals: &BTreeMap<(&str, u64), Arrivals<'_>>,
    log: &BTreeMap<String, Value>,
    findings: &mut Findings,
) {
    for (number, accepted) in &ledger.accepted {
        let Some((delivery, _)) = accepted.deliveries.iter().find(|(_, webhook)| *webhook == subscriber.id)
        else {
            findings.problem(Wrong::Lost, "not matched", || format!("event {number} to {}", subscriber.path));
            continue;
        };
        findings.deliveries += 1;
        let seen = arrivals.get(&(subscriber.path.as_str(), *number));
        let requests = seen.map_or(0, |seen| seen.requests.len());
        let repeats = requests.saturating_sub(subscriber.failures + 1);
        findings.duplicates += repeats;
        if ledger.in_doubt.contains_key(number) {
            findings.duplicates_of_doubt += repeats;
        }
        let has_arrived = requests > subscriber.failures;
        let row = log.get(delivery);
        let status = row.and_then(|row| row["status"].as_str());
        let tell =
            || format!("event {number} to {}: {delivery}, {requests} requests, {row:?}", subscriber.path);
        match status {
            Some("delivered") if has_arrived => {}
            Some("delivered") => findings.problem(Wrong::Lost, "delivered only in the log", tell),
            Some("failed" | "canceled" | "expired") if has_arrived => {
                findings.problem(Wrong::Contradiction, "delivered, and not so in the log", tell)
            }
            Some("failed" | "canceled" | "expired") => {
                findings.problem(Wrong::Lost, "ended without a reason", tell)
            }
            Some(_) | None if has_arrived => {
                findings.problem(Wrong::Contradiction, "not in the log as delivered", tell)
            }
            Some(_) | None => findings.problem(Wrong::Lost, "never arrived", tell),
        }
        if let Some(seen) = seen
            && seen.events.iter().any(|event| *event != accepted.event)
        {
            findings.problem(Wrong::Contradiction, "another id than the producer was told", || {
                format!("{:?}; {}", seen.events, tell())
            });
        }
    }
}

/// What is there although the producer does not count on it: only events in doubt may be, each under one id.
fn check_strangers(
    ledger: &Ledger,
    arrivals: &BTreeMap<(&str, u64), Arrivals<'_>>,
    log: &BTreeMap<String, Value>,
    findings: &mut Findings,
) {
    let mut doubtful_events: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ids_of: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for ((path, number), seen) in arrivals {
        if ledger.accepted.contains_key(number) {
            continue;
        }
        if !ledger.doubtful.contains(number) {
            findings.problem(Wrong::Ghost, "never accepted", || {
                format!("event {number} to {path} was never accepted, nor in doubt")
            });
        }
        ids_of.entry(*number).or_default().extend(seen.events.iter().map(String::as_str));
        doubtful_events.extend(seen.events.iter().map(|event| (event.as_str(), *number)));
    }
    for (number, ids) in ids_of.iter().filter(|(_, ids)| ids.len() > 1) {
        findings.problem(Wrong::Ghost, "one event under two ids", || format!("event {number}: {ids:?}"));
    }
    let known: BTreeSet<&str> = ledger.accepted.values().map(|accepted| accepted.event.as_str()).collect();
    for (delivery, row) in log {
        let event = row["event_id"].as_str().unwrap_or_default();
        if row["concluded_at"].is_null() {
            let promised = if known.contains(event) { "promised" } else { "in doubt" };
            findings.problem(Wrong::Unexpected, "open in the log", || format!("{promised}: {row}"));
        }
        if !known.contains(event) && !doubtful_events.contains_key(event) {
            findings.problem(Wrong::Ghost, "a ghost in the log", || format!("{delivery}: {row}"));
        }
    }
}

/// Every delivery of the tenant, by its id.
pub(super) async fn read_log(api: &Api) -> Result<BTreeMap<String, Value>> {
    let mut rows = BTreeMap::new();
    for row in list(api, "").await? {
        let id = text(&row, "id")?;
        ensure!(rows.insert(id.clone(), row).is_none(), "{id} is in the list twice");
    }
    Ok(rows)
}

/// The tenant's deliveries, those that the query asks for.
async fn list(api: &Api, query: &str) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let next = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page =
            api.get(&format!("/v1/deliveries?limit={PAGE}{query}{next}")).await?.require(200)?.json()?;
        rows.extend(page["data"].as_array().context("not a list")?.iter().cloned());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(rows);
        }
    }
}
