use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::profile::StatusSet;

fn seconds(waits: &[u64]) -> Vec<Duration> {
    waits.iter().copied().map(Duration::from_secs).collect()
}

fn rule(waits: &[u64], jitter: f64, retry_after: Option<RetryAfterRule>) -> RetryRule {
    let waits = RetrySchedule::new(seconds(waits)).expect("a schedule");
    RetryRule { waits, jitter: JitterFraction::new(jitter).expect("a fraction"), retry_after }
}

fn number(number: u32) -> AttemptNumber {
    AttemptNumber::from_number(number).expect("not zero")
}

#[test]
fn each_wait_follows_its_try_and_then_there_is_none() {
    let rule = rule(&[1, 5, 30], 0.0, None);
    for (tried, wait) in [(1, Some(1)), (2, Some(5)), (3, Some(30)), (4, None), (u32::MAX, None)] {
        let expected = wait.map(Duration::from_secs);
        assert_eq!(rule.next_wait(number(tried), None, Jitter::new(0.0)), expected, "{tried}");
    }
    assert_eq!(self::rule(&[], 0.0, None).next_wait(number(1), None, Jitter::NONE), None);
}

#[test]
fn jitter_spreads_a_wait_both_ways_but_never_past_the_longest_lane() {
    let fraction = JitterFraction::new(0.1).expect("a fraction");
    let wait = Duration::from_secs(100);
    assert_eq!(fraction.spread(wait, Jitter::new(0.0)), Duration::from_secs(90));
    assert_eq!(fraction.spread(wait, Jitter::NONE), wait);
    assert_eq!(fraction.spread(wait, Jitter::new(1.0)), Duration::from_secs(110));
    assert_eq!(fraction.spread(MAX_WAIT, Jitter::new(1.0)), MAX_WAIT);
    assert_eq!(JitterFraction::NONE.spread(wait, Jitter::new(0.99)), wait);
}

#[test]
fn a_wish_takes_the_place_of_the_wait_but_adds_no_try() {
    let bounds = RetryAfterRule {
        statuses: StatusSet::parse(["429"]).expect("a set"),
        minimum: Span::from_seconds(1),
        maximum: Span::from_seconds(3600),
    };
    let rule = rule(&[5, 5], 0.1, Some(bounds));
    let wish = |text| RetryAfter::parse(text, Timestamp::EPOCH);
    for (asked, wait) in [("60", 60), ("0", 1), ("1000000000000", 3600)] {
        let next = rule.next_wait(number(1), wish(asked), Jitter::new(0.0));
        assert_eq!(next, Some(Duration::from_secs(wait)), "{asked}");
    }
    assert_eq!(rule.next_wait(number(3), wish("60"), Jitter::NONE), None);
    let deaf = self::rule(&[5], 0.0, None);
    assert_eq!(deaf.next_wait(number(1), wish("60"), Jitter::NONE), Some(Duration::from_secs(5)));
}

#[test]
fn a_schedule_out_of_bounds_is_refused() {
    let refused = |waits| RetrySchedule::new(waits).expect_err("out of bounds");
    assert_eq!(
        refused(vec![Duration::from_secs(1), Duration::ZERO]),
        InvalidRetry::OutOfBounds { number: 2 }
    );
    assert_eq!(refused(seconds(&[86_401])), InvalidRetry::OutOfBounds { number: 1 });
    assert_eq!(refused(seconds(&[1; 65])), InvalidRetry::TooMany);
    for fraction in [-0.1, 0.51, f64::NAN, f64::INFINITY] {
        assert_eq!(JitterFraction::new(fraction), Err(InvalidRetry::Jitter), "{fraction}");
    }
}

proptest! {
    #[test]
    fn every_wait_stays_within_the_bounds(
        waits in prop::collection::vec(100_u64..=86_400_000, 0..10),
        fraction in 0.0_f64..=0.5,
        draw in 0.0_f64..1.0,
        tried in 1_u32..20,
    ) {
        let waits: Vec<Duration> = waits.into_iter().map(Duration::from_millis).collect();
        let schedule = RetrySchedule::new(waits.clone()).expect("a schedule");
        let jitter = JitterFraction::new(fraction).expect("a fraction");
        let rule = RetryRule { waits: schedule, jitter, retry_after: None };
        match (rule.next_wait(number(tried), None, Jitter::new(draw)), waits.get(tried as usize - 1)) {
            (None, None) => {}
            (Some(wait), Some(scheduled)) => {
                prop_assert!((MIN_WAIT..=MAX_WAIT).contains(&wait));
                prop_assert!(wait + Duration::from_millis(1) >= scheduled.mul_f64(1.0 - fraction));
                prop_assert!(wait <= scheduled.mul_f64(1.0 + fraction) + Duration::from_millis(1));
            }
            (wait, scheduled) => prop_assert!(false, "{:?} for {:?}", wait, scheduled),
        }
    }

    #[test]
    fn a_webhooks_own_waits_are_bounded_whatever_they_are(millis in any::<u64>(), draw in 0.0_f64..1.0) {
        let rule = rule(&[1], 0.5, None);
        let wait = rule.next_wait_in(&[Duration::from_millis(millis)], number(1), None, Jitter::new(draw));
        prop_assert!((MIN_WAIT..=MAX_WAIT).contains(&wait.expect("one wait")));
    }
}
