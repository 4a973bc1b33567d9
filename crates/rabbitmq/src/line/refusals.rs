//! Refusals that may be the channel's own fault.
//!
//! A channel that publishes to a quorum queue for the first time asks the queue's leader as the broker knows it. Where
//! that node has just died, RabbitMQ 3.10 refuses the message, asks the same node for the next one, and so refuses for as
//! long as the node is away, although the queue has had another leader for long. A new channel asks the leader of now.
//! From outside this looks like a queue that is full, which a new channel does not harm.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::publisher::Destination;

/// Within this a queue has a new leader, and what is refused may be taken.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// For one that is full indeed.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

/// Where nothing was taken for some time.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Destination, Streak>);

#[derive(Debug)]
struct Streak {
    since: Instant,
    patience: Duration,
}

impl Refusals {
    pub fn note_taken(&mut self, destination: Destination) {
        if !self.0.is_empty() {
            self.0.remove(&destination);
        }
    }

    /// Answers whether it is time for another channel: nothing was taken there for as long as it may take, which is
    /// twice as long each time.
    pub fn note_refused(&mut self, destination: Destination, now: Instant) -> bool {
        let begun = Streak { since: now, patience: FIRST_PATIENCE };
        let streak = self.0.entry(destination).or_insert(begun);
        if now - streak.since < streak.patience {
            return false;
        }
        *streak = Streak { since: now, patience: (streak.patience * 2).min(LONGEST_PATIENCE) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::QueueName;

    const FIRST: Destination = Destination::Queue(QueueName::First);
    const LARGE: Destination = Destination::Queue(QueueName::Large);

    /// The seconds after which another channel is asked for, of a refusal every tenth of a second.
    fn renewals(refusals: &mut Refusals, begun: Instant, until: u32) -> Vec<f64> {
        let tenths = (0..until * 10).map(|tenth| Duration::from_millis(100) * tenth);
        tenths.filter(|&at| refusals.note_refused(FIRST, begun + at)).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn a_queue_that_takes_nothing_is_asked_on_another_channel_less_and_less_often() {
        assert_eq!(renewals(&mut Refusals::default(), Instant::now(), 70), [1.0, 3.0, 7.0, 15.0, 31.0, 61.0]);
    }

    #[test]
    fn a_queue_that_takes_something_now_and_then_keeps_its_channel() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        for second in 0..20 {
            let at = begun + Duration::from_millis(900) * second;
            assert!(!refusals.note_refused(FIRST, at));
            refusals.note_taken(FIRST);
        }
    }

    #[test]
    fn what_one_queue_takes_says_nothing_of_another() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        assert!(!refusals.note_refused(FIRST, begun));
        refusals.note_taken(LARGE);
        assert!(!refusals.note_refused(LARGE, begun + FIRST_PATIENCE));
        assert!(refusals.note_refused(FIRST, begun + FIRST_PATIENCE));
    }
}
