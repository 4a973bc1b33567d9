//! The filter `code`: a status code that a response may have had.

use serde::Deserialize;

/// From 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ResponseCode(u16);

#[derive(Debug, thiserror::Error)]
#[error("must be a status code from 100 to 599")]
pub(super) struct NotAResponseCode;

impl ResponseCode {
    pub(super) fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<String> for ResponseCode {
    type Error = NotAResponseCode;

    fn try_from(text: String) -> Result<Self, NotAResponseCode> {
        let number = text.parse().ok().filter(|number| (100..=599).contains(number));
        number.map(ResponseCode).ok_or(NotAResponseCode)
    }
}
