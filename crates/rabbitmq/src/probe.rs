//! Whether the broker takes publishes.
//!
//! It tells a connection that it is short of memory or disk when that next publishes, and not before: one that is new, or
//! had nothing to publish for a while, would not know, and a worker would send what it cannot record. So it is asked
//! again and again, by a message that goes nowhere. Where that cannot be published (the exchange is not there yet, or is not
//! ours to write to) nothing more is asked, and nobody is the worse for it: what is published tells.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use tokio::time::Instant;

use crate::connection::Live;
use crate::error::TopologyError;
use crate::line::open_confirming;

/// How long after an answer it is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at while a first answer is awaited.
const LOOK: Duration = Duration::from_millis(10);
/// No queue is bound by it, so that the message is confirmed and dropped.
const NOWHERE: &str = "nowhere";

type Answer = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// A channel of one's own for the question.
pub(crate) struct Probe {
    channel: Channel,
    exchange: String,
    asked: Option<Answer>,
    is_given_up: bool,
}

impl Probe {
    pub async fn open(live: &Live, exchange: String) -> Result<Self, TopologyError> {
        Ok(Probe { channel: open_confirming(live).await?, exchange, asked: None, is_given_up: false })
    }

    /// Waits until it is known: an answer has come, or the connection is blocked.
    pub async fn first_answer(&mut self, live: &Live, within: Duration) {
        let deadline = Instant::now() + within;
        let mut look = tokio::time::interval(LOOK);
        while !live.is_blocked() && Instant::now() < deadline {
            tokio::select! {
                () = self.answer() => return,
                _ = look.tick() => {}
            }
        }
    }

    /// Asks again after a while, for as long as it is waited for; it may be dropped and called again.
    pub async fn go_on(&mut self) -> Infallible {
        while !self.is_given_up {
            if self.asked.is_none() {
                tokio::time::sleep(EVERY).await;
            }
            self.answer().await;
        }
        std::future::pending().await
    }

    async fn answer(&mut self) {
        let asked = self.asked.get_or_insert_with(|| ask(self.channel.clone(), self.exchange.clone()));
        let answer = asked.await;
        self.asked = None;
        if let Err(error) = answer {
            tracing::debug!(%error, "cannot ask whether the broker takes publishes");
            self.is_given_up = true;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing is published: it goes nowhere")]
fn ask(channel: Channel, exchange: String) -> Answer {
    let options = BasicPublishOptions { mandatory: false, immediate: false };
    Box::pin(async move {
        let properties = BasicProperties::default();
        channel
            .basic_publish(exchange.into(), NOWHERE.into(), options, &[], properties)
            .await?
            .await
            .map(drop)
    })
}
