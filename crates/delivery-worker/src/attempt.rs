//! One try: sign, send, and write down what was sent and what came back.

use std::sync::Arc;

use http::Method;
use postrider_contract::attempt::{Attempt, AttemptResult, FailureClass, Header, SentRequest, Timings};
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::delivery::{Delivery, TooLong};
use postrider_contract::ids::AttemptId;
use postrider_contract::postback::{MAX_FILLED_FORM, MAX_FILLED_QUERY};
use postrider_service::failpoint::{InjectedFailure, hit};
use postrider_service::webhook_requests::{TryRequest, UnwritableRequest};
use sha2::{Digest, Sha256};

use crate::client::{LocalShortage, OutgoingRequest, Transport};
use crate::prepared::Prepared;

/// Why no try was made. It does not count.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    #[error(transparent)]
    Shortage(#[from] LocalShortage),
    #[error(transparent)]
    Unwritable(#[from] UnwritableRequest),
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
        let requests = &prepared.requests;
        let request = requests.of_try(delivery, started_at, &requests.signing_keys(started_at))?;
        let case = prepared.header_case(&request);
        let TryRequest { method, target, headers, body, shown } = request;
        let outgoing = OutgoingRequest {
            endpoint: Arc::clone(&prepared.endpoint),
            method: method.clone(),
            target,
            headers,
            case,
            body,
            time_limit: requests.time_limit,
        };
        hit("attempt.before_send")?;
        let exchange = self.transport.call(outgoing).await?;
        hit("attempt.after_send")?;
        Ok(Attempt {
            id: AttemptId::draw(started_at, self.entropy.as_ref()),
            number: delivery.position.attempt,
            started_at,
            request: sent_request(delivery, prepared, &method, shown),
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
        let method = prepared.requests.method_of(delivery);
        Attempt {
            id: AttemptId::draw(started_at, self.entropy.as_ref()),
            number: delivery.position.attempt,
            started_at,
            request: sent_request(delivery, prepared, &method, Vec::new()),
            address: None,
            timings: Timings::default(),
            result: AttemptResult::Failure { class: FailureClass::Protocol, detail },
        }
    }
}

/// What the log shows: credentials masked, the path of the URL too, since for some receivers it is one.
fn sent_request(
    delivery: &Delivery,
    prepared: &Prepared,
    method: &Method,
    headers: Vec<Header>,
) -> SentRequest {
    SentRequest {
        method: method.as_str().to_owned(),
        url: prepared.entry().webhook.url.display_masked(),
        headers,
        body_sha256: Sha256::digest(&delivery.body).into(),
        body_length: u64::try_from(delivery.body.len()).unwrap_or(u64::MAX),
    }
}
