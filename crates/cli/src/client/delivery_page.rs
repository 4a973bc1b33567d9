//! One delivery as a timeline for people: each try, what came of it, and what comes next.

use http::StatusCode;
use serde::Deserialize;

use crate::table::{Hue, Screen, excerpt, hue_of, printable, to_the_second};

/// Enough to recognise an answer by; `--output json` has all of it.
const EXCERPT_LINES: usize = 20;
const EXCERPT_WIDTH: usize = 300;

/// Whose bodies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    Response,
    Both,
}

/// `GET /v1/deliveries/{id}`, and a line of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) webhook_id: String,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) accepted_at: String,
    pub(super) next_attempt_at: Option<String>,
    pub(super) held_since: Option<String>,
    pub(super) concluded_at: Option<String>,
    pub(super) attempts: u32,
    pub(super) last_code: Option<u16>,
    pub(super) last_error: Option<String>,
    pub(super) replay: u32,
    profile: Option<String>,
    postback: Option<Postback>,
    tries: Vec<Try>,
}

/// A postback as it was filled.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Postback {
    query: Option<String>,
    missing_macros: Vec<String>,
}

/// One real HTTP call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Try {
    number: u32,
    started_at: String,
    request: RequestSent,
    address: Option<String>,
    timings: Timings,
    response: Option<Response>,
    error: Option<Failure>,
    outcome: String,
    outcome_reason: Option<String>,
    next_attempt_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RequestSent {
    method: String,
    url: String,
    headers: Vec<Header>,
    body_sha256: String,
    body_bytes: u64,
    body: Option<String>,
    body_matches: Option<bool>,
    template_gaps: Vec<TemplateGap>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateGap {
    variable: String,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Response {
    status: u16,
    headers: Vec<Header>,
    body: String,
    body_encoding: String,
    body_extent: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure {
    class: String,
    detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Timings {
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
}

impl Delivery {
    /// Where it stands, in a few words: `retrying (2 tries, last 500; next 2026-11-21 09:30:05)`.
    pub(super) fn standing(&self) -> String {
        let tries = if self.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", self.attempts) };
        let mut words = vec![tries];
        let last = self.last_code.map(|code| code.to_string());
        words.extend(
            last.or_else(|| self.last_error.as_deref().map(printable)).map(|last| format!("last {last}")),
        );
        words.extend(self.reason.as_deref().map(printable));
        let next = self.next_attempt_at.as_deref().filter(|_| self.concluded_at.is_none());
        words.extend(next.map(|next| format!("next {}", to_the_second(next))));
        words.extend(self.held_since.as_deref().map(|since| format!("held since {}", to_the_second(since))));
        words.join(", ")
    }

    pub(super) fn lines(&self, screen: &Screen, bodies: Bodies) -> Vec<String> {
        let status = screen.paint(hue_of(&self.status), &printable(&self.status));
        let mut lines = vec![format!("{}  {status}: {}", printable(&self.id), self.standing())];
        let profile = self.profile.as_deref().map(|profile| format!(", profile {}", printable(profile)));
        let replay =
            if self.replay > 0 { format!(", sent again (replay {})", self.replay) } else { String::new() };
        lines.push(format!("event     {}  {}", printable(&self.event_id), printable(&self.event_type)));
        let kind = printable(&self.kind);
        lines.push(format!(
            "webhook   {}  ({kind}{}{replay})",
            printable(&self.webhook_id),
            profile.unwrap_or_default()
        ));
        lines.extend(self.postback.iter().flat_map(Postback::lines));
        lines.push(format!("accepted  {}", precise(&self.accepted_at)));
        lines.extend(self.concluded_at.as_deref().map(|time| format!("concluded {}", precise(time))));
        if self.tries.is_empty() {
            lines.push(String::new());
            lines.push("no try yet".to_owned());
        }
        for attempt in &self.tries {
            lines.push(String::new());
            lines.extend(attempt.lines(screen, bodies));
        }
        lines
    }
}

impl Postback {
    fn lines(&self) -> Vec<String> {
        let query = self.query.as_deref().map_or("too long to be sent".to_owned(), printable);
        let mut lines = vec![format!("query     {query}")];
        if !self.missing_macros.is_empty() {
            let names: Vec<String> = self.missing_macros.iter().map(|name| printable(name)).collect();
            lines.push(format!("          no value for {}", names.join(", ")));
        }
        lines
    }
}

impl TemplateGap {
    fn line(&self) -> String {
        let why = match self.reason.as_str() {
            "missing" => "is not in the event",
            "no_room" => "found no room",
            other => other,
        };
        format!("template: {} {}", printable(&self.variable), printable(why))
    }
}

impl Try {
    fn lines(&self, screen: &Screen, bodies: Bodies) -> Vec<String> {
        let (time, total) = (precise(&self.started_at), milliseconds(self.timings.total_ms));
        let mut lines = vec![format!(
            "#{}  {time}  {}  in {total}  → {}",
            self.number,
            self.result(screen),
            self.what_next()
        )];
        let RequestSent { method, url, headers, body_sha256, body_bytes, body, body_matches, template_gaps } =
            &self.request;
        let address =
            self.address.as_deref().map(|address| format!("  ({})", printable(address))).unwrap_or_default();
        lines.push(format!("    {} {}{address}", printable(method), printable(url)));
        lines.extend(self.timings.parts().map(|parts| format!("    time      {parts}")));
        lines.extend(block("sent", headers.iter().map(Header::line)));
        let hash = printable(body_sha256.get(..16).unwrap_or(body_sha256));
        let sent = [format!("body: {body_bytes} bytes, sha256 {hash}…")];
        lines.extend(block(if headers.is_empty() { "sent" } else { "" }, sent));
        lines.extend(block("", template_gaps.iter().map(TemplateGap::line)));
        if let (Bodies::Both, Some(body)) = (bodies, body) {
            if *body_matches == Some(false) {
                lines.extend(block("", ["rendered again, this is not what was sent any more:".to_owned()]));
            }
            lines.extend(block("", excerpt_lines(body)));
        }
        if let Some(response) = &self.response {
            lines.extend(response.lines());
        }
        lines
    }

    fn result(&self, screen: &Screen) -> String {
        let text = match (&self.response, &self.error) {
            (Some(response), _) => {
                let reason =
                    StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
                format!("{} {}", response.status, reason.unwrap_or_default()).trim_end().to_owned()
            }
            (None, Some(failure)) => format!("{}: {}", printable(&failure.class), printable(&failure.detail)),
            (None, None) => "no answer".to_owned(),
        };
        screen.paint(hue_of(&self.outcome), &text)
    }

    fn what_next(&self) -> String {
        match (&self.next_attempt_at, self.outcome.as_str()) {
            (Some(next), _) => format!("next try {}", precise(next)),
            (None, outcome) => {
                let reason = self.outcome_reason.as_deref().map(|reason| format!(" ({})", printable(reason)));
                format!("{}{}", printable(outcome), reason.unwrap_or_default())
            }
        }
    }
}

impl Response {
    fn lines(&self) -> Vec<String> {
        let mut lines = block("answer", self.headers.iter().map(Header::line));
        let extent = match self.body_extent.as_str() {
            "truncated" => " (more came; the first 16 KiB are kept)",
            "cut_off" => " (still coming when the time limit ran out)",
            _ => "",
        };
        let first = if lines.is_empty() { "answer" } else { "" };
        if self.body_extent == "expired" {
            lines.extend(block(first, ["body: not kept any more".to_owned()]));
        } else if self.body.is_empty() {
            lines.extend(block(first, [format!("no body{extent}")]));
        } else if self.body_encoding == "base64" {
            lines.extend(block(
                first,
                [format!("body: not text, in base64{extent}: {}", shortened(&self.body))],
            ));
        } else {
            lines.extend(block(first, [format!("body{extent}:")]));
            lines.extend(block("", excerpt_lines(&self.body)));
        }
        lines
    }
}

impl Header {
    /// As the server tells it: secrets are masked there.
    fn line(&self) -> String {
        format!("{}: {}", printable(&self.name), printable(&self.value))
    }
}

impl Timings {
    /// From the start of the try to the end of each part; `None` where nothing is known but the total.
    fn parts(&self) -> Option<String> {
        let parts = [
            ("dns", self.dns_ms),
            ("connect", self.connect_ms),
            ("tls", self.tls_ms),
            ("first byte", self.first_byte_ms),
        ];
        let known: Vec<String> =
            parts.iter().filter_map(|(name, at)| Some(format!("{name} {}", milliseconds((*at)?)))).collect();
        (!known.is_empty()).then(|| format!("{}, end {}", known.join(", "), milliseconds(self.total_ms)))
    }
}

/// Lines with a label before the first.
fn block(label: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    lines.into_iter().zip(labels).map(|(line, label)| format!("    {label:<10}{line}")).collect()
}

fn excerpt_lines(body: &str) -> Vec<String> {
    let (mut lines, is_whole) = excerpt(body, EXCERPT_LINES, EXCERPT_WIDTH);
    if !is_whole {
        lines.push("… (--output json shows all of it)".to_owned());
    }
    lines
}

fn shortened(text: &str) -> String {
    let (lines, _) = excerpt(text, 1, EXCERPT_WIDTH);
    lines.concat()
}

/// To the millisecond: `2026-11-21 09:30:00.123`.
pub(super) fn precise(time: &str) -> String {
    match (time.get(..10), time.get(11..23)) {
        (Some(day), Some(time_of_day)) => printable(&format!("{day} {time_of_day}")),
        _ => printable(time),
    }
}

fn milliseconds(value: f64) -> String {
    if value >= 1_000.0 { format!("{:.2} s", value / 1_000.0) } else { format!("{value:.1} ms") }
}

/// For the tail: one line for each change.
pub(super) fn changed_line(delivery: &Delivery, now: &str, screen: &Screen) -> String {
    let status = format!("{:<9}", printable(&delivery.status));
    let status = screen.paint(hue_of(&delivery.status), &status);
    let time = screen.paint(Some(Hue::Grey), now.get(11..19).unwrap_or(now));
    let (id, event_type) = (printable(&delivery.id), printable(&delivery.event_type));
    format!("{time}  {status}  {id}  {event_type}  {}", delivery.standing())
}
