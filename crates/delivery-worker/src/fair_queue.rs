//! Who is next: a small queue for each webhook, served in turn, each up to its window.
//!
//! Pure: told the time, never asks for it; holds no lock and knows no IO. What it keeps to:
//!
//! * first tries, retries and releases have slots of their own, so that a storm of one cannot delay the others;
//! * slow webhooks together hold at most half of all slots;
//! * a webhook whose oldest delivery has waited longer than [`Limits::patience`] for its own window gives up what
//!   has waited that long, the longest queue first ([`FairQueue::overflowing`]); one that is well only if
//!   deliveries of others come late meanwhile, however much it gets.
//!
//! The number of deliveries in here is bounded by what the queue hands out unacknowledged, its prefetch.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use postrider_contract::ids::WebhookId;
use tokio::time::Instant;

use crate::windows::{Pace, SLOW_TRY, Window};

/// More webhooks are not remembered as slow; the next ones begin anew when they come again.
const MAX_REMEMBERED: usize = 16_384;
/// For so long a late arrival shows that others wait.
const LATE_COUNTS: Duration = Duration::from_secs(1);
/// What one look hands out as overflowing: more would only wait for the journal together.
const MAX_OVERFLOWING: usize = 256;

/// Whose slots a try uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    First,
    Retry,
    Release,
}

impl Share {
    pub const ALL: [Share; 3] = [Share::First, Share::Retry, Share::Release];

    fn index(self) -> usize {
        self as usize
    }
}

/// The bounds of a [`FairQueue`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Slots by share: in order of [`Share::ALL`].
    pub slots: [usize; 3],
    /// For slow webhooks, of all slots together.
    pub slow_slots: usize,
    /// How long a delivery waits for its own window.
    pub patience: Duration,
}

impl Limits {
    /// 60 % for first tries, 20 % each for retries and releases; half of all for slow ones.
    #[must_use]
    pub fn of(slots: usize, patience: Duration) -> Self {
        let fifth = (slots / 5).max(1);
        let first = slots.saturating_sub(2 * fifth).max(1);
        Limits { slots: [first, fifth, fifth], slow_slots: (slots / 2).max(1), patience }
    }
}

/// A delivery whose turn it is; it holds a slot until [`FairQueue::end`].
#[derive(Debug, PartialEq, Eq)]
pub struct Started<T> {
    pub item: T,
    pub webhook: WebhookId,
    pub share: Share,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    since: Instant,
}

#[derive(Debug)]
struct Line<T> {
    waiting: [VecDeque<Waiting<T>>; 3],
    /// Whether it stands in the ring of a share. It does not while its window is full.
    is_in_ring: [bool; 3],
    running: usize,
    window: Window,
    cap: usize,
    /// When a try last ended, or the first of those running began.
    moved_at: Instant,
}

impl<T> Line<T> {
    fn new(now: Instant) -> Self {
        let waiting = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
        Line { waiting, is_in_ring: [false; 3], running: 0, window: Window::default(), cap: 1, moved_at: now }
    }

    fn is_full(&self) -> bool {
        self.running >= self.window.size(self.cap)
    }

    fn waiting_count(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

#[derive(Debug)]
pub struct FairQueue<T> {
    limits: Limits,
    lines: HashMap<WebhookId, Line<T>>,
    rings: [VecDeque<WebhookId>; 3],
    used: [usize; 3],
    /// Slots held by slow webhooks.
    slow_used: usize,
    /// Slow webhooks that wait for one of those.
    slow_waiting: VecDeque<(Share, WebhookId)>,
    /// The webhooks, two different ones, that something came late for most recently.
    late: [Option<(WebhookId, Instant)>; 2],
}

impl<T> FairQueue<T> {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        FairQueue {
            limits,
            lines: HashMap::new(),
            rings: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            used: [0; 3],
            slow_used: 0,
            slow_waiting: VecDeque::new(),
            late: [None; 2],
        }
    }

    /// A delivery of this webhook has waited long in the queue that all webhooks share.
    pub fn note_late(&mut self, webhook: WebhookId, now: Instant) {
        if self.late[0].is_some_and(|(latest, _)| latest != webhook) {
            self.late[1] = self.late[0];
        }
        self.late[0] = Some((webhook, now));
    }

    /// Puts a delivery at the end of its webhook's queue. `cap` is the webhook's window when it is well.
    pub fn push(&mut self, share: Share, webhook: WebhookId, cap: usize, item: T, now: Instant) {
        let line = self.lines.entry(webhook).or_insert_with(|| Line::new(now));
        line.cap = cap;
        line.waiting[share.index()].push_back(Waiting { item, since: now });
        self.ring(share, webhook);
    }

    /// The next delivery that has a slot, a window and its turn.
    pub fn start_next(&mut self, now: Instant) -> Option<Started<T>> {
        Share::ALL.into_iter().find_map(|share| self.start_next_of(share, now))
    }

    /// A try has ended, and its slot is free.
    pub fn end(&mut self, webhook: WebhookId, share: Share, pace: Pace, now: Instant) {
        self.used[share.index()] -= 1;
        let Some(line) = self.lines.get_mut(&webhook) else { return };
        if line.window.is_slow() {
            self.slow_used -= line.running;
        }
        line.running -= 1;
        line.moved_at = now;
        line.window.note(pace, line.cap);
        let is_slow = line.window.is_slow();
        if is_slow {
            self.slow_used += line.running;
        }
        if line.running == 0 && line.waiting_count() == 0 && (!is_slow || self.lines.len() > MAX_REMEMBERED) {
            self.lines.remove(&webhook);
        } else {
            for share in Share::ALL {
                self.ring(share, webhook);
            }
        }
        while self.slow_used < self.limits.slow_slots {
            let Some((share, webhook)) = self.slow_waiting.pop_front() else { break };
            self.ring(share, webhook);
            if self.rings[share.index()].back() == Some(&webhook) {
                break;
            }
        }
    }

    /// What has waited too long for its own window, to be put into the waiting room. Also takes note of webhooks
    /// of whose tries none has ended for long. Called some ten times a second.
    pub fn overflowing(&mut self, now: Instant) -> Vec<T> {
        let mut impatient = Vec::new();
        let late = self.late;
        let do_others_wait = |webhook: WebhookId| {
            let recent = late.iter().flatten().filter(|(_, at)| now.duration_since(*at) < LATE_COUNTS);
            recent.into_iter().any(|(other, _)| *other != webhook)
        };
        for (webhook, line) in &mut self.lines {
            let stands_still = line.running > 0 && now.duration_since(line.moved_at) > SLOW_TRY;
            if stands_still && !line.window.is_slow() {
                line.window.note_standstill();
                self.slow_used += line.running;
            }
            let is_kept_back = line.window.is_slow() || line.is_full() && do_others_wait(*webhook);
            let oldest =
                line.waiting.iter().filter_map(|queue| queue.front()).map(|waiting| waiting.since).min();
            if is_kept_back && oldest.is_some_and(|since| now.duration_since(since) > self.limits.patience) {
                impatient.push((line.waiting_count(), *webhook));
            }
        }
        impatient.sort_unstable_by(|a, b| b.cmp(a));
        let mut overflowing = Vec::new();
        for (_, webhook) in impatient {
            let Some(line) = self.lines.get_mut(&webhook) else { continue };
            for queue in &mut line.waiting {
                while overflowing.len() < MAX_OVERFLOWING
                    && queue
                        .front()
                        .is_some_and(|front| now.duration_since(front.since) > self.limits.patience)
                {
                    overflowing.extend(queue.pop_front().map(|waiting| waiting.item));
                }
            }
        }
        overflowing
    }

    /// Everything that has not begun: to be given back when the worker ends.
    pub fn take_waiting(&mut self) -> Vec<T> {
        self.rings.iter_mut().for_each(VecDeque::clear);
        self.slow_waiting.clear();
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            line.is_in_ring = [false; 3];
            taken.extend(
                line.waiting.iter_mut().flat_map(|queue| queue.drain(..)).map(|waiting| waiting.item),
            );
        }
        taken
    }

    /// How many tries hold a slot.
    #[must_use]
    pub fn running(&self) -> usize {
        self.used.iter().sum()
    }

    /// Puts a webhook into the ring of a share, if something of it waits there and it does not stand there yet.
    fn ring(&mut self, share: Share, webhook: WebhookId) {
        let Some(line) = self.lines.get_mut(&webhook) else { return };
        let index = share.index();
        if !line.is_in_ring[index] && !line.waiting[index].is_empty() && !line.is_full() {
            line.is_in_ring[index] = true;
            self.rings[index].push_back(webhook);
        }
    }

    fn start_next_of(&mut self, share: Share, now: Instant) -> Option<Started<T>> {
        let index = share.index();
        while self.used[index] < self.limits.slots[index] {
            let webhook = self.rings[index].pop_front()?;
            let Some(line) = self.lines.get_mut(&webhook) else { continue };
            line.is_in_ring[index] = false;
            // Its window may have closed, or its queue been emptied, since it got in line; `end` brings it back.
            if line.is_full() || line.waiting[index].is_empty() {
                continue;
            }
            let is_slow = line.window.is_slow();
            if is_slow && self.slow_used >= self.limits.slow_slots {
                self.slow_waiting.push_back((share, webhook));
                continue;
            }
            let Some(waiting) = line.waiting[index].pop_front() else { continue };
            if line.running == 0 {
                line.moved_at = now;
            }
            line.running += 1;
            self.used[index] += 1;
            self.slow_used += usize::from(is_slow);
            self.ring(share, webhook);
            return Some(Started { item: waiting.item, webhook, share });
        }
        None
    }
}

#[cfg(test)]
mod tests;
