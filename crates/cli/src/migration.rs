//! What Postrider would send in place of a captured request, and how the two differ: the proof of a migration.
//!
//! The event is the one that was given with the request, or it is read back out of it by the profile's own patterns:
//! its id, type, time and data from where the envelope and the headers hold them. From it the request is made by the
//! code that makes deliveries, and compared byte for byte. What is of the moment (the time that is signed, the ids of
//! the delivery) is put in as it was captured, if it has the form that it has here, and is named. The signature is made
//! over the captured body, so that it is proved apart from how the body differs.

mod body;
mod headers;
mod json_spans;
mod own_form;
mod place;
mod recovering;
mod signing;
mod skeleton;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::ids::{TenantId, duplicate_key};
use postrider_contract::profile::{CompiledProfile, ProfileOverride};
use postrider_contract::query_string::{encoded_pair, with_pair, without_parameter};
use postrider_contract::signature::{Covered, RequestContext, SigningKey, signed_request};
use postrider_contract::webhook::{Webhook, WebhookKind};

use crate::capture::{CapturedRequest, HeaderNames};

pub use place::Place;
pub use signing::SignatureFound;

use own_form::Rendering;
use recovering::Recovered;
use signing::SignaturePlace;

/// What the requests are compared with.
#[derive(Clone, Debug)]
pub struct Expected {
    pub profile: Arc<CompiledProfile>,
    pub overrides: ProfileOverride,
    /// Newest first; none where the secret is not known.
    pub keys: Vec<SigningKey>,
    /// The webhook's; absent: the captured one.
    pub url: Option<WebhookUrl>,
    /// Of the webhook itself, its authentication included.
    pub own_headers: Vec<Header>,
    /// Says what is sent in place of the profile's envelope, if anything is; nothing else of it counts.
    pub webhook: Webhook,
    pub brand: Brand,
}

/// The tenant, as far as requests do not tell it.
#[derive(Clone, Debug, Default)]
pub struct Brand {
    pub id: Option<TenantId>,
    pub name: Option<String>,
    pub website: Option<String>,
}

/// One thing that a receiver could tell the two senders apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub place: Place,
    /// Absent: it is not in the captured request.
    pub captured: Option<String>,
    /// Absent: Postrider does not send it.
    pub ours: Option<String>,
    pub detail: String,
}

/// A part of the moment, put in as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// As a pattern names it: `timestamp`, `delivery.duplicate_key`.
    pub variable: &'static str,
    pub text: String,
    pub place: Place,
}

/// What the comparison of one request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub differences: Vec<Difference>,
    pub taken: Vec<Taken>,
    pub signature: SignatureFound,
    /// What is no difference, and worth knowing.
    pub notes: Vec<String>,
}

impl Expected {
    /// Compares a captured request with what would be sent in its place.
    #[must_use]
    pub fn compare(&self, captured: &CapturedRequest) -> Compared {
        let Recovered { event, is_event_known, tenant, moment, mut differences, taken, unknown, mut notes } =
            recovering::recover(self, captured);
        let context = RequestContext {
            delivery: moment.delivery,
            attempt: moment.attempt,
            ..RequestContext::of_event(&event, &tenant.id, moment.webhook, moment.sent_at)
        };
        let (profile, overrides) = (&self.profile, &self.overrides);
        let place = SignaturePlace::of(self);
        let query = place.map_or_else(Cow::default, |place| place.signed_query(captured));
        let covered = Covered { query: &query, body: &captured.body };
        let mut made = signed_request(profile, overrides, &context, covered, &self.keys);
        let signature = signing::examine(self, captured, &context, &mut made);
        let mut made = made.headers;
        if let SignatureFound::Wrong(difference) = &signature {
            add(&mut differences, difference.clone());
        }
        let webhook = Webhook { id: moment.webhook, ..self.registered(captured) };
        let mut rendered = if is_event_known {
            own_form::render(&webhook, profile, &event, &tenant)
        } else {
            Rendering::unknown(&webhook)
        };
        if let Some(key) = &moment.duplicate_key {
            let ours = duplicate_key(&event.id, moment.webhook);
            for header in &mut made {
                header.value = replaced(&header.value, &ours, key);
            }
            rendered.body = rendered.body.map(|body| replaced(&body, &ours, key));
        }
        if let Some(difference) = rendered.unsendable {
            add(&mut differences, difference);
        }
        self.compare_line(captured, rendered.url, &mut differences);
        for difference in headers::differences(self, captured, made, &unknown) {
            add(&mut differences, difference);
        }
        for difference in rendered.body.iter().flat_map(|body| body::differences(&captured.body, body)) {
            add(&mut differences, difference);
        }
        if captured.names == HeaderNames::OfHttp2 {
            notes.push("captured over HTTP/2, which does not tell the case of headers' names".to_owned());
        }
        differences.sort_by(|one, other| one.place.cmp(&other.place));
        Compared { differences, taken, signature, notes }
    }

    /// The webhook with the captured URL where it has none here.
    fn registered(&self, captured: &CapturedRequest) -> Webhook {
        let url = self.url.clone().or_else(|| WebhookUrl::from_stored(&self.unsigned(captured)).ok());
        Webhook { url: url.unwrap_or_else(|| self.webhook.url.clone()), ..self.webhook.clone() }
    }

    /// The captured URL without the signature, if it stands there, and without a fragment.
    fn unsigned(&self, captured: &CapturedRequest) -> String {
        let url = captured.url.split('#').next().unwrap_or_default();
        let signature = self.profile.signature_parameter();
        signature.map_or_else(|| url.to_owned(), |name| without(url, name.as_str()))
    }

    fn method(&self) -> &str {
        match self.webhook.kind {
            WebhookKind::Webhook => self.profile.definition().request.method.as_str(),
            WebhookKind::Postback => self.webhook.postback.method.as_str(),
        }
    }

    /// Method and URL; `filled` is a postback's.
    fn compare_line(
        &self,
        captured: &CapturedRequest,
        filled: Option<WebhookUrl>,
        differences: &mut Vec<Difference>,
    ) {
        let method = self.method();
        if captured.method != method {
            let detail = "another method".to_owned();
            let (theirs, ours) = (Some(captured.method.clone()), Some(method.to_owned()));
            add(differences, Difference { place: Place::Method, captured: theirs, ours, detail });
        }
        let captured_url = captured.url.split('#').next().unwrap_or_default();
        let registered = filled.or_else(|| self.url.clone());
        let registered = registered.map_or_else(|| WebhookUrl::from_stored(&self.unsigned(captured)), Ok);
        // Where the signature stands in the query it is compared by itself: here, that it is the last there.
        let sent = |url: &str| match SignaturePlace::of(self) {
            Some(place @ SignaturePlace::Parameter(name)) => {
                place.captured_text(captured).map_or_else(|| url.to_owned(), |text| signed(url, name, &text))
            }
            Some(SignaturePlace::Header(_)) | None => url.to_owned(),
        };
        let differing = |ours: Option<String>, detail: String| Difference {
            place: Place::Url,
            captured: Some(captured.url.clone()),
            ours,
            detail,
        };
        match registered {
            Err(error) => {
                add(differences, differing(None, format!("cannot be a webhook's URL: {error}")));
            }
            Ok(url) if sent(url.as_str()) == captured_url => {}
            // A URL of nothing but a host means its root, to every sender.
            Ok(url) if url.path_and_query() == "/" && url.as_str() == format!("{captured_url}/") => {}
            Ok(url) => {
                let ours = sent(url.as_str());
                let first = body::first_difference(captured_url.as_bytes(), ours.as_bytes());
                let detail = format!("written otherwise from byte {first} on");
                add(differences, differing(Some(ours), detail));
            }
        }
    }
}

/// Where something was found out already, what follows from it is not told again.
fn add(differences: &mut Vec<Difference>, difference: Difference) {
    if !differences.iter().any(|known| known.place == difference.place) {
        differences.push(difference);
    }
}

/// A URL with one more parameter behind its query.
fn signed(url: &str, name: &str, value: &str) -> String {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    format!("{before}?{}", with_pair(query, &encoded_pair(name, value)))
}

/// A URL without any parameter of this name.
fn without(url: &str, name: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let query = without_parameter(query, name);
    if query.is_empty() { before.to_owned() } else { format!("{before}?{query}") }
}

fn replaced(bytes: &Bytes, from: &str, to: &str) -> Bytes {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(from) => Bytes::from(text.replace(from, to)),
        Ok(_) | Err(_) => bytes.clone(),
    }
}

#[cfg(test)]
mod tests;
