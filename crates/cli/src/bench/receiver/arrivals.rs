//! What has come to the receiver, and how late the tries after a failed one were.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bench::load::{micros_now, new_histogram, percentiles};

/// What has arrived since the receiver was told to forget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrivals {
    /// Different deliveries that were answered with success.
    pub distinct: u64,
    /// Arrivals of one that had been answered with success already.
    pub repeats: u64,
    /// From the first arrival to the last.
    pub took: Duration,
    /// p50, p95, p99 and the maximum, in microseconds, from the event's sending to its first arrival.
    pub latencies: [u64; 4],
}

/// A path, whatever its query, that answers 500 to the first tries of a delivery: as many as there are waits. Each is how long after the
/// failed try the next one is due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailingPath {
    pub path: String,
    pub waits: Vec<Duration>,
}

/// How punctual the tries after one wait were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lateness {
    pub path: String,
    pub wait: Duration,
    pub tries: u64,
    /// Tries that came more than [`EARLY`] before they were due.
    pub early: u64,
    /// p50, p95, p99 and the maximum after the due time, in microseconds.
    pub late: [u64; 4],
    /// From the first due time to the last.
    pub due_within: Duration,
}

/// Timers and clocks count in milliseconds.
pub const EARLY: Duration = Duration::from_millis(2);

pub struct Counts {
    seen: HashMap<(String, u64), Seen>,
    failing: HashMap<String, Vec<Schedule>>,
    distinct: u64,
    repeats: u64,
    latencies: Histogram<u64>,
    first: Option<Instant>,
    last: Option<Instant>,
}

struct Seen {
    tries: usize,
    answered: Instant,
}

/// What was seen of one wait of one path.
struct Schedule {
    wait: Duration,
    early: u64,
    late: Histogram<u64>,
    due: Option<(Instant, Instant)>,
}

impl Schedule {
    fn note(&mut self, answered: Instant, now: Instant) {
        let due = answered + self.wait;
        if now + EARLY < due {
            self.early += 1;
        }
        let late = now.saturating_duration_since(due);
        self.late.saturating_record(u64::try_from(late.as_micros()).unwrap_or(u64::MAX).max(1));
        let (first, last) = self.due.get_or_insert((due, due));
        (*first, *last) = ((*first).min(due), (*last).max(due));
    }
}

impl Counts {
    pub fn new(failing: Vec<FailingPath>) -> anyhow::Result<Self> {
        let mut schedules = HashMap::new();
        for FailingPath { path, waits } in failing {
            let schedule = |wait| Ok(Schedule { wait, early: 0, late: new_histogram()?, due: None });
            schedules.insert(path, waits.into_iter().map(schedule).collect::<anyhow::Result<_>>()?);
        }
        Ok(Counts {
            seen: HashMap::new(),
            failing: schedules,
            distinct: 0,
            repeats: 0,
            latencies: new_histogram()?,
            first: None,
            last: None,
        })
    }

    /// One try, and the answer to it. Webhooks are told apart by the target: path and query.
    pub fn note(&mut self, target: &str, body: &[u8], now: Instant) -> StatusCode {
        self.first.get_or_insert(now);
        self.last = Some(now);
        // What is not the generator's, such as the test of a webhook, is not counted.
        let Some(serial) = number_after(body, b"\"serial\":") else { return StatusCode::OK };
        let schedules = self.failing.get_mut(target.split('?').next().unwrap_or(target));
        let must_fail = schedules.as_ref().map_or(0, |schedules| schedules.len());
        let fresh = Seen { tries: 0, answered: now };
        let seen = self.seen.entry((target.to_owned(), serial)).or_insert(fresh);
        seen.tries += 1;
        if seen.tries == 1 {
            let sent = number_after(body, b"\"sent\":").and_then(|sent| i64::try_from(sent).ok());
            if let Some(micros) = sent.and_then(|sent| u64::try_from(micros_now() - sent).ok()) {
                self.latencies.saturating_record(micros.max(1));
            }
        } else if let Some(schedule) = schedules.and_then(|schedules| schedules.get_mut(seen.tries - 2)) {
            schedule.note(seen.answered, now);
        }
        seen.answered = now;
        if seen.tries <= must_fail {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        if seen.tries == must_fail + 1 {
            self.distinct += 1;
        } else {
            self.repeats += 1;
        }
        StatusCode::OK
    }

    pub fn arrivals(&self) -> Arrivals {
        let took = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last - first);
        Arrivals {
            distinct: self.distinct,
            repeats: self.repeats,
            took,
            latencies: percentiles(&self.latencies),
        }
    }

    /// Of every wait of every failing path, shortest first.
    pub fn lateness(&self) -> Vec<Lateness> {
        let each = self.failing.iter().flat_map(|(path, schedules)| {
            schedules.iter().map(|schedule| Lateness {
                path: path.clone(),
                wait: schedule.wait,
                tries: schedule.late.len(),
                early: schedule.early,
                late: percentiles(&schedule.late),
                due_within: schedule.due.map_or(Duration::ZERO, |(first, last)| last - first),
            })
        });
        let mut all: Vec<Lateness> = each.collect();
        all.sort_by(|one, other| (one.wait, &one.path).cmp(&(other.wait, &other.path)));
        all
    }
}

/// The digits after a mark, without parsing the whole body.
fn number_after(body: &[u8], mark: &[u8]) -> Option<u64> {
    let start = body.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let digits = body.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(body.get(start..start + digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Samples;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_event_that_the_bench_publishes_is_counted_once() {
        let (mut counts, now) = (Counts::new(Vec::new()).expect("counts"), Instant::now());
        let samples = Samples::of_size(600);
        for _ in 0..3 {
            counts.note("/0", samples.next("bench.event", micros_now()).as_bytes(), now);
        }
        assert_eq!((counts.arrivals().distinct, counts.arrivals().repeats), (3, 0));
    }

    fn body(serial: u64) -> Vec<u8> {
        format!(r#"{{"data":{{"serial":{serial},"sent":{},"padding":""}}}}"#, micros_now()).into_bytes()
    }

    fn failing(waits: &[Duration]) -> Counts {
        Counts::new(vec![FailingPath { path: "/late".to_owned(), waits: waits.to_vec() }]).expect("counts")
    }

    #[test]
    fn repeats_and_other_paths_are_told_apart() {
        let (mut counts, now) = (Counts::new(Vec::new()).expect("counts"), Instant::now());
        for (path, serial) in [("/0", 1), ("/1", 1), ("/0", 2), ("/0", 1)] {
            assert_eq!(counts.note(path, &body(serial), now), StatusCode::OK);
        }
        assert_eq!(counts.note("/0", b"{}", now), StatusCode::OK, "what is not the generator's is answered");
        let arrivals = counts.arrivals();
        assert_eq!((arrivals.distinct, arrivals.repeats), (3, 1));
    }

    #[test]
    fn a_try_is_late_by_what_passed_since_it_was_due() {
        let (mut counts, start) = (failing(&[SECOND, 5 * SECOND]), Instant::now());
        for (second, expected) in [(0, 500), (1, 500), (7, 200)] {
            let answer = counts.note("/late", &body(7), start + second * SECOND);
            assert_eq!(answer.as_u16(), expected);
        }
        let lateness = counts.lateness();
        let told: Vec<_> = lateness.iter().map(|one| (one.wait, one.tries, one.early)).collect();
        assert_eq!(told, [(SECOND, 1, 0), (5 * SECOND, 1, 0)]);
        assert!(lateness[0].late[3] <= 1_000, "on the dot: {lateness:?}");
        assert!((999_000..=1_001_000).contains(&lateness[1].late[3]), "a second late: {lateness:?}");
        assert_eq!(counts.arrivals().distinct, 1);
    }

    #[test]
    fn webhooks_that_share_a_path_are_told_apart_by_their_query() {
        let (mut counts, start) = (failing(&[SECOND]), Instant::now());
        for (second, expected) in [(0, 500), (1, 200)] {
            for target in ["/late?0", "/late?1"] {
                assert_eq!(counts.note(target, &body(7), start + second * SECOND).as_u16(), expected);
            }
        }
        assert_eq!((counts.arrivals().distinct, counts.lateness()[0].tries), (2, 2));
    }

    #[test]
    fn a_try_before_its_time_is_noticed() {
        let (mut counts, start) = (failing(&[SECOND]), Instant::now());
        for (serial, after) in [(1, Duration::ZERO), (2, Duration::ZERO), (1, SECOND / 2), (2, SECOND)] {
            counts.note("/late", &body(serial), start + after);
        }
        assert_eq!((counts.lateness()[0].tries, counts.lateness()[0].early), (2, 1));
    }
}
