//! How the listener answers: what it is told to, late if it is told to, and with 500 by chance.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use postrider_contract::clock::Entropy;

pub(super) struct Behaviour {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) delay: Option<Duration>,
    pub(super) fail_rate: Option<FailRate>,
    /// With answers that are not a success.
    pub(super) retry_after: Option<Duration>,
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

impl Behaviour {
    /// Draws what this request is answered with.
    pub(super) fn next_answer(&self) -> Response<Full<Bytes>> {
        let fails = self.fail_rate.is_some_and(|rate| self.entropy.draw_jitter().draw() < rate.0);
        let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { self.status };
        let body = if may_have_body(status) { self.body.clone() } else { Bytes::new() };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        if let Some(wait) = self.retry_after.filter(|_| !status.is_success()) {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// `500 after 10s, and 30 % with 500`.
impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(delay) = self.delay {
            write!(f, " after {delay:?}")?;
        }
        if let Some(FailRate(share)) = self.fail_rate {
            write!(f, ", and {:.0} % with 500", share * 100.0)?;
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
            entropy: Arc::new(Constant(draw)),
        }
    }

    #[test]
    fn the_share_of_failures_is_as_told() {
        for (rate, draw, status) in [("0", 0, 200), ("1", 255, 500), ("0.5", 127, 500), ("0.5", 129, 200)] {
            assert_eq!(
                behaviour(200, Some(rate), draw).next_answer().status().as_u16(),
                status,
                "{rate} {draw}"
            );
        }
    }

    #[test]
    fn retry_after_comes_with_failures_alone_in_whole_seconds() {
        assert_eq!(behaviour(429, None, 0).next_answer().headers()[RETRY_AFTER], "2");
        assert!(!behaviour(200, None, 0).next_answer().headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn what_cannot_be_answered_with_is_refused() {
        for text in ["", "99", "100", "600", "ok", "-1"] {
            assert!(parse_status(text).is_err(), "{text}");
        }
        for text in ["-0.1", "1.1", "NaN", "half"] {
            assert!(text.parse::<FailRate>().is_err(), "{text}");
        }
    }
}
