//! How the headers of two requests differ: which there are, how they are written, what they hold, in which order.

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::pattern::{Pattern, Variable};
use postrider_contract::profile::is_framing_header;
use postrider_contract::webhook::WebhookKind;
use postrider_service::webhook_requests::{is_framed, with_form};

use super::body::first_difference;
use super::{Difference, Expected, Place};
use crate::capture::{CapturedRequest, HeaderNames};
use crate::shown_header::shown_value;

/// `made` are the profile's and the signature's; `unknown` the variables that the captured request does not tell.
pub(super) fn differences(
    expected: &Expected,
    captured: &CapturedRequest,
    made: Vec<Header>,
    unknown: &[String],
) -> Vec<Difference> {
    let ours = on_the_wire(expected, captured, made);
    let mut found = Vec::new();
    let mut order = Vec::new();
    for header in &ours {
        match captured.header(&header.name) {
            None => found.push(missing(expected, header, unknown)),
            Some(theirs) => found.extend(differing(theirs, header, captured.names)),
        }
    }
    for (index, theirs) in captured.headers.iter().enumerate() {
        let is_same = |header: &Header| header.name.eq_ignore_ascii_case(&theirs.name);
        let place_of_ours = ours.iter().position(is_same);
        let is_second = captured.headers[..index].iter().any(is_same);
        match place_of_ours {
            Some(place) if !is_second => order.push(place),
            Some(_) | None => found.push(extra(expected, theirs)),
        }
    }
    if !order.is_sorted() {
        let names = |order: &[usize]| {
            let names: Vec<&str> = order.iter().map(|place| &*ours[*place].name).collect();
            Some(names.join(", "))
        };
        let theirs = names(&order);
        order.sort_unstable();
        let detail = "the headers stand in another order".to_owned();
        found.push(Difference { place: Place::HeaderOrder, captured: theirs, ours: names(&order), detail });
    }
    found
}

/// Every header of the request in the order in which it is written. `Content-Length` is that of the captured body:
/// what another body means for it needs no saying.
fn on_the_wire(expected: &Expected, captured: &CapturedRequest, made: Vec<Header>) -> Vec<Header> {
    let header = |name: &str, value: String| Header { name: name.into(), value: Bytes::from(value) };
    let url = expected.url.clone().or_else(|| WebhookUrl::from_stored(&captured.url).ok());
    let host = url.map(|url| header("Host", url.authority().to_owned()));
    let length = header("Content-Length", captured.body.len().to_string());
    // HTTP/2 says both in other ways.
    let (host, length) = match captured.names {
        HeaderNames::AsSent => (host, is_framed(expected.method(), &captured.body).then_some(length)),
        HeaderNames::OfHttp2 => (None, None),
    };
    let made = match expected.webhook.kind {
        WebhookKind::Webhook => made,
        WebhookKind::Postback => with_form(made, &captured.body),
    };
    let is_made = |own: &Header| made.iter().any(|header| header.name.eq_ignore_ascii_case(&own.name));
    let own: Vec<Header> = expected.own_headers.iter().filter(|own| !is_made(own)).cloned().collect();
    host.into_iter().chain(made).chain(own).chain(length).collect()
}

fn differing(theirs: &Header, ours: &Header, names: HeaderNames) -> Option<Difference> {
    let is_named_otherwise = names == HeaderNames::AsSent && theirs.name != ours.name;
    let is_same_value = theirs.value == ours.value;
    let at = || first_difference(&theirs.value, &ours.value);
    let (captured, written, detail) = match (is_named_otherwise, is_same_value) {
        (false, true) => return None,
        (true, true) => {
            (theirs.name.to_string(), ours.name.to_string(), "the name is written otherwise".to_owned())
        }
        (false, false) => {
            let detail = format!("differs from byte {} on", at());
            (shown_value(theirs), shown_value(ours), detail)
        }
        (true, false) => {
            let line = |header: &Header| format!("{}: {}", header.name, shown_value(header));
            let detail =
                format!("the name is written otherwise, and the value differs from byte {} on", at());
            (line(theirs), line(ours), detail)
        }
    };
    let place = Place::Header(ours.name.to_string());
    Some(Difference { place, captured: Some(captured), ours: Some(written), detail })
}

/// What it would hold, by its pattern where the captured request does not tell.
fn missing(expected: &Expected, ours: &Header, unknown: &[String]) -> Difference {
    let own = &expected.profile.definition().request.headers;
    let pattern = own.iter().find(|header| header.name.is(&ours.name)).map(|header| &header.value);
    let shown = match pattern {
        Some(pattern) if is_unknown(pattern, unknown) => pattern.to_string(),
        Some(_) | None => shown_value(ours),
    };
    let (place, detail) = (Place::Header(ours.name.to_string()), "only Postrider sends it".to_owned());
    Difference { place, captured: None, ours: Some(shown), detail }
}

fn is_unknown<V: Variable>(pattern: &Pattern<V>, unknown: &[String]) -> bool {
    pattern.variables().any(|variable| unknown.iter().any(|name| name == variable.name()))
}

fn extra(expected: &Expected, theirs: &Header) -> Difference {
    let is_of_http = is_framing_header(&theirs.name);
    let detail = if is_of_http {
        "Postrider frames its requests without it"
    } else if expected.profile.owns_header(&theirs.name) {
        "is there twice"
    } else {
        "Postrider does not send it; a webhook may, as a header of its own (--header)"
    };
    let (place, detail) = (Place::Header(theirs.name.to_string()), detail.to_owned());
    Difference { place, captured: Some(shown_value(theirs)), ours: None, detail }
}
