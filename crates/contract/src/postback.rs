//! Postbacks: requests whose query, and form if they have one, hold macros that are filled from the event.
//!
//! They are filled once, when the event is accepted, and kept for every try. A value is percent-encoded so that it
//! can end neither its parameter nor the query, whatever it holds; numbers are copied digit for digit.

mod filling;
mod macros;

use serde::{Deserialize, Serialize};

use crate::attempt::Response;
use crate::profile::StatusSet;

pub use filling::{FilledPostback, fill_postback};
pub use macros::{InvalidMacro, MacroText, check_form, check_url};

/// The longest query that is sent. With a URL of its longest before it, it stays below the 8,190 bytes of a request line
/// that common servers accept.
pub const MAX_FILLED_QUERY: usize = 6_000;
/// The longest form with its macros, as it is saved.
pub const MAX_FORM: usize = 4 * 1024;
/// The longest form that is sent. Beside its ordinary macros there is room for a text or two of an event.
pub const MAX_FILLED_FORM: usize = 64 * 1024;
/// The longest text that an answer can be asked to hold.
pub const MAX_ANSWER_TEXT: usize = 200;

/// What a webhook of kind `postback` says beside its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostbackRule {
    #[serde(default)]
    pub method: PostbackMethod,
    /// With macros; for POST alone. Absent: an empty body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// Absent: what its profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<SuccessRule>,
}

impl PostbackRule {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == PostbackRule::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PostbackMethod {
    #[default]
    Get,
    Post,
}

impl PostbackMethod {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PostbackMethod::Get => "GET",
            PostbackMethod::Post => "POST",
        }
    }
}

/// Which answers mean that the postback has arrived. What it does not name is tried again, unless the profile ends the
/// delivery for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessRule {
    pub statuses: StatusSet,
    /// To be found, byte for byte, in as much of the answer's body as is kept
    /// ([`MAX_KEPT_BODY`](crate::attempt::MAX_KEPT_BODY)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
}

impl SuccessRule {
    #[must_use]
    pub fn is_met_by(&self, response: &Response) -> bool {
        let holds =
            |text: &String| response.body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        self.statuses.contains(response.status) && self.body_contains.as_ref().is_none_or(holds)
    }
}

#[cfg(test)]
mod tests;
