//! Who is next: a small queue for each webhook, served in turn, each up to its window.
//!
//! Pure: told the time, never asks for it; holds no lock and knows no IO. What it keeps to:
//!
//! * first tries, retries and releases have slots of their own, so that a storm of one cannot delay the others;
//! * slow webhooks together hold at most half of the slots, of each kind and so of all, and take their turns there;
//! * a webhook whose oldest delivery has waited longer than [`Limits::patience`] for its own window gives up what
//!   has waited that long, the longest queue first ([`FairQueue::overflowing`]); one that is well only if
//!   deliveries of others come late meanwhile, however much it gets;
//! * what has waited for its own full window for [`LONGEST_WAIT`] is given up, whoever else waits or not;
//! * while deliveries of others come over a second late, the webhook with the largest share of what comes in gives up
//!   its new ones at once ([`FairQueue::push`]);
//! * behind what was given up comes, for [`FOLLOWS_FOR`], all that is new of the same webhook: it does not overtake.
//!
//! The number of deliveries in here is bounded by what the queue hands out unacknowledged, its prefetch.

mod arrivals;
mod line;
mod slots;

use std::collections::HashMap;
use std::time::Duration;

use postrider_contract::ids::WebhookId;
use tokio::time::Instant;

use self::arrivals::Arrivals;
use self::line::Line;
use self::slots::{Slots, Standing};
use crate::windows::Pace;

/// More webhooks are not remembered as slow; the next ones begin anew when they come again.
const MAX_REMEMBERED: usize = 16_384;
/// What one look hands out as overflowing: more would only wait for the journal together.
const MAX_OVERFLOWING: usize = 256;
/// How long anything waits here for its own full window, behind a long line. The broker keeps its log from the oldest
/// message in hand on, and takes back all that a worker has in hand for the sake of one that is held for too long; a time
/// limit of 5 minutes passes for sound.
pub const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Until ingest has heard that deliveries of a webhook wait, and itself sends the new ones after them: it asks every
/// second, and the journal is read within another.
pub const FOLLOWS_FOR: Duration = Duration::from_secs(2);

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
    /// How long a delivery waits for its own window.
    pub patience: Duration,
}

impl Limits {
    /// 60 % for first tries, 20 % each for retries and releases.
    #[must_use]
    pub fn of(slots: usize, patience: Duration) -> Self {
        let fifth = (slots / 5).max(1);
        let first = slots.saturating_sub(2 * fifth).max(1);
        Limits { slots: [first, fifth, fifth], patience }
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
pub struct FairQueue<T> {
    limits: Limits,
    lines: HashMap<WebhookId, Line<T>>,
    slots: [Slots; 3],
    /// The share that is asked first: each in turn, else first tries would take every place of a webhook's window.
    turn: usize,
    arrivals: Arrivals,
    /// Webhooks whose new deliveries go after those that were given up, until then.
    following: HashMap<WebhookId, Instant>,
}

impl<T> FairQueue<T> {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        FairQueue {
            limits,
            lines: HashMap::new(),
            slots: limits.slots.map(Slots::new),
            turn: 0,
            arrivals: Arrivals::new(limits.patience),
            following: HashMap::new(),
        }
    }

    /// A first try of this webhook has been handed out by the queue that all webhooks share, after it had waited there
    /// for so long.
    pub fn note_arrival(&mut self, webhook: WebhookId, waited: Duration, now: Instant) {
        self.arrivals.note(webhook, waited, now);
    }

    /// Puts a delivery at the end of its webhook's queue, or gives it back to be put into the waiting room. `cap` is
    /// the webhook's window when it is well.
    #[must_use]
    pub fn push(&mut self, share: Share, webhook: WebhookId, cap: usize, item: T, now: Instant) -> Option<T> {
        if share == Share::First {
            if self.arrivals.is_crowding(webhook, now) {
                self.following.insert(webhook, now + FOLLOWS_FOR);
            }
            if self.following.get(&webhook).is_some_and(|until| now < *until) {
                return Some(item);
            }
        }
        let line = self.lines.entry(webhook).or_insert_with(|| Line::new(now));
        line.cap = cap;
        line.push(share, item, now);
        self.ring(share, webhook);
        None
    }

    /// The next delivery that has a slot, a window and its turn.
    pub fn start_next(&mut self, now: Instant) -> Option<Started<T>> {
        let mut in_turn = Share::ALL.into_iter().cycle().skip(self.turn).take(Share::ALL.len());
        let started = in_turn.find_map(|share| self.start_next_of(share, now))?;
        self.turn = (started.share.index() + 1) % Share::ALL.len();
        Some(started)
    }

    /// A try has ended, and its slot is free.
    pub fn end(&mut self, webhook: WebhookId, share: Share, pace: Pace, now: Instant) {
        let is_crowded = self.lines.len() > MAX_REMEMBERED;
        let Some(line) = self.lines.get_mut(&webhook) else { return };
        self.slots[share.index()].free(standing(line));
        line.end(share, now);
        let before = standing(line);
        line.window.note(pace, line.cap);
        let after = standing(line);
        if line.is_idle() && (after == Standing::Well || is_crowded) {
            // What it waited for may have been put away: it must not find an old place in line when it comes again.
            let is_in_ring = line.is_in_ring;
            for share in Share::ALL.into_iter().filter(|share| is_in_ring[share.index()]) {
                self.slots[share.index()].leave_line(webhook, before);
            }
            self.lines.remove(&webhook);
            return;
        }
        self.stand(webhook, before, after);
        for share in Share::ALL {
            self.ring(share, webhook);
        }
    }

    /// What has waited too long for its own window, to be put into the waiting room. Also takes note of webhooks
    /// of whose tries none has ended for long. Called some ten times a second.
    pub fn overflowing(&mut self, now: Instant) -> Vec<T> {
        self.note_standstills(now);
        self.following.retain(|_, until| now < *until);
        let mut impatient: Vec<(usize, WebhookId, Duration)> = Vec::new();
        for (webhook, line) in &self.lines {
            let is_kept_back = match standing(line) {
                Standing::Slow => true,
                Standing::Well => line.is_full() && self.arrivals.do_others_wait(*webhook, now),
            };
            let patience = if is_kept_back { self.limits.patience } else { LONGEST_WAIT };
            if (is_kept_back || line.is_full()) && line.has_waited(patience, now) {
                impatient.push((line.waiting(), *webhook, patience));
            }
        }
        impatient.sort_unstable_by(|a, b| b.cmp(a));
        let mut overflowing = Vec::new();
        for (_, webhook, patience) in impatient {
            let Some(line) = self.lines.get_mut(&webhook) else { continue };
            let at_most = MAX_OVERFLOWING - overflowing.len();
            let taken = line.take_impatient(patience, at_most, now);
            if !taken.is_empty() {
                self.following.insert(webhook, now + FOLLOWS_FOR);
            }
            overflowing.extend(taken);
        }
        overflowing
    }

    /// Everything that has not begun: to be given back when the worker ends.
    pub fn take_waiting(&mut self) -> Vec<T> {
        self.slots.iter_mut().for_each(Slots::forget_lines);
        self.lines.values_mut().flat_map(Line::take_all).collect()
    }

    /// How many tries hold a slot.
    #[must_use]
    pub fn running(&self) -> usize {
        self.slots.iter().map(Slots::used).sum()
    }

    fn note_standstills(&mut self, now: Instant) {
        let is_new = |line: &Line<T>| standing(line) == Standing::Well && line.stands_still(now);
        let still: Vec<WebhookId> =
            self.lines.iter().filter(|(_, line)| is_new(line)).map(|(webhook, _)| *webhook).collect();
        for webhook in still {
            if let Some(line) = self.lines.get_mut(&webhook) {
                line.window.note_standstill();
            }
            self.stand(webhook, Standing::Well, Standing::Slow);
        }
    }

    /// What runs of a webhook counts as its standing is, and it waits for its turn among its like: a webhook that is well
    /// again must not wait until a slow one lets go of a slot.
    fn stand(&mut self, webhook: WebhookId, before: Standing, after: Standing) {
        let Some(line) = self.lines.get(&webhook) else { return };
        if before != after {
            for share in Share::ALL {
                let slots = &mut self.slots[share.index()];
                slots.recount(line.running_of(share), before, after);
                if line.is_in_ring[share.index()] {
                    slots.leave_line(webhook, before);
                    slots.get_in_line(webhook, after);
                }
            }
        }
    }

    /// Puts a webhook into the ring of a share, if something of it waits there and it does not stand there yet.
    fn ring(&mut self, share: Share, webhook: WebhookId) {
        let Some(line) = self.lines.get_mut(&webhook) else { return };
        let index = share.index();
        if !line.is_in_ring[index] && line.has_waiting(share) && !line.is_full() {
            line.is_in_ring[index] = true;
            self.slots[index].get_in_line(webhook, standing(line));
        }
    }

    fn start_next_of(&mut self, share: Share, now: Instant) -> Option<Started<T>> {
        let index = share.index();
        while let Some((webhook, ring)) = self.slots[index].next() {
            let Some(line) = self.lines.get_mut(&webhook) else { continue };
            line.is_in_ring[index] = false;
            // Its window may have closed, or its queue been emptied, since it got in line; `end` brings it back.
            if line.is_full() || !line.has_waiting(share) {
                continue;
            }
            if standing(line) != ring {
                self.ring(share, webhook);
                continue;
            }
            let Some(item) = line.start(share, now) else { continue };
            self.slots[index].take(ring);
            self.ring(share, webhook);
            return Some(Started { item, webhook, share });
        }
        None
    }
}

fn standing<T>(line: &Line<T>) -> Standing {
    if line.window.is_slow() { Standing::Slow } else { Standing::Well }
}

#[cfg(test)]
mod tests;
