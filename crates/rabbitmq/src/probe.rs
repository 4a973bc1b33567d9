//! Whether the broker takes publishes.
//!
//! It tells a connection that it is short of memory or disk when that next publishes, and not before: one that is new, or
//! had nothing to publish for a while, would not know, and a worker would send what it cannot record. So it is asked
//! again and again, by a message that goes nowhere.

use std::pin::Pin;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use tokio::time::{Instant, timeout_at};

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
}

impl Probe {
    pub async fn open(live: &Live, exchange: String) -> Result<Self, TopologyError> {
        Ok(Probe { channel: open_confirming(live).await?, exchange, asked: None })
    }

    /// Waits until it is known: an answer has come, or the connection is blocked.
    pub async fn first_answer(&mut self, live: &Live, within: Duration) -> Result<(), TopologyError> {
        let deadline = Instant::now() + within;
        let mut look = tokio::time::interval(LOOK);
        while !live.is_blocked() {
            tokio::select! {
                answer = timeout_at(deadline, self.answer()) => {
                    return answer.map_err(|_| TopologyError::NoAnswer(within))?.map_err(TopologyError::from);
                }
                _ = look.tick() => {}
            }
        }
        Ok(())
    }

    /// Asks again after a while, and comes when the answer does; it may be dropped before and called again.
    pub async fn next_answer(&mut self) -> lapin::Result<()> {
        if self.asked.is_none() {
            tokio::time::sleep(EVERY).await;
        }
        self.answer().await
    }

    async fn answer(&mut self) -> lapin::Result<()> {
        let asked = self.asked.get_or_insert_with(|| ask(self.channel.clone(), self.exchange.clone()));
        let answer = asked.await;
        self.asked = None;
        answer
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
