//! Delay lanes: which delays exist, and which of them a delay takes. Pure.
//!
//! A delay takes one lane, the first that is not shorter. The lanes hold to the letter every wait of every built-in
//! profile, and the waits that people write into profiles of their own; between them, and down to 250 ms, no lane is more
//! than a quarter longer than the one before, so that anything else (a `Retry-After`, a jittered wait, 37 s) is late by a
//! quarter at most.

use std::time::Duration;

/// In milliseconds, ascending: a ladder in steps of a fifth to a quarter, and upon it 500 ms; 1 to 10, 12, 15, 20, 25,
/// 30, 40, 45 and 50 seconds and minutes; 90 seconds and 90 minutes; 1 to 10, 12, 14, 15, 16, 18, 20 and 24 hours. They
/// cost nothing until they are used, and their number bounds what receivers can make of a broker. A lane's length is part
/// of its queue's name: a length that is removed here leaves a queue behind on brokers that used it, which goes on
/// emptying itself but is no longer declared. The last, beyond 24 h, is for a wait of 24 h made longer by jitter.
pub const LANES: [u32; 106] = [
    250,
    300,
    370,
    450,
    500,
    550,
    670,
    820,
    1_000,
    1_100,
    1_300,
    1_500,
    1_700,
    2_000,
    2_300,
    2_800,
    3_000,
    3_300,
    4_000,
    5_000,
    6_000,
    6_100,
    7_000,
    7_400,
    8_000,
    9_000,
    10_000,
    11_000,
    12_000,
    13_000,
    15_000,
    16_000,
    20_000,
    24_000,
    25_000,
    30_000,
    36_000,
    40_000,
    44_000,
    45_000,
    50_000,
    54_000,
    60_000,
    66_000,
    80_000,
    90_000,
    98_000,
    120_000,
    140_000,
    170_000,
    180_000,
    200_000,
    240_000,
    300_000,
    350_000,
    360_000,
    420_000,
    480_000,
    500_000,
    540_000,
    600_000,
    700_000,
    720_000,
    820_000,
    900_000,
    960_000,
    1_100_000,
    1_200_000,
    1_300_000,
    1_500_000,
    1_800_000,
    2_100_000,
    2_400_000,
    2_500_000,
    2_700_000,
    3_000_000,
    3_600_000,
    4_200_000,
    5_000_000,
    5_400_000,
    6_000_000,
    7_200_000,
    8_500_000,
    10_000_000,
    10_800_000,
    12_000_000,
    14_400_000,
    18_000_000,
    21_000_000,
    21_600_000,
    25_000_000,
    25_200_000,
    28_800_000,
    30_000_000,
    32_400_000,
    36_000_000,
    42_000_000,
    43_200_000,
    50_400_000,
    54_000_000,
    57_600_000,
    60_000_000,
    64_800_000,
    72_000_000,
    86_400_000,
    108_000_000,
];

/// One delay lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(u32);

impl Lane {
    /// How long a message stays in it.
    #[must_use]
    pub fn delay(self) -> Duration {
        Duration::from_millis(u64::from(self.0))
    }

    /// As [`Lane::delay`], in the unit that the broker and the queue's name take.
    #[must_use]
    pub fn millis(self) -> u32 {
        self.0
    }

    /// This one, and those that are longer, shortest first.
    pub(crate) fn and_longer(self) -> impl Iterator<Item = Lane> {
        Lane::all().skip_while(move |lane| *lane < self)
    }

    /// All there are, shortest first.
    pub fn all() -> impl Iterator<Item = Lane> {
        LANES.into_iter().map(Lane)
    }
}

/// Bodies longer than this, in bytes, go through a queue of their own, read with a small prefetch.
pub(crate) const LARGE: usize = 64 * 1024;

/// How heavy what is parked is. The two kinds have lanes and queues of their own, because how much of a queue is in
/// hand at once is bounded by number and not by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    Small,
    /// Over 64 KiB.
    Large,
}

impl Load {
    pub const ALL: [Load; 2] = [Load::Small, Load::Large];
}

/// The queue of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LaneQueue {
    pub lane: Lane,
    pub load: Load,
}

impl LaneQueue {
    pub fn all() -> impl Iterator<Item = LaneQueue> {
        Load::ALL.into_iter().flat_map(|load| Lane::all().map(move |lane| LaneQueue { lane, load }))
    }
}

/// The first lane that is not shorter than `delay`; the longest for a delay beyond all, which then comes back
/// early and is parked again by whoever takes it.
#[must_use]
pub fn lane_for(delay: Duration) -> Lane {
    // Rounded up: a lane must not be shorter by a fraction of a millisecond either.
    let millis = delay.as_nanos().div_ceil(1_000_000);
    let index = LANES.partition_point(|lane| u128::from(*lane) < millis);
    let longest = LANES[LANES.len() - 1];
    Lane(LANES.get(index).copied().unwrap_or(longest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;

    #[test]
    fn every_wait_of_a_built_in_profile_has_its_lane_to_the_letter() {
        let hours = [1, 2, 4, 5, 10, 14, 20, 24].map(|n| n * HOUR);
        let minutes = [2, 5, 10, 30].map(|n| n * MINUTE);
        let seconds = [1, 2, 4, 5, 30].map(|n| n * SECOND);
        for millis in hours.into_iter().chain(minutes).chain(seconds) {
            assert_eq!(lane_for(Duration::from_millis(millis)).delay(), Duration::from_millis(millis));
        }
    }

    /// As docs/profiles.md promises.
    #[test]
    fn the_waits_that_people_write_have_their_lanes_to_the_letter() {
        let units = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 45, 50];
        let hours = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 18, 20, 24].map(|n| n * HOUR);
        let others = [250, 500, 90 * SECOND, 90 * MINUTE];
        let all = units.iter().flat_map(|n| [n * SECOND, n * MINUTE]).chain(hours).chain(others);
        for millis in all {
            assert_eq!(lane_for(Duration::from_millis(millis)).delay(), Duration::from_millis(millis));
        }
    }

    #[test]
    fn no_lane_is_more_than_a_quarter_longer_than_the_one_before() {
        for pair in LANES.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?} ascend");
            assert!(u64::from(pair[1]) * 4 <= u64::from(pair[0]) * 5, "{pair:?}");
        }
    }

    #[test]
    fn the_ends_of_the_ladder_hold() {
        for (delay, millis) in [
            (Duration::ZERO, 250),
            (Duration::from_millis(250), 250),
            (Duration::from_nanos(250_000_001), 300),
            (Duration::from_millis(1_001), 1_100),
            (Duration::from_secs(24 * 3600), 86_400_000),
            (Duration::from_secs(365 * 24 * 3600), 108_000_000),
            (Duration::MAX, 108_000_000),
        ] {
            assert_eq!(lane_for(delay).millis(), millis, "{delay:?}");
        }
    }

    proptest! {
        #[test]
        fn a_lane_is_never_shorter_and_at_most_a_quarter_longer(millis in 250_u64..=108_000_000) {
            let delay = Duration::from_millis(millis);
            let lane = lane_for(delay).delay();
            prop_assert!(lane >= delay);
            prop_assert!(lane.as_millis() * 4 <= delay.as_millis() * 5, "{delay:?} takes {lane:?}");
        }
    }
}
