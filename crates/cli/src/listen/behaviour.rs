//! How the listener answers: what it is told to, late if it is told to, and with 500 by chance.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use postrider_contract::clock::Entropy;

use super::answer::{Answer, Way};

/// What drips, or breaks off, where no body was given.
const FILLER: &str = "half of this, or a byte at a time, is what a receiver in trouble sends\n";

pub(super) struct Behaviour {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) delay: Option<Duration>,
    pub(super) fail_rate: Option<FailRate>,
    /// With answers that are not a success.
    pub(super) retry_after: Option<Duration>,
    pub(super) redirect: Option<HeaderValue>,
    pub(super) way: Way,
    /// So many tries of each delivery are answered like this, and all later ones with 200. Absent: all of them are.
    pub(super) recover_after: Option<u64>,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// A share of requests, from 0 (none) to 1 (all).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct FailRate(f64);

impl FromStr for FailRate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share: f64 = text.parse().map_err(|_| "must be a number from 0 to 1")?;
        if (0.0..=1.0).contains(&share) { Ok(FailRate(share)) } else { Err("must be a number from 0 to 1") }
    }
}

/// # Errors
/// When it is not a status that can end a request.
pub(super) fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse().ok().filter(|status: &StatusCode| (200..600).contains(&status.as_u16()));
    status.ok_or("must be a status code from 200 to 599")
}

/// # Errors
/// When it could not stand in a header.
pub(super) fn parse_location(text: &str) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_str(text).map_err(|_| "must be a URL, without control characters")
}

impl Behaviour {
    /// Draws what a request is answered with; `times` is how often its delivery has come, if that can be told.
    pub(super) fn next_answer(&self, times: Option<u64>) -> Answer {
        let is_over = |limit: &u64| times.is_some_and(|times| times > *limit);
        if self.recover_after.as_ref().is_some_and(is_over) {
            return Answer::new(StatusCode::OK, Bytes::new());
        }
        let fails = self.fail_rate.is_some_and(|rate| self.entropy.draw_jitter().draw() < rate.0);
        let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { self.status };
        let body = match self.way {
            Way::Dripping(_) | Way::ClosedHalfDone if self.body.is_empty() => {
                Bytes::from_static(FILLER.as_bytes())
            }
            Way::AtOnce | Way::Dripping(_) | Way::ClosedHalfDone | Way::ClosedBefore => self.body.clone(),
        };
        let mut answer = Answer { way: self.way, ..Answer::new(status, body) };
        if let Some(wait) = self.retry_after.filter(|_| !status.is_success()) {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(location) = self.redirect.as_ref().filter(|_| status.is_redirection()) {
            answer.headers.insert(LOCATION, location.clone());
        }
        answer
    }

    /// # Errors
    /// What does not go together.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let has_body = super::answer::may_have_body(self.status);
        match self.way {
            Way::Dripping(_) if !has_body => Err("--drip: an answer of this status has no body to drip"),
            Way::ClosedHalfDone if !has_body => Err("--close half-way: an answer of this status has no body"),
            Way::AtOnce | Way::Dripping(_) | Way::ClosedHalfDone | Way::ClosedBefore => {
                if self.redirect.is_some() && !self.status.is_redirection() {
                    return Err("--redirect goes with a status from 300 to 399");
                }
                Ok(())
            }
        }
    }
}

/// `500 after 10s, and 30 % with 500`.
impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(location) = &self.redirect {
            write!(f, " to {}", String::from_utf8_lossy(location.as_bytes()))?;
        }
        match self.way {
            Way::AtOnce => {}
            Way::Dripping(pause) => write!(f, ", a byte every {pause:?}")?,
            Way::ClosedHalfDone => f.write_str(", closing half-way")?,
            Way::ClosedBefore => f.write_str(" by closing the connection")?,
        }
        if let Some(delay) = self.delay {
            write!(f, " after {delay:?}")?;
        }
        if let Some(FailRate(share)) = self.fail_rate {
            write!(f, ", and {:.0} % with 500", share * 100.0)?;
        }
        if let Some(times) = self.recover_after {
            write!(f, ", and with 200 after {times} of one delivery")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Constant(u8);

    impl Entropy for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn behaviour(status: u16, fail_rate: Option<&str>, draw: u8) -> Behaviour {
        Behaviour {
            status: StatusCode::from_u16(status).expect("a status"),
            body: Bytes::from_static(b"ok"),
            delay: None,
            fail_rate: fail_rate.map(|rate| rate.parse().expect("a share")),
            retry_after: Some(Duration::from_millis(1_500)),
            redirect: Some(HeaderValue::from_static("https://elsewhere.example/")),
            way: Way::AtOnce,
            recover_after: None,
            entropy: Arc::new(Constant(draw)),
        }
    }

    #[test]
    fn the_share_of_failures_is_as_told() {
        for (rate, draw, status) in [("0", 0, 200), ("1", 255, 500), ("0.5", 127, 500), ("0.5", 129, 200)] {
            let answer = behaviour(200, Some(rate), draw).next_answer(None);
            assert_eq!(answer.status.as_u16(), status, "{rate} {draw}");
        }
    }

    #[test]
    fn retry_after_comes_with_failures_alone_in_whole_seconds() {
        assert_eq!(behaviour(429, None, 0).next_answer(None).headers[RETRY_AFTER], "2");
        assert!(!behaviour(200, None, 0).next_answer(None).headers.contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_redirect_names_where_to() {
        assert_eq!(behaviour(307, None, 0).next_answer(None).headers[LOCATION], "https://elsewhere.example/");
        assert!(!behaviour(500, None, 0).next_answer(None).headers.contains_key(LOCATION));
    }

    #[test]
    fn after_so_many_tries_of_a_delivery_all_is_well() {
        let twice = Behaviour { recover_after: Some(2), way: Way::ClosedBefore, ..behaviour(503, None, 0) };
        let told = |times| (twice.next_answer(times).status.as_u16(), twice.next_answer(times).way);
        assert_eq!(told(Some(2)), (503, Way::ClosedBefore));
        assert_eq!(told(Some(3)), (200, Way::AtOnce));
        assert_eq!(told(None), (503, Way::ClosedBefore), "nothing tells its tries");
    }

    #[test]
    fn what_cannot_be_answered_with_is_refused() {
        for text in ["", "99", "100", "600", "ok", "-1"] {
            assert!(parse_status(text).is_err(), "{text}");
        }
        for text in ["-0.1", "1.1", "NaN", "half"] {
            assert!(text.parse::<FailRate>().is_err(), "{text}");
        }
        assert!(parse_location("https://a.example/\r\nX: y").is_err());
        let without_body = |way| Behaviour { way, redirect: None, ..behaviour(204, None, 0) }.check();
        assert!(without_body(Way::Dripping(Duration::from_secs(1))).is_err());
        assert!(without_body(Way::ClosedHalfDone).is_err() && without_body(Way::AtOnce).is_ok());
        assert!(behaviour(200, None, 0).check().is_err() && behaviour(301, None, 0).check().is_ok());
    }
}
