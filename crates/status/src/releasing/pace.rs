//! How fast one webhook may be released to: its window, its rate if it has one, and what is out.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::tries::Seen;
use crate::window::{Tokens, Window};

/// What a try may take that is quick, a second, and one more for the queue and the journal.
const QUICKLY: Duration = Duration::from_secs(2);

/// What may be released to a webhook now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    Window,
    Rate(NonZeroU32),
    Nothing,
}

#[derive(Debug)]
pub(super) struct Pace {
    window: Window,
    tokens: Option<Tokens>,
    refilled_at: Instant,
    /// What was released and is not known to have been tried, oldest first: when, and how many.
    out: VecDeque<(Instant, u64)>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Pace { window: Window::new(), tokens: None, refilled_at: now, out: VecDeque::new() }
    }

    /// A bucket that may not be full yet is kept although nothing waits: a new one would give a token too early.
    pub(super) fn is_in_use(&self) -> bool {
        self.tokens.is_some() && self.refilled_at.elapsed() < Tokens::FULL_AFTER
    }

    /// Learns from the tries that ended. Whoever wrote them down took them out of the room, so that what is missing
    /// there tells of all of them; `seen` tells how those went that this process wrote down.
    pub(super) fn note(&mut self, seen: Seen, still_released: u64, now: Instant) {
        let (quickly, slowly) = self.note_ended(still_released, now);
        self.window.note(seen, quickly, slowly);
    }

    /// How many more may be released, of which so many are out.
    pub(super) fn allowed(&mut self, allowance: Allowance, cap: u32, out: u64, now: Instant) -> u32 {
        let out = u32::try_from(out).unwrap_or(u32::MAX);
        let window = self.window.size().min(cap).saturating_sub(out);
        match allowance {
            Allowance::Nothing => 0,
            Allowance::Window => {
                self.tokens = None;
                window
            }
            Allowance::Rate(rate) => {
                if self.tokens.is_none_or(|tokens| tokens.rate() != rate) {
                    self.tokens = Some(Tokens::new(rate));
                }
                let elapsed = now - std::mem::replace(&mut self.refilled_at, now);
                self.tokens.as_mut().map_or(0, |tokens| {
                    tokens.refill(elapsed);
                    tokens.available().min(window)
                })
            }
        }
    }

    pub(super) fn note_released(&mut self, count: u32, now: Instant) {
        if let Some(tokens) = &mut self.tokens {
            tokens.spend(count);
        }
        self.out.push_back((now, u64::from(count)));
    }

    /// How many have ended since the last look, quickly and slowly. Those that went out first are taken to have
    /// ended first.
    fn note_ended(&mut self, still_released: u64, now: Instant) -> (u32, u32) {
        let out: u64 = self.out.iter().map(|(_, count)| count).sum();
        if still_released > out {
            // Released by a leader before this one.
            self.out.push_front((now, still_released - out));
        }
        let (mut ended, mut quickly, mut slowly) = (out.saturating_sub(still_released), 0, 0);
        while let Some((at, count)) = self.out.front_mut().filter(|_| ended > 0) {
            let taken = ended.min(*count);
            if now.duration_since(*at) > QUICKLY {
                slowly += taken;
            } else {
                quickly += taken;
            }
            ended -= taken;
            *count -= taken;
            if *count == 0 {
                self.out.pop_front();
            }
        }
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        (small(quickly), small(slowly))
    }
}
