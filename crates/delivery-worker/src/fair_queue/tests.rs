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

fn webhooks(started: &[Started<u32>]) -> Vec<u128> {
    started.iter().map(|started| started.webhook.as_u128()).collect()
}

#[test]
fn webhooks_are_served_in_turn_and_each_in_order() {
    let (mut queue, now) = queue(100);
    for item in 0..4 {
        queue.push(Share::First, webhook(1), 256, item, now);
    }
    queue.push(Share::First, webhook(2), 256, 10, now);
    queue.push(Share::First, webhook(3), 256, 20, now);
    let started = start_all(&mut queue, now);
    assert_eq!(webhooks(&started), [1, 2, 3, 1, 1, 1]);
    assert_eq!(started.iter().map(|started| started.item).collect::<Vec<_>>(), [0, 10, 20, 1, 2, 3]);
}

#[test]
fn no_webhook_gets_more_than_its_window() {
    let (mut queue, now) = queue(1_000);
    for item in 0..50 {
        queue.push(Share::First, webhook(1), 3, item, now);
        queue.push(Share::Retry, webhook(1), 3, item, now);
    }
    assert_eq!(start_all(&mut queue, now).len(), 3, "the window is over all shares");
    queue.end(webhook(1), Share::First, Pace::Quick, now);
    assert_eq!(start_all(&mut queue, now).len(), 1);
}

#[test]
fn a_storm_of_one_kind_leaves_the_slots_of_the_others() {
    let (mut queue, now) = queue(10);
    for number in 0..100 {
        queue.push(Share::Retry, webhook(number), 256, 0, now);
    }
    assert_eq!(start_all(&mut queue, now).len(), 2);
    for number in 0..100 {
        queue.push(Share::First, webhook(number), 256, 1, now);
    }
    assert_eq!(start_all(&mut queue, now).iter().filter(|started| started.share == Share::First).count(), 6);
}

#[test]
fn slow_webhooks_together_hold_half_of_the_slots() {
    let (mut queue, now) = queue(20);
    for number in 0..40 {
        queue.push(Share::First, webhook(number), 256, 0, now);
    }
    for _ in 0..4 {
        for started in start_all(&mut queue, now) {
            queue.end(started.webhook, started.share, Pace::TimedOut, now);
        }
    }
    for number in 0..40 {
        for share in Share::ALL {
            queue.push(share, webhook(number), 256, 1, now);
        }
    }
    let slow = start_all(&mut queue, now);
    assert_eq!(slow.len(), 10);
    queue.push(Share::First, webhook(99), 256, 2, now);
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
fn a_webhook_that_answers_nothing_is_found_out_while_its_tries_still_run() {
    let (mut queue, now) = queue(1_000);
    for item in 0..100 {
        queue.push(Share::First, webhook(1), 256, item, now);
    }
    let at_first = start_all(&mut queue, now).len();
    assert!(at_first < 100);
    let later = now + Duration::from_millis(1_100);
    let overflowing = queue.overflowing(later);
    assert_eq!(overflowing.len(), 100 - at_first, "what waited for its window goes to the waiting room");
    queue.push(Share::First, webhook(1), 256, 200, later);
    queue.end(webhook(1), Share::First, Pace::TimedOut, later);
    assert!(start_all(&mut queue, later).is_empty(), "its window has closed to fewer than already run");
}

#[test]
fn what_waits_for_a_slot_and_not_for_its_window_is_not_put_away() {
    let (mut queue, now) = queue(5);
    for number in 0..50 {
        queue.push(Share::First, webhook(number), 256, 0, now);
    }
    start_all(&mut queue, now);
    assert!(queue.overflowing(now + Duration::from_millis(900)).is_empty());
}

#[test]
fn the_longest_queue_overflows_first_and_only_by_what_waited_too_long() {
    let (mut queue, now) = queue(1_000);
    for (number, count) in [(1, 30), (2, 300)] {
        for item in 0..count {
            queue.push(Share::First, webhook(number), 1, item, now);
        }
    }
    start_all(&mut queue, now);
    let later = now + Duration::from_millis(600);
    queue.note_late(webhook(3), later);
    queue.push(Share::First, webhook(1), 1, 1_000, later);
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
        queue.push(Share::First, webhook(1), 2, item, now);
    }
    start_all(&mut queue, now);
    let later = now + Duration::from_millis(600);
    queue.note_late(webhook(1), later);
    assert!(queue.overflowing(later).is_empty(), "only its own deliveries are late");
    queue.note_late(webhook(2), later);
    queue.note_late(webhook(1), later);
    assert_eq!(queue.overflowing(later).len(), 256, "another's are too");
    assert!(!queue.overflowing(later + LATE_COUNTS).is_empty(), "by now it has itself stood still");
}

#[test]
fn nothing_is_left_behind_when_everything_is_taken_out() {
    let (mut queue, now) = queue(5);
    for number in 0..20 {
        queue.push(Share::ALL[number % 3], webhook(number as u128), 1, 0, now);
    }
    let started = start_all(&mut queue, now);
    assert_eq!(started.len() + queue.take_waiting().len(), 20);
    for ended in started {
        queue.end(ended.webhook, ended.share, Pace::Quick, now);
    }
    assert_eq!(queue.running(), 0);
    assert!(queue.lines.values().all(|line| line.waiting_count() == 0 && line.running == 0));
    queue.push(Share::First, webhook(3), 1, 7, now);
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
            queue.push(share, webhook(u128::from(draw(12))), draw(5) as usize + 1, pushed, now);
            queue.note_late(webhook(u128::from(draw(12))), now);
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
        assert!(queue.slow_used <= queue.running() && queue.running() == running.len());
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
