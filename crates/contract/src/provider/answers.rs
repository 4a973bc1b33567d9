//! What providers' answers mean beyond what a profile says of statuses.

use serde::Deserialize;

use super::Provider;
use crate::attempt::{BodyExtent, Response};
use crate::clock::Timestamp;
use crate::retry::RetryAfter;

/// Too many requests: every provider says so, and until when.
const RATE_LIMITED: u16 = 429;

/// A provider's habits, from its documentation.
#[derive(Debug)]
pub(crate) struct AnswerHabits {
    /// It has taken the message, whatever the profile takes for a success.
    success: &'static [u16],
    /// What a successful answer says, if it says anything. Another text is an error.
    success_text: Option<&'static str>,
    /// A successful answer that says this is an error all the same.
    error_text: Option<&'static str>,
    /// Nothing will come of trying again with the same body at the same URL.
    permanent: &'static [u16],
    /// Whether it asks to be left alone with 429, by `Retry-After` or in the body's `retry_after`, in seconds.
    limits_rate: bool,
}

const SLACK: AnswerHabits = AnswerHabits {
    success: &[200],
    success_text: Some("ok"),
    error_text: None,
    permanent: &[400, 403, 404, 410],
    limits_rate: true,
};
/// 401, 403 and 429 in numbers make Discord ban the address they come to.
const DISCORD: AnswerHabits = AnswerHabits {
    success: &[200, 204],
    success_text: None,
    error_text: None,
    permanent: &[400, 401, 403, 404],
    limits_rate: true,
};
/// 202 says that a flow has begun, and the body is empty. Webhooks of the older kind answered 200 and told of what
/// went wrong in the body.
const TEAMS: AnswerHabits = AnswerHabits {
    success: &[200, 202],
    success_text: None,
    error_text: Some("Webhook message delivery failed"),
    permanent: &[],
    limits_rate: true,
};
const OTHER_SERVICE: AnswerHabits =
    AnswerHabits { success: &[200], success_text: None, error_text: None, permanent: &[], limits_rate: true };
const NONE: AnswerHabits =
    AnswerHabits { success: &[], success_text: None, error_text: None, permanent: &[], limits_rate: false };

impl Provider {
    pub(crate) fn answer_habits(self) -> &'static AnswerHabits {
        match self {
            Provider::Slack => &SLACK,
            Provider::Discord => &DISCORD,
            Provider::TeamsWebhook => &TEAMS,
            Provider::Zapier | Provider::Make => &OTHER_SERVICE,
            Provider::Webhook => &NONE,
        }
    }
}

impl AnswerHabits {
    pub(crate) fn is_success(&self, status: u16) -> bool {
        self.success.contains(&status)
    }

    /// Whether an answer with a status of success tells of an error. Of a text that was cut off, what came counts.
    pub(crate) fn tells_of_an_error(&self, response: &Response) -> bool {
        let text = String::from_utf8_lossy(&response.body);
        let text = text.trim();
        let is_other = |expected: &str| match response.extent {
            BodyExtent::Whole | BodyExtent::Truncated => {
                !text.is_empty() && !text.eq_ignore_ascii_case(expected)
            }
            BodyExtent::CutOff => {
                !expected.get(..text.len()).is_some_and(|begun| text.eq_ignore_ascii_case(begun))
            }
        };
        self.success_text.is_some_and(is_other) || self.error_text.is_some_and(|error| text.contains(error))
    }

    pub(crate) fn is_permanent(&self, status: u16) -> bool {
        self.permanent.contains(&status)
    }

    pub(crate) fn is_rate_limit(&self, status: u16) -> bool {
        self.limits_rate && status == RATE_LIMITED
    }

    /// For how long it asks to be left alone: the longer of what header and body say.
    pub(crate) fn wish(&self, response: &Response, now: Timestamp) -> Option<RetryAfter> {
        #[derive(Deserialize)]
        struct RateLimit {
            retry_after: f64,
        }
        if !self.is_rate_limit(response.status) {
            return None;
        }
        let in_header = response.header("retry-after").and_then(|value| RetryAfter::parse(value, now));
        let in_body = serde_json::from_slice::<RateLimit>(&response.body).ok();
        in_header.max(in_body.and_then(|limit| RetryAfter::from_seconds(limit.retry_after)))
    }
}
