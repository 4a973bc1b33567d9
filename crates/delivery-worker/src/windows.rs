//! How many tries of one webhook may be in flight at once, by how its receiver has been answering.
//!
//! A webhook begins with a small window, which grows with each try that ends quickly, so a receiver that is well
//! has its whole window after a moment, while one that answers nothing holds few slots before that is noticed.
//! While tries time out or take long the window is 1 to 4.

use std::time::Duration;

/// From here on a try is slow, and so is a webhook of whose tries none ended for so long.
pub const SLOW_TRY: Duration = Duration::from_secs(1);
/// What a webhook begins with: enough for hundreds of tries a second at 50 ms each.
const BEGINNING: usize = 16;
/// The most a slow webhook gets.
const SLOW_WINDOW: usize = 4;
/// So many quick tries in a row and a slow webhook is taken for well again.
const RECOVERED_AFTER: u8 = 4;

/// How one try went, as far as its window is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It ended within [`SLOW_TRY`], well or not.
    Quick,
    Slow,
    TimedOut,
    /// Nothing was sent, so nothing was learnt.
    NotSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well { window: usize },
    Slow { window: usize, quick_in_a_row: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(Health);

impl Default for Window {
    fn default() -> Self {
        Window(Health::Well { window: BEGINNING })
    }
}

impl Window {
    /// How many may be in flight, at most `cap` and at least one.
    #[must_use]
    pub fn size(self, cap: usize) -> usize {
        let window = match self.0 {
            Health::Well { window } | Health::Slow { window, .. } => window,
        };
        window.min(cap).max(1)
    }

    #[must_use]
    pub fn is_slow(self) -> bool {
        match self.0 {
            Health::Well { .. } => false,
            Health::Slow { .. } => true,
        }
    }

    /// Learns from a try that has ended; `cap` bounds the growth.
    pub fn note(&mut self, pace: Pace, cap: usize) {
        self.0 = match (pace, self.0) {
            (Pace::NotSent, health) => health,
            (Pace::Quick, Health::Well { window }) => Health::Well { window: (window + 1).min(cap.max(1)) },
            (Pace::Quick, Health::Slow { quick_in_a_row, .. }) if quick_in_a_row + 1 >= RECOVERED_AFTER => {
                Health::Well { window: BEGINNING }
            }
            (Pace::Quick, Health::Slow { window, quick_in_a_row }) => {
                Health::Slow { window: (window + 1).min(SLOW_WINDOW), quick_in_a_row: quick_in_a_row + 1 }
            }
            (Pace::Slow, Health::Well { .. }) => Health::Slow { window: SLOW_WINDOW, quick_in_a_row: 0 },
            (Pace::Slow, Health::Slow { window, .. }) => {
                Health::Slow { window: (window + 1).min(SLOW_WINDOW), quick_in_a_row: 0 }
            }
            (Pace::TimedOut, Health::Well { .. }) => Health::Slow { window: SLOW_WINDOW, quick_in_a_row: 0 },
            (Pace::TimedOut, Health::Slow { window, .. }) => {
                Health::Slow { window: (window / 2).max(1), quick_in_a_row: 0 }
            }
        };
    }

    /// Tries are in flight and none has ended for [`SLOW_TRY`].
    pub fn note_standstill(&mut self) {
        if !self.is_slow() {
            self.0 = Health::Slow { window: SLOW_WINDOW, quick_in_a_row: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: usize = 256;

    fn after(paces: &[Pace]) -> Window {
        let mut window = Window::default();
        for pace in paces {
            window.note(*pace, CAP);
        }
        window
    }

    #[test]
    fn quick_tries_open_the_window_up_to_its_cap() {
        assert_eq!(after(&[]).size(CAP), BEGINNING);
        assert_eq!(after(&[Pace::Quick; 10]).size(CAP), BEGINNING + 10);
        assert_eq!(after(&[Pace::Quick; 1_000]).size(CAP), CAP);
        assert_eq!(after(&[Pace::Quick; 1_000]).size(3), 3, "the webhook's own cap counts");
    }

    #[test]
    fn time_outs_close_it_to_one_and_slow_answers_to_four() {
        assert_eq!(after(&[Pace::TimedOut]).size(CAP), 4);
        assert_eq!(after(&[Pace::TimedOut; 9]).size(CAP), 1);
        assert_eq!(after(&[Pace::Slow; 9]).size(CAP), 4);
        assert!(after(&[Pace::Slow]).is_slow() && !after(&[Pace::NotSent]).is_slow());
    }

    #[test]
    fn a_receiver_that_is_quick_again_is_believed_after_a_few_tries() {
        let mut paces = vec![Pace::TimedOut; 5];
        paces.extend([Pace::Quick; 3]);
        assert!(after(&paces).is_slow());
        paces.push(Pace::Quick);
        assert_eq!(after(&paces).size(CAP), BEGINNING);
    }
}
