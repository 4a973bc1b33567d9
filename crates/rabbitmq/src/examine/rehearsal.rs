//! Doing what Postrider does, once, on queues of its own that the broker deletes by itself.

use std::time::Duration;

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use postrider_contract::finding::Finding;
use tokio::time::{Instant, timeout};

use crate::error::TopologyError;
use crate::settings::Settings;
use crate::topology::close;

/// The same limit that ingest has before it answers 503.
const CONFIRM: Duration = Duration::from_secs(5);
/// Confirms of a durable publish usually take 1 to 50 ms.
const SLOW_CONFIRM: Duration = Duration::from_millis(250);
/// What is due comes out of a lane within some 10 ms.
const WAY_OUT: Duration = Duration::from_secs(10);
/// Long enough to tell a lane that hands back 2,000 a second from one that hands back 15,000.
const RETRIES: u32 = 3_000;
const LANE: Duration = Duration::from_secs(60);
/// How many due retries a second a lane should at least hand back.
const ENOUGH: f64 = 6_000.0;
/// If this process dies meanwhile, the broker deletes the queues after this, in milliseconds.
const FORGOTTEN_AFTER: i64 = 120_000;
const LOOK: Duration = Duration::from_millis(20);
const PERSISTENT: u8 = 2;

/// One durable publish, from here to a majority of disks.
pub(super) async fn publish(settings: &Settings, connection: &Connection) -> Finding {
    const SUBJECT: &str = "broker.confirm";
    let queue = format!("{}.doctor.publish", settings.prefix);
    let rehearsed = timeout(CONFIRM * 2, async {
        let channel = open(connection, &[(&queue, arguments(&[]))]).await?;
        let begun = Instant::now();
        let confirmed = timeout(CONFIRM, publish_one(&channel, &queue)).await;
        let took = begun.elapsed();
        if let Ok(Ok(_)) = confirmed {
            drop_queues(&channel, &[&queue]).await?;
        }
        Ok::<_, lapin::Error>((confirmed, took))
    });
    match rehearsed.await {
        Ok(Ok((Ok(Ok(true)), took))) if took < SLOW_CONFIRM => {
            Finding::well(SUBJECT, format!("a durable publish was confirmed in {took:.1?}"))
        }
        Ok(Ok((Ok(Ok(true)), took))) => Finding::warning(
            SUBJECT,
            format!("a durable publish was confirmed in {took:.1?}"),
            "every 202 waits for this: look at the broker's disks and at what else runs there",
        ),
        Ok(Ok((Ok(Ok(false)), _))) => {
            Finding::fault(SUBJECT, "the broker refuses a publish", "look at the broker's log")
        }
        Ok(Ok((Ok(Err(error)), _)) | Err(error)) => {
            Finding::unknown(SUBJECT, error.to_string(), "this user may need the right to configure queues")
        }
        Ok(Ok((Err(_), _))) | Err(_) => Finding::fault(
            SUBJECT,
            format!("a durable publish was not confirmed within {CONFIRM:?}"),
            "the broker is out of memory or disk (an alarm), or a majority of brokers is down",
        ),
    }
}

/// Whether a retry comes out of a lane at all.
pub(super) async fn way_out(settings: &Settings, connection: &Connection) -> Finding {
    const SUBJECT: &str = "broker.lanes";
    const ADVICE: &str = "retries wait until they are overdue: docs/operations.md, \"When something is wrong\", says \
                          what brings the broker's helpers back";
    match timeout(WAY_OUT, pass_through(settings, connection, 1)).await {
        Ok(Ok(took)) => Finding::well(SUBJECT, format!("a retry came out of a lane after {took:.1?}")),
        Ok(Err(error)) => match TopologyError::from(error) {
            TopologyError::Mismatch(reason) | TopologyError::Missing(reason) => {
                Finding::unknown(SUBJECT, reason, "this user may need the right to configure queues")
            }
            error @ (TopologyError::Failed(_) | TopologyError::Stumbled(_) | TopologyError::NoAnswer(_)) => {
                Finding::fault(SUBJECT, format!("a lane cannot be made or used: {error}"), ADVICE)
            }
        },
        Err(_) => Finding::fault(SUBJECT, format!("no retry came out of a lane within {WAY_OUT:?}"), ADVICE),
    }
}

/// How fast due retries come out of a lane.
pub(super) async fn lane(settings: &Settings, connection: &Connection) -> Finding {
    const SUBJECT: &str = "broker.lane_rate";
    let passed = timeout(LANE, pass_through(settings, connection, RETRIES)).await;
    match passed.map(|passed| passed.map(|took| f64::from(RETRIES) / took.as_secs_f64())) {
        Ok(Ok(rate)) if rate >= ENOUGH => {
            Finding::well(SUBJECT, format!("a lane handed back {rate:.0} retries a second"))
        }
        Ok(Ok(rate)) => Finding::warning(
            SUBJECT,
            format!("a lane handed back {rate:.0} retries a second"),
            "many retries due at once will be late: use the advanced.config in deploy/rabbitmq",
        ),
        Ok(Err(error)) => {
            Finding::unknown(SUBJECT, error.to_string(), "this user may need the right to configure queues")
        }
        Err(_) => Finding::fault(
            SUBJECT,
            format!("{RETRIES} retries did not pass a lane within {LANE:?}"),
            "look at the broker's log and at its load",
        ),
    }
}

/// Parks so many messages that are due at once, and answers how long it took until all had arrived behind the lane.
async fn pass_through(
    settings: &Settings,
    connection: &Connection,
    retries: u32,
) -> Result<Duration, lapin::Error> {
    let (parked, due) =
        (&format!("{}.doctor.lane", settings.prefix), &format!("{}.doctor.due", settings.prefix));
    let lane = arguments(&[
        ("x-message-ttl", AMQPValue::LongLongInt(1)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(due)),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]);
    let channel = open(connection, &[(due, arguments(&[])), (parked, lane)]).await?;
    let begun = Instant::now();
    try_join_all((0..retries).map(|_| publish_one(&channel, parked))).await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    loop {
        let found = channel.queue_declare(due.as_str().into(), passive, FieldTable::default()).await?;
        if found.message_count() >= retries {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = begun.elapsed();
    drop_queues(&channel, &[parked, due]).await?;
    Ok(took)
}

/// A channel with confirms, and the queues anew.
async fn open(connection: &Connection, queues: &[(&str, FieldTable)]) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for (name, arguments) in queues {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_delete((*name).into(), QueueDeleteOptions::default()).await?;
        channel.queue_declare((*name).into(), options, arguments.clone()).await?;
    }
    Ok(channel)
}

async fn drop_queues(channel: &Channel, queues: &[&str]) -> Result<(), lapin::Error> {
    for name in queues {
        channel.queue_delete((*name).into(), QueueDeleteOptions::default()).await?;
    }
    close(channel).await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "to a queue of its own, confirmed right here")]
async fn publish_one(channel: &Channel, queue: &str) -> Result<bool, lapin::Error> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let published = channel.basic_publish("".into(), queue.into(), options, b"doctor", properties).await?;
    Ok(matches!(published.await?, Confirmation::Ack(None)))
}

fn arguments(own: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert("x-queue-type".into(), text("quorum"));
    table.insert("x-overflow".into(), text("reject-publish"));
    table.insert("x-expires".into(), AMQPValue::LongLongInt(FORGOTTEN_AFTER));
    for (name, value) in own {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
