//! What `rabbitmqctl report` tells that AMQP does not.
//!
//! The report is for people, but its parts have kept their form since 3.8: Erlang terms for the settings, one line
//! a feature flag, and sections with a title and `(none)`. What is not found is said to be unknown, never well.

use std::time::Duration;

use postrider_contract::finding::Finding;

use crate::version::Version;

/// Below this an acknowledgement that is merely late costs its whole channel: three times the longest try with its
/// orderly end (30 s + 30 s), rounded up.
const SHORTEST_CONSUMER_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// From this on one lane hands back over 10,000 retries a second; at the default of 32 it is 1,700 to 3,000.
const ENOUGH_PREFETCH: u64 = 256;
/// A retry that its queue did not take, since that was full or had no leader, comes so late; three minutes by default.
const LONGEST_AGAIN: Duration = Duration::from_secs(60);
/// Needed for queues and lanes; from 3.11 on they cannot be off.
const FLAGS: [&str; 2] = ["quorum_queue", "stream_queue"];

pub(super) fn read(report: &str) -> Vec<Finding> {
    vec![
        judge_alarms(report),
        judge_partitions(report),
        judge_partition_handling(report),
        judge_flags(report),
        judge_consumer_timeout(report),
        judge_prefetch(report),
        judge_again(report),
    ]
}

/// The oldest of the nodes'.
pub(super) fn version(report: &str) -> Option<Version> {
    let said = report.split("RabbitMQ ").skip(1).filter_map(|rest| {
        let (version, _) = rest.split_once(" on Erlang")?;
        Version::parse(version)
    });
    said.min()
}

fn unknown(subject: &'static str) -> Finding {
    Finding::unknown(
        subject,
        "the report does not tell",
        "give the whole output of `rabbitmqctl report`, run on a broker that is up",
    )
}

/// The lines below each title that says so, up to the next empty one; `None` if there is no such title.
fn section(report: &str, title: &str) -> Option<Vec<String>> {
    let lines: Vec<String> = report.lines().map(plain).collect();
    let titles = lines.iter().enumerate().filter(|(_, line)| line.eq_ignore_ascii_case(title));
    let mut found = None;
    for (at, _) in titles {
        let below = lines[at + 1..].iter().skip_while(|line| line.is_empty());
        let content = below.take_while(|line| !line.is_empty() && *line != "(none)");
        found.get_or_insert_with(Vec::new).extend(content.cloned());
    }
    found
}

/// Without the marks that make a title bold.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // `ESC [ … m`
            characters.by_ref().find(|end| *end == 'm');
        } else {
            text.push(character);
        }
    }
    text.trim().to_owned()
}

/// The value of `{name,VALUE}`.
fn term<'a>(report: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("{{{name},");
    let rest = &report[report.find(&begin)? + begin.len()..];
    rest.split('}').next().map(str::trim)
}

fn judge_alarms(report: &str) -> Finding {
    const SUBJECT: &str = "broker.alarms";
    match section(report, "Alarms") {
        None => unknown(SUBJECT),
        Some(alarms) if alarms.is_empty() => Finding::well(SUBJECT, "none"),
        Some(alarms) => Finding::fault(
            SUBJECT,
            alarms.join("; "),
            "the broker takes no publishes until it has memory and disk again: free some, or raise its limits",
        ),
    }
}

fn judge_partitions(report: &str) -> Finding {
    const SUBJECT: &str = "broker.partitions";
    match section(report, "Network Partitions") {
        None => unknown(SUBJECT),
        Some(partitions) if partitions.is_empty() => Finding::well(SUBJECT, "none"),
        Some(partitions) => Finding::fault(
            SUBJECT,
            partitions.join("; "),
            "mend the network between the brokers, then restart those that are on the smaller side",
        ),
    }
}

/// Three running nodes or more: else there is no minority to pause.
fn judge_partition_handling(report: &str) -> Finding {
    const SUBJECT: &str = "broker.partition_handling";
    let nodes = section(report, "Running Nodes").map_or(0, |nodes| nodes.len());
    match term(report, "cluster_partition_handling") {
        None => unknown(SUBJECT),
        Some(handling) if nodes > 2 && handling != "pause_minority" => Finding::warning(
            SUBJECT,
            format!("{handling}, with {nodes} nodes"),
            "set `cluster_partition_handling = pause_minority`",
        ),
        Some(handling) => Finding::well(SUBJECT, handling),
    }
}

fn judge_flags(report: &str) -> Finding {
    const SUBJECT: &str = "broker.feature_flags";
    let is_enabled = |flag: &&str| report.contains(&format!("Flag: {flag}, state: enabled"));
    if !report.contains("Flag: ") {
        return unknown(SUBJECT);
    }
    let mentioned = |flag: &&str| report.contains(&format!("Flag: {flag},"));
    let off: Vec<&str> = FLAGS.into_iter().filter(|flag| mentioned(flag) && !is_enabled(flag)).collect();
    if off.is_empty() {
        return Finding::well(SUBJECT, "those that queues and lanes need are on");
    }
    Finding::fault(
        SUBJECT,
        format!("{} off: retries could be lost in their lanes", off.join(" and ")),
        "run `rabbitmqctl enable_feature_flag all`",
    )
}

fn judge_consumer_timeout(report: &str) -> Finding {
    const SUBJECT: &str = "broker.consumer_timeout";
    let Some(value) = term(report, "consumer_timeout") else { return unknown(SUBJECT) };
    if value == "undefined" {
        return Finding::well(SUBJECT, "none");
    }
    let Some(limit) = value.parse().ok().map(Duration::from_millis) else { return unknown(SUBJECT) };
    if limit < SHORTEST_CONSUMER_TIMEOUT {
        let advice = "set `consumer_timeout = 1800000` (30 min, the default)";
        return Finding::fault(
            SUBJECT,
            format!("{limit:?}: slow tries are taken back and made twice"),
            advice,
        );
    }
    Finding::well(SUBJECT, format!("{limit:?}"))
}

fn judge_prefetch(report: &str) -> Finding {
    const SUBJECT: &str = "broker.lane_prefetch";
    let value = term(report, "dead_letter_worker_consumer_prefetch");
    let Some(prefetch) = value.and_then(|value| value.parse::<u64>().ok()) else { return unknown(SUBJECT) };
    if prefetch < ENOUGH_PREFETCH {
        let advice = "use the advanced.config in deploy/rabbitmq (dead_letter_worker_consumer_prefetch 512) \
                      and restart the broker";
        let seen = format!("{prefetch}: a lane hands back some 2,000 retries a second at most");
        return Finding::warning(SUBJECT, seen, advice);
    }
    Finding::well(SUBJECT, prefetch.to_string())
}

fn judge_again(report: &str) -> Finding {
    const SUBJECT: &str = "broker.lane_again";
    let value = term(report, "dead_letter_worker_publisher_confirm_timeout");
    let Some(again) = value.and_then(|value| value.parse().ok()).map(Duration::from_millis) else {
        return unknown(SUBJECT);
    };
    if again > LONGEST_AGAIN {
        let advice = "use the advanced.config in deploy/rabbitmq (dead_letter_worker_publisher_confirm_timeout 30000) \
                      and restart the broker";
        let seen = format!("{again:?}: a retry whose queue was full or away for a moment is late by so much");
        return Finding::warning(SUBJECT, seen, advice);
    }
    Finding::well(SUBJECT, format!("{again:?}"))
}

#[cfg(test)]
mod tests {
    use postrider_contract::finding::Verdict;

    use super::*;

    /// The parts that are looked at, as 3.10.8 prints them.
    const HEALTHY: &str = "\u{1b}[1mAlarms\u{1b}[0m\n\n(none)\n\n\u{1b}[1mMemory\u{1b}[0m\n\nTotal memory used: 0.1 gb\n\
        \u{1b}[1mRunning Nodes\u{1b}[0m\n\nrabbit@a\nrabbit@b\nrabbit@c\n\n\u{1b}[1mVersions\u{1b}[0m\n\n\
        rabbit@a: RabbitMQ 3.10.8 on Erlang 25\n\n\u{1b}[1mAlarms\u{1b}[0m\n\n(none)\n\n\
        \u{1b}[1mNetwork Partitions\u{1b}[0m\n\n(none)\n\n\u{1b}[1mListeners\u{1b}[0m\n\n\
        Flag: quorum_queue, state: enabled\nFlag: stream_queue, state: enabled\n\
        {cluster_partition_handling,pause_minority},\n{consumer_timeout,1800000},\n\
        {dead_letter_worker_consumer_prefetch,512},\n{dead_letter_worker_publisher_confirm_timeout,30000},\n";

    fn verdict(report: &str, subject: &str) -> Verdict {
        let findings = read(report);
        findings.iter().find(|finding| finding.subject == subject).expect("each is judged").verdict
    }

    #[test]
    fn a_healthy_report_has_no_fault() {
        for finding in read(HEALTHY) {
            assert_eq!(finding.verdict, Verdict::Well, "{finding:?}");
        }
    }

    #[test]
    fn each_thing_that_is_wrong_is_told() {
        for (subject, from, to, expected) in [
            ("broker.alarms", "(none)", "Memory alarm on node rabbit@a", Verdict::Fault),
            (
                "broker.partitions",
                "Network Partitions\u{1b}[0m\n\n(none)",
                "Network Partitions\u{1b}[0m\n\nNode rabbit@a cannot communicate with rabbit@b",
                Verdict::Fault,
            ),
            ("broker.partition_handling", "pause_minority", "ignore", Verdict::Warning),
            (
                "broker.feature_flags",
                "stream_queue, state: enabled",
                "stream_queue, state: disabled",
                Verdict::Fault,
            ),
            ("broker.consumer_timeout", "1800000", "60000", Verdict::Fault),
            ("broker.lane_prefetch", "prefetch,512", "prefetch,32", Verdict::Warning),
            ("broker.lane_again", "timeout,30000", "timeout,180000", Verdict::Warning),
        ] {
            assert_eq!(verdict(&HEALTHY.replacen(from, to, 1), subject), expected, "{subject}");
        }
    }

    #[test]
    fn of_several_nodes_the_oldest_version_counts() {
        let mixed = format!("{HEALTHY}rabbit@b: RabbitMQ 4.1.2 on Erlang 27\n");
        assert_eq!(version(&mixed), Some(Version { major: 3, minor: 10 }));
        assert_eq!(version("Error: unable to perform an operation on node"), None);
    }

    #[test]
    fn what_a_report_leaves_out_is_unknown_and_never_well() {
        for finding in read("Error: unable to perform an operation on node") {
            assert_eq!(finding.verdict, Verdict::Unknown, "{finding:?}");
        }
    }
}
