//! The headers that a webhook may set for itself, and what may stand in them. Asked when one is saved, and again
//! before it is sent: what is stored may have been written by an older version, or by hand.

use crate::profile::{HeaderName, InvalidHeaderName};
use crate::secret::Secret;

/// With the others well below the 8 KiB of headers that common servers accept in all.
const MAX_VALUE: usize = 4 * 1024;

/// Whole families that are not a webhook's to set: of content and framing, of Standard Webhooks, of ours, and of
/// those that say where a request came from.
const REFUSED_PREFIXES: [&str; 8] = [
    "content-",
    "proxy-",
    "webhook-",
    "postrider-",
    "x-forwarded-",
    "x-aliyun-ecs-metadata-",
    "x-aws-ec2-metadata-",
    "x-google-metadata-",
];
/// The first three complete a request to a cloud's metadata service; the others are the receiving server's to trust.
const REFUSED_NAMES: [&str; 6] =
    ["metadata", "metadata-flavor", "x-metadata-token", "forwarded", "x-real-ip", "via"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedHeader {
    #[error("{0}")]
    Name(#[from] InvalidHeaderName),
    #[error("{name} is reserved and cannot be set")]
    Reserved { name: String },
    #[error("may hold visible ASCII characters and inner spaces only")]
    Value,
    #[error("must be 1 to {MAX_VALUE} bytes long")]
    Length,
}

/// A header's name that a webhook may use, whatever its profile.
///
/// # Errors
/// When it is no header's name, belongs to HTTP, or is reserved.
pub fn check_header_name(text: &str) -> Result<HeaderName, RefusedHeader> {
    let name: HeaderName = text.parse()?;
    let lower = text.to_ascii_lowercase();
    let is_reserved = REFUSED_NAMES.contains(&lower.as_str())
        || REFUSED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if is_reserved { Err(RefusedHeader::Reserved { name: text.to_owned() }) } else { Ok(name) }
}

/// What a webhook may put into a header.
///
/// # Errors
/// When it is too long, or could end its line.
pub fn check_header_value(value: &Secret) -> Result<(), RefusedHeader> {
    let length = value.reveal().len();
    if length == 0 || length > MAX_VALUE { Err(RefusedHeader::Length) } else { check_header_text(value) }
}

/// Visible ASCII and spaces, not at the ends, where servers strip them; of any length.
///
/// # Errors
/// When it holds anything else.
pub fn check_header_text(value: &Secret) -> Result<(), RefusedHeader> {
    let text = value.reveal();
    let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text;
    if is_plain { Ok(()) } else { Err(RefusedHeader::Value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_not_a_webhooks_to_set_are_refused_in_any_case() {
        for name in [
            "Host",
            "CONNECTION",
            "Content-Type",
            "content-anything",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "Expect",
            "Proxy-Authorization",
            "Metadata-Flavor",
            "Metadata",
            "X-aws-ec2-metadata-token",
            "X-aws-ec2-metadata-token-ttl-seconds",
            "X-Google-Metadata-Request",
            "X-aliyun-ecs-metadata-token",
            "webhook-signature",
            "X-Forwarded-For",
            "X A",
            "X\r\nY",
            "",
        ] {
            assert!(check_header_name(name).is_err(), "{name:?}");
        }
        for name in ["Authorization", "X-Api-Key", "x_custom", "Accept"] {
            assert!(check_header_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        for value in
            ["", "a\r\nb", "a\nb", "a\0b", "\u{7f}", "é", " a", "a ", "a\tb", &"x".repeat(MAX_VALUE + 1)]
        {
            assert!(check_header_value(&Secret::new(value.to_owned())).is_err(), "{value:?}");
        }
        assert!(check_header_value(&Secret::new("Token a b=c".to_owned())).is_ok());
    }
}
