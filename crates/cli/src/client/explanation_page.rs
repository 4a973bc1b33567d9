//! An explanation for people: each webhook with its request as it would be written, or why it does not get the event.

use serde::Deserialize;

use crate::table::{Hue, Screen, excerpt, printable};

/// Of a request's body; `--output json` has all of it.
const BODY_LINES: usize = 40;
const BODY_WIDTH: usize = 2_000;

/// `POST /v1/events/explain`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Explained {
    event: Event,
    matched: u64,
    schema_warnings: Vec<Refused>,
    refused_by_schema: bool,
    signed: bool,
    webhooks: Vec<Webhook>,
    left_off: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    id: String,
    r#type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Webhook {
    webhook_id: String,
    name: String,
    kind: String,
    profile: String,
    matches: bool,
    reasons: Vec<Reason>,
    refused: Option<Refused>,
    held: Option<String>,
    request: Option<Request>,
    problem: Option<String>,
    of_the_moment: Vec<Changed>,
    template_gaps: Vec<Gap>,
    missing_macros: Vec<String>,
    tries: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    detail: String,
    terms: Vec<Term>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Term {
    pointer: String,
    field: Option<String>,
    detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    /// Into the event.
    pointer: String,
    detail: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    method: String,
    url: String,
    target: String,
    headers: Vec<Header>,
    body: Option<String>,
    body_bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    name: String,
    value: String,
    masked: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Changed {
    cause: String,
    headers: Vec<String>,
    query: bool,
    body: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gap {
    variable: String,
}

impl Explained {
    pub(super) fn lines(&self, screen: &Screen) -> Vec<String> {
        let (id, event_type) = (printable(&self.event.id), printable(&self.event.r#type));
        let told = self.webhooks.len();
        let all = u64::try_from(told).unwrap_or(u64::MAX).saturating_add(self.left_off);
        let mut lines =
            vec![format!("{id}  {event_type}: goes to {} of {all} webhooks; nothing was sent", self.matched)];
        if self.refused_by_schema {
            lines.push(
                screen.paint(Some(Hue::Red), "refused: it is not as its type is described").to_string(),
            );
        } else if !self.schema_warnings.is_empty() {
            lines.push("accepted, though it is not as its type is described".to_owned());
        }
        lines.extend(self.schema_warnings.iter().map(Refused::line));
        if !self.signed {
            lines.push("signatures are left out: this key may not publish".to_owned());
        }
        for webhook in &self.webhooks {
            lines.push(String::new());
            lines.extend(webhook.lines(screen));
        }
        if self.left_off > 0 {
            lines.push(String::new());
            lines.push(format!("… and {} more webhooks (--webhook ID tells of one)", self.left_off));
        }
        lines
    }
}

impl Refused {
    fn line(&self) -> String {
        format!("    {} {}", printable(&self.pointer), printable(&self.detail))
    }
}

impl Webhook {
    fn lines(&self, screen: &Screen) -> Vec<String> {
        let (word, hue) = match (self.matches, &self.refused) {
            (_, Some(_)) => ("refuses the whole event", Hue::Red),
            (true, None) => ("gets it", Hue::Green),
            (false, None) => ("does not get it", Hue::Yellow),
        };
        let [id, name, kind, profile] =
            [&self.webhook_id, &self.name, &self.kind, &self.profile].map(|text| printable(text));
        let mut lines =
            vec![format!("{id}  {name}  ({kind}, profile {profile})  {}", screen.paint(Some(hue), word))];
        lines.extend(self.reasons.iter().flat_map(Reason::lines));
        lines.extend(self.refused.iter().map(Refused::line));
        lines
            .extend(self.problem.iter().map(|problem| format!("    cannot be sent: {}", printable(problem))));
        if let Some(request) = &self.request {
            lines.push(format!("    to {}", printable(&request.url)));
            lines.push(String::new());
            lines.extend(request.lines());
            lines.push(String::new());
        }
        lines.extend(self.held.iter().map(|why| format!("    waits first: {}", printable(why))));
        lines.extend(self.of_the_moment.iter().map(Changed::line));
        let nothing = self.missing_macros.iter().chain(self.template_gaps.iter().map(|gap| &gap.variable));
        lines.extend(nothing.map(|name| format!("    no value for {}", printable(name))));
        if !self.tries.is_empty() {
            let tries: Vec<String> = self.tries.iter().map(|time| printable(time)).collect();
            lines.push(format!("    tries, while each fails: {}", tries.join(", ")));
        }
        lines
    }
}

impl Reason {
    fn lines(&self) -> Vec<String> {
        let terms = self.terms.iter().map(|term| {
            let field =
                term.field.as_deref().map(|field| format!("{} ", printable(field))).unwrap_or_default();
            format!("        {}: {field}{}", printable(&term.pointer), printable(&term.detail))
        });
        std::iter::once(format!("    {}", printable(&self.detail))).chain(terms).collect()
    }
}

impl Request {
    fn lines(&self) -> Vec<String> {
        let (method, target) = (printable(&self.method), printable(&self.target));
        let mut lines = vec![format!("    {method} {target} HTTP/1.1")];
        lines.extend(self.headers.iter().map(|header| {
            let masked = if header.masked { "  (masked)" } else { "" };
            format!("    {}: {}{masked}", printable(&header.name), printable(&header.value))
        }));
        match &self.body {
            Some(body) if body.is_empty() => {}
            Some(body) => {
                let (text, is_whole) = excerpt(body, BODY_LINES, BODY_WIDTH);
                lines.push(String::new());
                lines.extend(text.iter().map(|line| format!("    {line}")));
                lines.extend((!is_whole).then(|| "    … (--output json shows all of it)".to_owned()));
            }
            None => lines.push(format!("    (a body of {} bytes)", self.body_bytes)),
        }
        lines
    }
}

impl Changed {
    fn line(&self) -> String {
        let cause = match self.cause.as_str() {
            "event_id" => "another id of the event",
            "accepted_at" => "another time of acceptance",
            "tried_at" => "another time of the try",
            "attempt_number" => "a later try",
            other => other,
        };
        let headers = self.headers.iter().map(|name| printable(name));
        let query = self.query.then(|| "the query".to_owned());
        let body = self.body.then(|| "the body".to_owned());
        let parts: Vec<String> = headers.chain(query).chain(body).collect();
        format!("    {} would change {}", printable(cause), parts.join(", "))
    }
}
