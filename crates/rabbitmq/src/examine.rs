//! What an operator should know about the broker, found without changing anything of the installation.
//!
//! AMQP shows only a part: who may log in, the objects and their arguments, how much waits and whether somebody
//! reads it, whether a durable publish is confirmed. The rest (flags, alarms by name, partitions, the two settings
//! that decide about acknowledgements and lanes) is on the broker's machine; its own report tells it.

mod broker_report;
mod rehearsal;

use std::time::Duration;

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use postrider_contract::finding::Finding;
use tokio::time::{Instant, timeout};

use crate::connection::{Endpoint, Live};
use crate::error::{ConnectError, TopologyError};
use crate::settings::Settings;
use crate::topology::{QueueName, close};
use crate::verify::verify;
use crate::version::Version;

/// For each question to the broker. One whose quorum is lost answers nothing at all.
const QUESTION: Duration = Duration::from_secs(10);
/// Waiting tries or records from which on somebody should look why nobody gets through them: at the few thousand
/// a second that one process does, this is more than some seconds of work.
const LONG_QUEUE: u32 = 50_000;
/// The same of the journal, where a message holds up to 200 records.
const LONG_JOURNAL: u32 = 5_000;

/// How far to look.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// What `rabbitmqctl report` printed.
    pub report: Option<String>,
    /// Whether to send some thousand messages of one's own through a lane.
    pub lane_rehearsal: bool,
}

/// Looks at the broker from end to end. Never fails: what cannot be done is what was found.
pub async fn examine(settings: &Settings, examination: &Examination) -> Vec<Finding> {
    let mut findings = look(settings, examination).await;
    findings.extend(match &examination.report {
        Some(report) => broker_report::read(report),
        None => vec![Finding::unknown(
            "broker.settings",
            "flags, alarms, partitions, consumer time-out and dead-letter prefetch cannot be seen over AMQP",
            "run `rabbitmqctl report` on a broker and give its output to --broker-report",
        )],
    });
    findings
}

async fn look(settings: &Settings, examination: &Examination) -> Vec<Finding> {
    let endpoint = match Endpoint::new(settings) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![unreachable(&error)],
    };
    let mut findings = vec![match endpoint.ask_version().await {
        Ok(found) => {
            let reported = || examination.report.as_deref().and_then(broker_report::version);
            judge_version(&endpoint, found.or_else(reported))
        }
        Err(error) => return vec![unreachable(&error)],
    }];
    let begun = Instant::now();
    let live = match endpoint.connect_to_any("doctor", 0).await {
        Ok(connection) => Live::new(connection, "doctor", settings.timings.round_trip),
        Err(error) => {
            findings.push(unreachable(&error));
            return findings;
        }
    };
    let seen = format!("logged in at {} in {:.0?}", endpoint.address(), begun.elapsed());
    findings.push(Finding::well("broker.login", seen));
    findings.extend(look_at_objects(settings, &live).await);
    findings.extend(look_at_queues(settings, &live.connection).await);
    findings.push(rehearsal::publish(settings, &live.connection).await);
    findings.push(rehearsal::way_out(settings, &live.connection).await);
    if examination.lane_rehearsal {
        findings.push(rehearsal::lane(settings, &live.connection).await);
    }
    if let Ok(Err(error)) = timeout(QUESTION, live.connection.close(200, "done".into())).await {
        tracing::debug!(%error, "the connection ended before it was closed");
    }
    findings
}

fn unreachable(error: &ConnectError) -> Finding {
    Finding::fault("broker.login", error.to_string(), "look at `engine.queue`, and at the broker's log")
}

fn judge_version(endpoint: &Endpoint, found: Option<Version>) -> Finding {
    match found {
        Some(found) if found < Version::NEEDED => Finding::fault(
            "broker.version",
            format!("RabbitMQ {found}"),
            format!("at least {} is needed: upgrade the broker", Version::NEEDED),
        ),
        Some(found) => Finding::well("broker.version", format!("RabbitMQ {found}")),
        None if endpoint.is_tls() => Finding::unknown(
            "broker.version",
            "not asked for over TLS",
            "`rabbitmqctl report` on the broker tells it: give its output to --broker-report",
        ),
        None => Finding::unknown(
            "broker.version",
            "the broker does not say",
            "`rabbitmqctl version` on the broker tells it",
        ),
    }
}

async fn look_at_objects(settings: &Settings, live: &Live) -> Vec<Finding> {
    const SUBJECT: &str = "broker.topology";
    let topology = settings.describe_topology();
    match timeout(QUESTION, verify(&topology, live)).await {
        Ok(Ok(deviations)) if deviations.is_empty() => vec![Finding::well(
            SUBJECT,
            "every exchange and queue has its type, its delivery limit and its dead-letter exchange",
        )],
        Ok(Ok(deviations)) => deviations
            .into_iter()
            .map(|deviation| {
                let seen = format!("{}: {}", deviation.object, deviation.problem);
                Finding::fault(SUBJECT, seen, deviation.remedy)
            })
            .collect(),
        Ok(Err(error)) => vec![Finding::fault(SUBJECT, error.to_string(), "look at the broker's log")],
        Err(_) => vec![no_answer(SUBJECT)],
    }
}

fn no_answer(subject: &'static str) -> Finding {
    Finding::fault(
        subject,
        format!("no answer within {QUESTION:?}"),
        "a majority of the queue's members may be down: start the brokers that are missing",
    )
}

async fn look_at_queues(settings: &Settings, connection: &Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    for queue in QueueName::ALL {
        match timeout(QUESTION, count(settings, connection, queue)).await {
            Ok(Ok(Counts { messages, consumers })) => {
                findings.extend(judge_queue(settings, queue, messages, consumers));
            }
            // Told with the topology.
            Ok(Err(TopologyError::Missing(_) | TopologyError::Mismatch(_))) => {}
            Ok(Err(TopologyError::Failed(reason) | TopologyError::Stumbled(reason))) => {
                findings.push(Finding::fault("broker.queues", reason, "look at the broker's log"));
                return findings;
            }
            Ok(Err(TopologyError::NoAnswer(_))) | Err(_) => {
                findings.push(no_answer("broker.queues"));
                return findings;
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::well("broker.queues", "nothing piles up and nothing was set aside"));
    }
    findings
}

struct Counts {
    messages: u32,
    consumers: u32,
}

async fn count(
    settings: &Settings,
    connection: &Connection,
    queue: QueueName,
) -> Result<Counts, TopologyError> {
    let name = settings.describe_topology().queue(queue);
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await?;
    let counts = Counts { messages: found.message_count(), consumers: found.consumer_count() };
    close(&channel).await;
    Ok(counts)
}

/// `None` where there is nothing to say.
fn judge_queue(settings: &Settings, queue: QueueName, messages: u32, consumers: u32) -> Option<Finding> {
    const SUBJECT: &str = "broker.queues";
    let name = settings.describe_topology().queue(queue);
    let reader = match queue {
        QueueName::First
        | QueueName::Retry
        | QueueName::RetryLarge
        | QueueName::Release
        | QueueName::Large => "worker",
        QueueName::Journal => "status",
        QueueName::Events => "ingest",
        QueueName::Dead | QueueName::CatchAll => "status",
        QueueName::Unreadable => {
            let advice = "docs/operations.md, \"Messages that fell off the path\", says what to do with them";
            let seen = format!("{messages} messages that nobody can read are kept in {name}");
            return (messages > 0).then(|| Finding::warning(SUBJECT, seen, advice));
        }
        QueueName::EventsLater => {
            let seen = format!("{messages} messages of producers are put off, in {name}");
            let advice = "a process of an older version cannot read what they need; replace it, and they come in by \
                          themselves";
            return (messages > 0).then(|| Finding::warning(SUBJECT, seen, advice));
        }
        QueueName::EventsRefused => {
            let seen = format!("{messages} messages that producers sent wrong wait in {name}");
            let advice = "their headers `postrider-code` and `postrider-detail` say what is wrong; purge them when it \
                          is known";
            return (messages > 0).then(|| Finding::warning(SUBJECT, seen, advice));
        }
    };
    if messages > 0 && consumers == 0 {
        let seen = format!("{messages} messages wait in {name} and nobody reads them");
        return Some(Finding::fault(SUBJECT, seen, format!("start a process with the role {reader}")));
    }
    let is_journal = queue == QueueName::Journal;
    (messages > if is_journal { LONG_JOURNAL } else { LONG_QUEUE }).then(|| {
        let seen = format!("{messages} messages wait in {name} before {consumers} readers");
        Finding::warning(SUBJECT, seen, format!("if it keeps growing, start more of the role {reader}"))
    })
}

#[cfg(test)]
mod tests {
    use postrider_contract::finding::Verdict;

    use super::*;

    fn judge(queue: QueueName, messages: u32, consumers: u32) -> Option<Verdict> {
        let settings = Settings::new("amqp://broker", "doctor");
        judge_queue(&settings, queue, messages, consumers).map(|finding| finding.verdict)
    }

    #[test]
    fn a_queue_that_nobody_reads_is_a_fault_and_a_long_one_a_warning() {
        assert_eq!(judge(QueueName::First, 0, 0), None);
        assert_eq!(judge(QueueName::First, 1, 0), Some(Verdict::Fault));
        assert_eq!(judge(QueueName::Journal, 1, 1), None);
        assert_eq!(judge(QueueName::Journal, LONG_JOURNAL + 1, 1), Some(Verdict::Warning));
        assert_eq!(judge(QueueName::First, LONG_JOURNAL + 1, 1), None);
        assert_eq!(judge(QueueName::First, LONG_QUEUE + 1, 1), Some(Verdict::Warning));
    }

    #[test]
    fn what_was_set_aside_is_told_however_few_there_are() {
        for queue in [QueueName::Unreadable, QueueName::EventsLater, QueueName::EventsRefused] {
            assert_eq!(judge(queue, 0, 0), None);
            assert_eq!(judge(queue, 1, 1), Some(Verdict::Warning));
        }
    }
}
