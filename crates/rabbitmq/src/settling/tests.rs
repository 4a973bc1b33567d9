//! What may be called settled, and that it is called so in the end.

use std::collections::VecDeque;

use postrider_contract::clock::ManualClock;
use proptest::prelude::*;

use super::*;

const EMPTY: JournalQueue = JournalQueue { ready: 0, consumers: 1 };
const BUSY: JournalQueue = JournalQueue { ready: 3, consumers: 1 };
const SHARED: JournalQueue = JournalQueue { ready: 0, consumers: 2 };

struct Ignore;

impl Settlement for Ignore {
    fn acknowledge(self: Box<Self>) {}
    fn give_back(self: Box<Self>) {}
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn ticket() -> LeaseTicket {
    LeaseTicket::new(Box::new(Ignore))
}

/// A process that was started a while ago, its clock at a time.
fn process(second: i64) -> (Settling, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(at(second - 10)));
    let settling = Settling::new(clock.clone());
    clock.set(at(second));
    (settling, clock)
}

fn append(settling: &Settling, written_at: Timestamp) {
    settling.append_begins(written_at);
    settling.append_ended(written_at, Appended::Perhaps);
}

#[test]
fn an_empty_queue_of_our_own_is_settled_until_now() {
    let (settling, _) = process(100);
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
    assert_eq!(settling.bound(at(100), SHARED, 1), at(95), "another may have one in hand");
}

#[test]
fn a_batch_in_hand_is_not_settled_until_it_is_acknowledged() {
    let (settling, _) = process(100);
    let held = settling.taken(at(50), ticket());
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(50));
    held.acknowledge();
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
}

#[test]
fn a_batch_that_was_given_back_is_not_settled_until_it_came_again() {
    let (settling, clock) = process(100);
    drop(settling.taken(at(50), ticket()));
    assert_eq!(settling.bound(at(100), BUSY, 1), at(45));
    // A minute later it is still ready: whoever reads is gone.
    clock.set(at(160));
    assert_eq!(settling.bound(at(160), BUSY, 1), at(45));
    let again = settling.taken(at(50), ticket());
    again.acknowledge();
    assert_eq!(settling.bound(at(160), EMPTY, 1), at(160));
}

/// It may then be in hand there for as long as a batch may be on its way.
#[test]
fn a_batch_given_back_that_another_takes_is_settled_a_margin_later() {
    let (settling, clock) = process(100);
    drop(settling.taken(at(50), ticket()));
    assert_eq!(settling.bound(at(100), SHARED, 1), at(50));
    clock.set(at(105));
    assert_eq!(settling.bound(at(105), SHARED, 1), at(100));
}

#[test]
fn a_batch_given_back_that_something_later_passed_is_in_other_hands() {
    let (settling, clock) = process(100);
    drop(settling.taken(at(50), ticket()));
    let written_right_after = settling.taken(at(104), ticket());
    clock.set(at(140));
    written_right_after.acknowledge();
    assert_eq!(settling.bound(at(140), BUSY, 1), at(50), "they may have crossed");
    settling.taken(at(139), ticket()).acknowledge();
    assert_eq!(settling.bound(at(140), BUSY, 1), at(50), "perhaps just now");
    clock.set(at(145));
    assert_eq!(settling.bound(at(145), BUSY, 1), at(134));
}

#[test]
fn what_this_process_appended_and_nobody_has_read_is_not_settled() {
    let (settling, _) = process(100);
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
    settling.append_begins(at(60));
    assert_eq!(settling.bound(at(101), EMPTY, 1), at(60));
    settling.append_ended(at(60), Appended::Perhaps);
    assert_eq!(settling.bound(at(101), BUSY, 1), at(60));
    assert_eq!(settling.bound(at(101), EMPTY, 1), at(60), "on its way to its reader");
    settling.taken(at(60), ticket()).acknowledge();
    assert_eq!(settling.bound(at(101), EMPTY, 1), at(101));
}

#[test]
fn what_was_refused_is_not_waited_for_and_what_overtook_its_confirm_is_seen() {
    let (settling, _) = process(100);
    settling.append_begins(at(60));
    settling.append_ended(at(60), Appended::No);
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
    settling.append_begins(at(70));
    settling.taken(at(70), ticket()).acknowledge();
    settling.append_ended(at(70), Appended::Perhaps);
    assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
}

#[test]
fn a_process_that_knows_nothing_claims_nothing() {
    assert_eq!(process(100).0.bound(at(100), BUSY, 0), Timestamp::EPOCH);
    let shared = JournalQueue { ready: 3, consumers: 2 };
    assert_eq!(process(100).0.bound(at(100), shared, 1), Timestamp::EPOCH);
    let clock = Arc::new(ManualClock::at(at(100)));
    assert_eq!(Settling::new(clock).bound(at(100), SHARED, 1), Timestamp::EPOCH, "just started");
}

/// There is always something on its way: the queue is never empty and something always in hand, for a minute.
#[test]
fn under_constant_load_what_is_settled_moves_on() {
    for (queue, behind) in [(EMPTY, 1), (BUSY, 6), (SHARED, 6), (JournalQueue { ready: 3, consumers: 2 }, 11)]
    {
        let (settling, clock) = process(100);
        append(&settling, at(100));
        let mut in_hand = settling.taken(at(100), ticket());
        for second in 101..160 {
            clock.set(at(second));
            append(&settling, at(second));
            let next = settling.taken(at(second), ticket());
            std::mem::replace(&mut in_hand, next).acknowledge();
            settling.append_begins(at(second));
            let bound = settling.bound(at(second), queue, 1);
            assert!(bound <= at(second), "{queue:?}: {bound} at {second} s, with a batch in hand");
            if second >= 120 {
                assert!(bound >= at(second - behind), "{queue:?}: {bound} at {second} s");
            }
            settling.append_ended(at(second), Appended::No);
        }
    }
}

/// As an ingest process does, which is asked for the ledger once an hour.
#[test]
fn a_process_that_appends_and_never_reads_remembers_no_more_than_a_moment() {
    let (settling, clock) = process(100);
    for tenth in 0..36_000 {
        clock.set(at(100).plus(Duration::from_millis(tenth * 100)));
        append(&settling, clock.now());
    }
    let now = clock.now();
    assert!(settling.lock().let_go.oldest() >= Some(now.minus(MARGIN)));
    assert!(settling.bound(now, SHARED, 0) >= now.minus(MARGIN));
}

/// A queue with its readers: this process and perhaps another, which keeps to what the bound rests on.
struct World {
    clock: Arc<ManualClock>,
    settling: Settling,
    queue: VecDeque<Timestamp>,
    /// Given back: handed out before all else.
    returned: VecDeque<Timestamp>,
    ours: Vec<(Timestamp, LeaseTicket)>,
    /// With when it was handed out.
    theirs: Vec<(Timestamp, Timestamp)>,
    has_other: bool,
    is_other_there: bool,
}

/// How much of the margin a batch is put together in; how long the other has one in hand; between two looks.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
const HELD: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(500);

impl World {
    fn new(has_other: bool) -> Self {
        let (settling, clock) = process(1_000);
        World {
            clock,
            settling,
            queue: VecDeque::new(),
            returned: VecDeque::new(),
            ours: Vec::new(),
            theirs: Vec::new(),
            has_other,
            is_other_there: has_other,
        }
    }

    fn next(&mut self) -> Option<Timestamp> {
        self.returned.pop_front().or_else(|| self.queue.pop_front())
    }

    fn take(&mut self) {
        if let Some(written_at) = self.next() {
            let ticket = self.settling.taken(written_at, ticket());
            self.ours.push((written_at, ticket));
        }
    }

    /// A reader has room, so what comes back is handed out at once.
    fn take_returned(&mut self) {
        while !self.returned.is_empty() {
            self.take();
        }
    }

    fn step(&mut self, what: u8, which: usize) {
        let now = self.clock.now();
        match what {
            0 => {
                append(&self.settling, now);
                self.queue.push_back(now);
            }
            1 => self.queue.push_back(now.minus(ON_ITS_WAY)),
            2 | 3 => self.take(),
            4 if !self.ours.is_empty() => {
                let (_, ticket) = self.ours.remove(which % self.ours.len());
                ticket.acknowledge();
            }
            5 if !self.ours.is_empty() => {
                let (written_at, ticket) = self.ours.remove(which % self.ours.len());
                ticket.give_back();
                self.returned.push_back(written_at);
            }
            6 if self.has_other => {
                self.is_other_there = true;
                if let Some(written_at) = self.next() {
                    self.theirs.push((written_at, now));
                }
            }
            7 if !self.theirs.is_empty() => _ = self.theirs.remove(which % self.theirs.len()),
            8 => {
                // The other one dies.
                self.is_other_there = false;
                self.returned.extend(self.theirs.drain(..).map(|(written_at, _)| written_at));
                self.take_returned();
            }
            9 if which.is_multiple_of(8) => {
                // This one does.
                self.settling = Settling::new(self.clock.clone());
                let ours = std::mem::take(&mut self.ours);
                self.returned.extend(ours.into_iter().map(|(written_at, _)| written_at));
                self.take_returned();
            }
            _ => {
                self.clock.advance(STEP);
                let now = self.clock.now();
                self.theirs.retain(|(_, handed_out)| handed_out.plus(HELD) > now);
            }
        }
    }

    fn bound(&self) -> Timestamp {
        let ready = u32::try_from(self.queue.len() + self.returned.len()).expect("few");
        let queue = JournalQueue { ready, consumers: 1 + u32::from(self.is_other_there) };
        self.settling.bound(self.clock.now(), queue, 1)
    }

    /// The oldest batch that is not in the log.
    fn oldest(&self) -> Option<Timestamp> {
        let theirs = self.theirs.iter().map(|(written_at, _)| written_at);
        let ours = self.ours.iter().map(|(written_at, _)| written_at);
        self.queue.iter().chain(&self.returned).chain(ours).chain(theirs).min().copied()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_called_settled_that_is_not_and_everything_is_in_the_end(
        has_other in any::<bool>(),
        steps in proptest::collection::vec((0..14_u8, any::<usize>()), 1..400),
    ) {
        let mut world = World::new(has_other);
        for (what, which) in steps {
            world.step(what, which);
            let (bound, oldest) = (world.bound(), world.oldest());
            prop_assert!(oldest.is_none_or(|oldest| bound <= oldest), "{bound}, and {oldest:?} is not");
        }
        while world.oldest().is_some() {
            world.theirs.clear();
            world.take();
            world.ours.drain(..).for_each(|(_, ticket)| ticket.acknowledge());
        }
        for _ in 0..30 {
            world.clock.advance(STEP);
            world.bound();
        }
        let behind = world.clock.now().since(world.bound());
        prop_assert!(behind <= if has_other { MARGIN } else { Duration::ZERO }, "{behind:?} behind");
    }
}
