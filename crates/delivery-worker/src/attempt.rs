//! One try: sign, send, and write down what was sent and what came back.

use std::sync::Arc;

use bytes::Bytes;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_contract::attempt::{Attempt, AttemptResult, FailureClass, Header, SentRequest, Timings};
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::delivery::{Delivery, TooLong};
use postrider_contract::ids::AttemptId;
use postrider_contract::postback::{MAX_FILLED_FORM, MAX_FILLED_QUERY};
use postrider_contract::signature::{RequestContext, request_headers};
use postrider_contract::webhook::WebhookKind;
use postrider_service::failpoint::{InjectedFailure, hit};
use sha2::{Digest, Sha256};

use crate::client::{LocalShortage, OutgoingRequest, Transport};
use crate::prepared::Prepared;

/// Why no try was made. It does not count.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    #[error(transparent)]
    Shortage(#[from] LocalShortage),
    #[error("header {name} cannot be written")]
    Header { name: String },
    #[error("the path and query cannot be written in a request")]
    Target,
    #[error(transparent)]
    Injected(#[from] InjectedFailure),
}

/// Makes tries.
pub struct Attempter {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Attempter {
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Attempter { transport, clock, entropy }
    }

    #[must_use]
    pub fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Makes the delivery's next try. Signature and timestamp are of this moment, the body is the delivery's.
    ///
    /// # Errors
    /// When nothing could be sent, for a reason that lies with us.
    pub async fn attempt(&self, delivery: &Delivery, prepared: &Prepared) -> Result<Attempt, NotTried> {
        let started_at = self.clock.now();
        let context = RequestContext::of(delivery, started_at);
        let entry = &prepared.entry;
        let keys = prepared.signing_keys(started_at);
        let profile = entry.profile.profile.as_ref();
        let mut made = request_headers(profile, &entry.webhook.overrides, &context, &delivery.body, &keys);
        if delivery.reference.kind == WebhookKind::Postback {
            name_form(&mut made, &delivery.body);
        }
        let (headers, shown) = wire_headers(prepared, made)?;
        let case = prepared.header_case(|| {
            let names = shown.iter().map(|header| &*header.name);
            ["Host"].into_iter().chain(names).chain(["Content-Length"]).collect()
        });
        let outgoing = OutgoingRequest {
            endpoint: Arc::clone(&prepared.endpoint),
            method: method_of(delivery, prepared),
            target: prepared.target_with(&delivery.query).ok_or(NotTried::Target)?,
            headers,
            case,
            body: delivery.body.clone(),
            time_limit: prepared.time_limit,
        };
        hit("attempt.before_send")?;
        let exchange = self.transport.call(outgoing).await?;
        hit("attempt.after_send")?;
        Ok(Attempt {
            id: AttemptId::draw(started_at, self.entropy.as_ref()),
            number: delivery.position.attempt,
            started_at,
            request: sent_request(delivery, prepared, shown),
            address: exchange.address,
            timings: exchange.timings,
            result: exchange.result,
        })
    }

    /// The try of a postback that is too long to be sent: nothing is.
    #[must_use]
    pub fn unsendable(&self, delivery: &Delivery, prepared: &Prepared, part: TooLong) -> Attempt {
        let started_at = self.clock.now();
        let (what, limit) = match part {
            TooLong::Query => ("query", MAX_FILLED_QUERY),
            TooLong::Form => ("form", MAX_FILLED_FORM),
        };
        let detail =
            format!("with its macros filled in, the {what} is longer than {limit} bytes; nothing was sent");
        Attempt {
            id: AttemptId::draw(started_at, self.entropy.as_ref()),
            number: delivery.position.attempt,
            started_at,
            request: sent_request(delivery, prepared, Vec::new()),
            address: None,
            timings: Timings::default(),
            result: AttemptResult::Failure { class: FailureClass::Protocol, detail },
        }
    }
}

/// A postback that was rendered with a form is a POST, also if its webhook was changed to GET meanwhile.
fn method_of(delivery: &Delivery, prepared: &Prepared) -> Method {
    let has_form = delivery.reference.kind == WebhookKind::Postback && !delivery.body.is_empty();
    if has_form { Method::POST } else { prepared.method.clone() }
}

/// A postback's content is its form, or nothing.
fn name_form(headers: &mut Vec<Header>, form: &[u8]) {
    headers.retain(|header| !header.name.eq_ignore_ascii_case("content-type"));
    if !form.is_empty() {
        let value = Bytes::from_static(b"application/x-www-form-urlencoded");
        headers.insert(0, Header { name: "Content-Type".into(), value });
    }
}

/// `Host`, what the profile makes, then the webhook's own; where two are of one name, the profile's. With them, what the
/// log shows of those that are sent: all but `Host`, in their order, credentials masked.
fn wire_headers(prepared: &Prepared, made: Vec<Header>) -> Result<(HeaderMap, Vec<Header>), NotTried> {
    let mut headers = HeaderMap::with_capacity(made.len() + prepared.own_headers.len() + 2);
    headers.insert(http::header::HOST, prepared.host.clone());
    for header in &made {
        let refused = || NotTried::Header { name: header.name.to_string() };
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| refused())?;
        let value = HeaderValue::from_maybe_shared(header.value.clone()).map_err(|_| refused())?;
        headers.insert(name, value);
    }
    let mut shown = made;
    for own in &prepared.own_headers {
        if let Entry::Vacant(place) = headers.entry(own.name.clone()) {
            place.insert(own.value.clone());
            shown.push(own.shown.clone());
        }
    }
    Ok((headers, shown))
}

/// What the log shows: the path of the URL masked too, since for some receivers it is a credential.
fn sent_request(delivery: &Delivery, prepared: &Prepared, headers: Vec<Header>) -> SentRequest {
    SentRequest {
        method: method_of(delivery, prepared).as_str().to_owned(),
        url: prepared.entry.webhook.url.display_masked(),
        headers,
        body_sha256: Sha256::digest(&delivery.body).into(),
        body_length: u64::try_from(delivery.body.len()).unwrap_or(u64::MAX),
    }
}
