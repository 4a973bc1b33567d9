//! What waits and runs for one webhook.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Share;
use crate::windows::{SLOW_TRY, Window};

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct Line<T> {
    waiting: [VecDeque<Waiting<T>>; 3],
    running: [usize; 3],
    /// Whether it stands in the ring of a share. It does not while its window is full.
    pub(super) is_in_ring: [bool; 3],
    pub(super) window: Window,
    pub(super) cap: usize,
    /// When a try last ended, or the first of those running began.
    moved_at: Instant,
}

impl<T> Line<T> {
    pub(super) fn new(now: Instant) -> Self {
        let waiting = [VecDeque::new(), VecDeque::new(), VecDeque::new()];
        Line {
            waiting,
            running: [0; 3],
            is_in_ring: [false; 3],
            window: Window::default(),
            cap: 1,
            moved_at: now,
        }
    }

    pub(super) fn push(&mut self, share: Share, item: T, now: Instant) {
        self.waiting[share.index()].push_back(Waiting { item, since: now });
    }

    pub(super) fn start(&mut self, share: Share, now: Instant) -> Option<T> {
        let waiting = self.waiting[share.index()].pop_front()?;
        if self.running() == 0 {
            self.moved_at = now;
        }
        self.running[share.index()] += 1;
        Some(waiting.item)
    }

    pub(super) fn end(&mut self, share: Share, now: Instant) {
        self.running[share.index()] -= 1;
        self.moved_at = now;
    }

    pub(super) fn running(&self) -> usize {
        self.running.iter().sum()
    }

    pub(super) fn running_of(&self, share: Share) -> usize {
        self.running[share.index()]
    }

    pub(super) fn is_full(&self) -> bool {
        self.running() >= self.window.size(self.cap)
    }

    pub(super) fn has_waiting(&self, share: Share) -> bool {
        !self.waiting[share.index()].is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running() == 0 && self.waiting() == 0
    }

    /// Tries run, and for long none has ended.
    pub(super) fn stands_still(&self, now: Instant) -> bool {
        self.running() > 0 && now.duration_since(self.moved_at) > SLOW_TRY
    }

    pub(super) fn has_waited(&self, patience: Duration, now: Instant) -> bool {
        self.waiting
            .iter()
            .filter_map(VecDeque::front)
            .any(|first| now.duration_since(first.since) > patience)
    }

    /// Takes out what has waited for longer than this, oldest first of each share, at most so many.
    pub(super) fn take_impatient(&mut self, patience: Duration, at_most: usize, now: Instant) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in &mut self.waiting {
            while taken.len() < at_most
                && queue.front().is_some_and(|first| now.duration_since(first.since) > patience)
            {
                taken.extend(queue.pop_front().map(|waiting| waiting.item));
            }
        }
        taken
    }

    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.is_in_ring = [false; 3];
        self.waiting.iter_mut().flat_map(|queue| queue.drain(..)).map(|waiting| waiting.item).collect()
    }
}
