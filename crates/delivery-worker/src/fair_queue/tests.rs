use std::collections::VecDeque;

use super::*;

fn webhook(number: u128) -> WebhookId {
    WebhookId::from_u128(number)
}

fn limits(slots: usize) -> Limits {
    Limits::of(slots, Duration::from_millis(500))
}

fn queue(slots: usize) -> (FairQueue<u32>, Instant) {
    (FairQueue::new(limits(slots)), Instant::now())
}

fn start_all(queue: &mut FairQueue<u32>, now: Instant) -> Vec<Started<u32>> {
    std::iter::from_fn(|| queue.start_next(now)).collect()
}

/// Puts one in of which it is expected that it waits here.
fn push(queue: &mut FairQueue<u32>, share: Share, webhook: WebhookId, cap: usize, item: u32, now: Instant) {
    assert_eq!(queue.push(share, webhook, cap, item, now), None, "it waits for its turn");
}

const LATE: Duration = Duration::from_millis(600);
const OLD: Duration = Duration::from_millis(1_100);

fn webhooks(started: &[Started<u32>]) -> Vec<u128> {
    started.iter().map(|started| started.webhook.as_u128()).collect()
}

#[test]
fn webhooks_are_served_in_turn_and_each_in_order() {
    let (mut queue, now) = queue(100);
    for item in 0..4 {
        push(&mut queue, Share::First, webhook(1), 256, item, now);
    }
    push(&mut queue, Share::First, webhook(2), 256, 10, now);
    push(&mut queue, Share::First, webhook(3), 256, 20, now);
    let started = start_all(&mut queue, now);
    assert_eq!(webhooks(&started), [1, 2, 3, 1, 1, 1]);
    assert_eq!(started.iter().map(|started| started.item).collect::<Vec<_>>(), [0, 10, 20, 1, 2, 3]);
}

#[test]
fn no_webhook_gets_more_than_its_window() {
    let (mut queue, now) = queue(1_000);
    for item in 0..50 {
        push(&mut queue, Share::First, webhook(1), 3, item, now);
        push(&mut queue, Share::Retry, webhook(1), 3, item, now);
    }
    assert_eq!(start_all(&mut queue, now).len(), 3, "the window is over all shares");
    queue.end(webhook(1), Share::First, Pace::Quick, now);
    assert_eq!(start_all(&mut queue, now).len(), 1);
}

#[test]
fn a_storm_of_one_kind_leaves_the_slots_of_the_others() {
    let (mut queue, now) = queue(10);
    for number in 0..100 {
        push(&mut queue, Share::Retry, webhook(number), 256, 0, now);
    }
    assert_eq!(start_all(&mut queue, now).len(), 2);
    for number in 0..100 {
        push(&mut queue, Share::First, webhook(number), 256, 1, now);
    }
    assert_eq!(start_all(&mut queue, now).iter().filter(|started| started.share == Share::First).count(), 6);
}

#[test]
fn slow_webhooks_together_hold_half_of_the_slots() {
    let (mut queue, now) = queue(20);
    for number in 0..40 {
        push(&mut queue, Share::First, webhook(number), 256, 0, now);
    }
    for _ in 0..4 {
        for started in start_all(&mut queue, now) {
            queue.end(started.webhook, started.share, Pace::TimedOut, now);
        }
    }
    for number in 0..40 {
        for share in Share::ALL {
            push(&mut queue, share, webhook(number), 256, 1, now);
        }
    }
    let slow = start_all(&mut queue, now);
    assert_eq!(slow.len(), 10);
    push(&mut queue, Share::First, webhook(99), 256, 2, now);
    assert_eq!(webhooks(&start_all(&mut queue, now)), [99], "a healthy one still finds a slot");
    // As slow tries end, other slow ones follow, until all have had their turn.
    let mut running: VecDeque<_> = slow.into();
    let mut served = running.len();
    while let Some(ended) = running.pop_front() {
        queue.end(ended.webhook, ended.share, Pace::TimedOut, now);
        let more = start_all(&mut queue, now);
        served += more.len();
        running.extend(more);
    }
    assert_eq!(served, 120);
}

#[test]
fn a_slow_webhook_does_not_lose_its_turn_to_one_that_has_just_had_it() {
    let (mut queue, now) = queue(20);
    for number in 0..9 {
        push(&mut queue, Share::First, webhook(number), 256, 0, now);
    }
    for started in start_all(&mut queue, now) {
        queue.end(started.webhook, started.share, Pace::TimedOut, now);
    }
    for item in 1..9 {
        (0..9).for_each(|number| push(&mut queue, Share::First, webhook(number), 256, item, now));
    }
    let mut running: VecDeque<_> = start_all(&mut queue, now).into();
    assert_eq!(webhooks(running.make_contiguous()), [0, 1, 2, 3, 4, 5], "half of twelve slots");
    let mut served = vec![0_u32; 9];
    for round in 0..27 {
        let ended = running.pop_front().unwrap();
        queue.end(ended.webhook, ended.share, Pace::Slow, now);
        let next = start_all(&mut queue, now);
        assert_eq!(webhooks(&next), [(6 + round) % 9], "whoever has waited longest");
        served[usize::try_from(next[0].webhook.as_u128()).unwrap()] += 1;
        running.extend(next);
    }
    assert_eq!(served, [3; 9]);
}

/// The others' tries may hold the slow half until they time out.
#[test]
fn a_webhook_that_is_well_again_waits_for_no_slow_one() {
    let (mut queue, now) = queue(20);
    for number in 0..9 {
        push(&mut queue, Share::First, webhook(number), 256, 0, now);
    }
    for started in start_all(&mut queue, now) {
        queue.end(started.webhook, started.share, Pace::TimedOut, now);
    }
    for item in 1..10 {
        push(&mut queue, Share::First, webhook(0), 256, item, now);
    }
    assert_eq!(webhooks(&start_all(&mut queue, now)), [0; 4], "its window while it is slow");
    for number in 1..9 {
        push(&mut queue, Share::First, webhook(number), 256, 1, now);
    }
    assert_eq!(webhooks(&start_all(&mut queue, now)), [1, 2], "half of twelve slots");
    for next in [3, 4, 5] {
        queue.end(webhook(0), Share::First, Pace::Quick, now);
        assert_eq!(webhooks(&start_all(&mut queue, now)), [next], "each before it");
    }
    queue.end(webhook(0), Share::First, Pace::Quick, now);
    let next = webhooks(&start_all(&mut queue, now));
    assert!(
        next.contains(&6) && next.contains(&0),
        "the slow half is full, and it goes on beside it: {next:?}"
    );
}

#[test]
fn slow_webhooks_leave_half_of_the_slots_of_each_kind() {
    let (mut queue, now) = queue(20);
    for number in 0..12 {
        push(&mut queue, Share::First, webhook(number), 256, 0, now);
    }
    for started in start_all(&mut queue, now) {
        queue.end(started.webhook, started.share, Pace::TimedOut, now);
    }
    for (share, half) in [(Share::First, 6), (Share::Retry, 2), (Share::Release, 2)] {
        (0..12).for_each(|number| push(&mut queue, share, webhook(number), 256, 1, now));
        assert_eq!(start_all(&mut queue, now).len(), half, "{share:?}");
        (20..40).for_each(|number| push(&mut queue, share, webhook(number), 256, 2, now));
        assert_eq!(
            start_all(&mut queue, now).len(),
            half,
            "the other half of {share:?} is for the well ones"
        );
    }
}

#[test]
fn what_a_webhook_held_before_it_was_found_out_keeps_the_well_ones_from_no_more_than_half() {
    let (mut queue, now) = queue(20);
    (0..30).for_each(|item| push(&mut queue, Share::First, webhook(1), 256, item, now));
    assert_eq!(start_all(&mut queue, now).len(), 12, "it is not known yet, and has all the slots");
    let later = now + Duration::from_millis(1_100);
    (0..30).for_each(|item| push(&mut queue, Share::First, webhook(2), 256, item, later));
    assert!(start_all(&mut queue, later).is_empty());
    drop(queue.overflowing(later));
    assert_eq!(webhooks(&start_all(&mut queue, later)), [2; 6]);
    for _ in 0..12 {
        queue.end(webhook(1), Share::First, Pace::TimedOut, later);
    }
    assert_eq!(webhooks(&start_all(&mut queue, later)), [2; 6], "and all of them when it has let go");
}

#[test]
fn what_is_new_follows_what_was_given_up_until_ingest_has_heard_of_it() {
    let (mut queue, now) = queue(1_000);
    (0..20).for_each(|item| push(&mut queue, Share::First, webhook(1), 256, item, now));
    start_all(&mut queue, now);
    let later = now + Duration::from_millis(1_100);
    assert_eq!(queue.overflowing(later), [16, 17, 18, 19]);
    assert_eq!(queue.push(Share::First, webhook(1), 256, 20, later), Some(20));
    push(&mut queue, Share::Retry, webhook(1), 256, 21, later);
    push(&mut queue, Share::First, webhook(2), 256, 22, later);
    push(&mut queue, Share::First, webhook(1), 256, 23, later + FOLLOWS_FOR);
}

#[test]
fn whoever_fills_the_queue_gives_up_its_new_ones_while_others_come_a_second_late() {
    let (mut queue, now) = queue(1_000);
    let at = |millis: u64| now + Duration::from_millis(millis);
    let come = |queue: &mut FairQueue<u32>, millis: u64, waited: Duration| {
        for number in [1, 1, 1, 2, 3] {
            queue.note_arrival(webhook(number), waited, at(millis));
        }
    };
    for millis in [0, 500, 1_000] {
        come(&mut queue, millis, LATE);
        push(&mut queue, Share::First, webhook(1), 256, 0, at(millis));
    }
    come(&mut queue, 1_100, OLD);
    assert_eq!(queue.push(Share::First, webhook(1), 256, 7, at(1_100)), Some(7));
    push(&mut queue, Share::First, webhook(2), 256, 8, at(1_100));
    push(&mut queue, Share::Release, webhook(1), 256, 9, at(1_100));
}

#[test]
fn a_webhook_that_comes_alone_is_never_given_up_however_much_and_late_it_comes() {
    let (mut queue, now) = queue(1_000);
    for millis in 0..5_000 {
        let now = now + Duration::from_millis(millis);
        queue.note_arrival(webhook(1), OLD, now);
        push(&mut queue, Share::First, webhook(1), 256, 0, now);
        for started in start_all(&mut queue, now) {
            queue.end(started.webhook, started.share, Pace::Quick, now);
        }
        assert!(queue.overflowing(now).is_empty());
    }
}

#[test]
fn among_many_equals_nobody_is_a_crowd() {
    let (mut queue, now) = queue(1_000);
    for round in 0..4 {
        let now = now + Duration::from_secs(round);
        for number in 0..20 {
            queue.note_arrival(webhook(number), OLD, now);
            push(&mut queue, Share::First, webhook(number), 256, 0, now);
        }
    }
}

#[test]
fn a_webhook_that_answers_nothing_is_found_out_while_its_tries_still_run() {
    let (mut queue, now) = queue(1_000);
    for item in 0..100 {
        push(&mut queue, Share::First, webhook(1), 256, item, now);
    }
    let at_first = start_all(&mut queue, now).len();
    assert!(at_first < 100);
    let later = now + Duration::from_millis(1_100);
    let overflowing = queue.overflowing(later);
    assert_eq!(overflowing.len(), 100 - at_first, "what waited for its window goes to the waiting room");
    push(&mut queue, Share::Retry, webhook(1), 256, 200, later);
    queue.end(webhook(1), Share::First, Pace::TimedOut, later);
    assert!(start_all(&mut queue, later).is_empty(), "its window has closed to fewer than already run");
}

#[test]
fn what_waits_for_a_slot_and_not_for_its_window_is_not_put_away() {
    let (mut queue, now) = queue(5);
    for number in 0..50 {
        push(&mut queue, Share::First, webhook(number), 256, 0, now);
    }
    start_all(&mut queue, now);
    assert!(queue.overflowing(now + Duration::from_millis(900)).is_empty());
}

#[test]
fn the_longest_queue_overflows_first_and_only_by_what_waited_too_long() {
    let (mut queue, now) = queue(1_000);
    for (number, count) in [(1, 30), (2, 300)] {
        for item in 0..count {
            push(&mut queue, Share::First, webhook(number), 1, item, now);
        }
    }
    start_all(&mut queue, now);
    let later = now + Duration::from_millis(600);
    queue.note_arrival(webhook(3), LATE, later);
    push(&mut queue, Share::First, webhook(1), 1, 1_000, later);
    assert_eq!(queue.overflowing(now + Duration::from_millis(400)).len(), 0);
    let overflowing = queue.overflowing(later);
    assert_eq!(overflowing, (1..257).collect::<Vec<_>>(), "of the second webhook, oldest first, in portions");
    let rest = queue.overflowing(later);
    assert_eq!(rest.len(), 43 + 29);
    assert!(queue.overflowing(later).is_empty(), "the newest of the first webhook stays");
}

#[test]
fn a_webhook_that_is_well_is_not_put_away_while_nobody_waits() {
    let (mut queue, now) = queue(1_000);
    for item in 0..300 {
        push(&mut queue, Share::First, webhook(1), 2, item, now);
    }
    start_all(&mut queue, now);
    let later = now + Duration::from_millis(600);
    queue.note_arrival(webhook(1), LATE, later);
    assert!(queue.overflowing(later).is_empty(), "only its own deliveries are late");
    queue.note_arrival(webhook(2), LATE, later);
    queue.note_arrival(webhook(1), LATE, later);
    assert_eq!(queue.overflowing(later).len(), 256, "another's are too");
    assert!(
        !queue.overflowing(later + Duration::from_secs(1)).is_empty(),
        "by now it has itself stood still"
    );
}

#[test]
fn first_tries_leave_places_of_their_webhooks_window_to_its_retries_and_releases() {
    let (mut queue, now) = queue(1_000);
    for item in 0..30 {
        for share in Share::ALL {
            push(&mut queue, share, webhook(1), 3, item, now);
        }
    }
    let mut begun = [0; 3];
    for _ in 0..30 {
        let Some(started) = queue.start_next(now) else { break };
        begun[started.share as usize] += 1;
        queue.end(webhook(1), started.share, Pace::Quick, now);
    }
    assert_eq!(begun, [10; 3]);
}

/// What a worker has in hand for long keeps the broker from shortening its log, and is taken back in the end, with all
/// else that the worker holds.
#[test]
fn nothing_is_in_hand_without_end_though_its_webhook_is_well_and_alone() {
    const TRY: Duration = Duration::from_millis(900);
    const LINE: u32 = 200;
    const RETRY: u32 = u32::MAX;
    let (mut queue, begun) = queue(1_000);
    let mut waiting = std::collections::HashMap::from([(RETRY, begun)]);
    push(&mut queue, Share::Retry, webhook(1), 1, RETRY, begun);
    // As many first tries as the broker hands out, another one for each that has ended, and place for one at a time.
    for item in 0..1_000_u32 {
        let now = begun + TRY * item.saturating_sub(LINE);
        if queue.push(Share::First, webhook(1), 1, item, now).is_none() {
            waiting.insert(item, now);
        }
        if item < LINE {
            continue;
        }
        let started = start_all(&mut queue, now);
        let given_up = queue.overflowing(now);
        waiting.retain(|item, _| !given_up.contains(item) && started.iter().all(|one| one.item != *item));
        for (item, since) in &waiting {
            assert!(now - *since <= LONGEST_WAIT + TRY, "{item} is in hand for {:?}", now - *since);
        }
        for one in started {
            queue.end(one.webhook, one.share, Pace::Quick, now + TRY);
        }
    }
}

#[test]
fn nothing_is_left_behind_when_everything_is_taken_out() {
    let (mut queue, now) = queue(5);
    for number in 0..20 {
        push(&mut queue, Share::ALL[number % 3], webhook(number as u128), 1, 0, now);
    }
    let started = start_all(&mut queue, now);
    assert_eq!(started.len() + queue.take_waiting().len(), 20);
    for ended in started {
        queue.end(ended.webhook, ended.share, Pace::Quick, now);
    }
    assert_eq!(queue.running(), 0);
    assert!(queue.lines.values().all(|line| line.is_idle()));
    push(&mut queue, Share::First, webhook(3), 1, 7, now);
    assert_eq!(start_all(&mut queue, now).len(), 1, "and it goes on as before");
}

#[test]
fn every_order_of_events_serves_everything_once() {
    // A small random walk, from a fixed sequence so that a failure repeats.
    let (mut queue, start) = queue(8);
    let mut state = 0x2545_f491_u32;
    let mut draw = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let (mut pushed, mut served, mut running) = (0_u32, Vec::new(), Vec::new());
    for step in 0..20_000_u32 {
        let now = start + Duration::from_millis(u64::from(step));
        if step < 10_000 && draw(2) == 0 {
            let share = Share::ALL[draw(3) as usize];
            let given_up =
                queue.push(share, webhook(u128::from(draw(12))), draw(5) as usize + 1, pushed, now);
            served.extend(given_up);
            let waited = [Duration::ZERO, LATE, OLD][draw(3) as usize];
            queue.note_arrival(webhook(u128::from(draw(12))), waited, now);
            pushed += 1;
        }
        if draw(3) == 0 {
            running.extend(queue.start_next(now));
        }
        if !running.is_empty() && draw(2) == 0 {
            let ended: Started<u32> = running.swap_remove(draw(8) as usize % running.len());
            let pace = [Pace::Quick, Pace::Slow, Pace::TimedOut, Pace::NotSent][draw(4) as usize];
            served.push(ended.item);
            queue.end(ended.webhook, ended.share, pace, now);
        }
        if step % 100 == 0 {
            served.extend(queue.overflowing(now));
        }
        assert_eq!(queue.running(), running.len());
    }
    let end = start + Duration::from_secs(60);
    loop {
        running.extend(start_all(&mut queue, end));
        let Some(ended) = running.pop() else { break };
        served.push(ended.item);
        queue.end(ended.webhook, ended.share, Pace::Quick, end);
    }
    served.sort_unstable();
    assert_eq!(served, (0..pushed).collect::<Vec<_>>());
}
