//! Which headers a webhook may set, and what may stand in them.

use std::collections::BTreeMap;

use postrider_contract::profile::HeaderName;
use postrider_contract::secret::Secret;
use postrider_contract::webhook::CustomHeader;
use postrider_service::problem::{FieldErrors, pointer_step};
use postrider_service::webhook_secrets::SecretPlace;

use super::apply::Sealing;

/// Together with the profile's headers well below the 8 KiB that common servers accept in all.
const MAX_HEADERS: usize = 20;
const MAX_VALUE: usize = 4 * 1024;

/// Whole families that are not a webhook's to set: of content and framing, of Standard Webhooks, of ours, and of
/// those that say where a request came from.
const REFUSED_PREFIXES: [&str; 7] = [
    "content-",
    "proxy-",
    "webhook-",
    "postrider-",
    "x-forwarded-",
    "x-aws-ec2-metadata-",
    "x-google-metadata-",
];
/// The first three complete a request to a cloud's metadata service; the others are the receiving server's to trust.
const REFUSED_NAMES: [&str; 6] =
    ["metadata", "metadata-flavor", "x-metadata-token", "forwarded", "x-real-ip", "via"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedHeader {
    #[error("{0}")]
    Name(#[from] postrider_contract::profile::InvalidHeaderName),
    #[error("{name} is reserved and cannot be set")]
    Reserved { name: String },
    #[error("may hold visible ASCII characters and inner spaces only")]
    Value,
    #[error("must be 1 to {MAX_VALUE} bytes long")]
    Length,
}

/// A header's name that a webhook may use, whatever its profile.
pub(super) fn check_header_name(text: &str) -> Result<HeaderName, RefusedHeader> {
    let name: HeaderName = text.parse()?;
    let lower = text.to_ascii_lowercase();
    let is_reserved = REFUSED_NAMES.contains(&lower.as_str())
        || REFUSED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if is_reserved { Err(RefusedHeader::Reserved { name: text.to_owned() }) } else { Ok(name) }
}

/// Visible ASCII and spaces, not at the ends, where servers strip them.
pub(super) fn check_header_value(value: &Secret) -> Result<(), RefusedHeader> {
    let text = value.reveal();
    if text.is_empty() || text.len() > MAX_VALUE {
        return Err(RefusedHeader::Length);
    }
    let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text;
    if is_plain { Ok(()) } else { Err(RefusedHeader::Value) }
}

/// All of a webhook's own headers, sealed. What is wrong is noted by its name.
pub(super) fn read_headers(
    written: &BTreeMap<String, Secret>,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Vec<CustomHeader> {
    if written.len() > MAX_HEADERS {
        errors.add("/headers", format!("must be at most {MAX_HEADERS}"));
        return Vec::new();
    }
    let mut headers: Vec<CustomHeader> = Vec::with_capacity(written.len());
    for (text, value) in written {
        let pointer = format!("/headers/{}", pointer_step(text));
        let name = errors.check(&pointer, check_header_name(text));
        let value = errors.check(&pointer, check_header_value(value).map(|()| value));
        let (Some(name), Some(value)) = (name, value) else { continue };
        if headers.iter().any(|earlier| name.is(&earlier.name)) {
            errors.add(pointer, "is there twice: the case of a header's name does not matter");
            continue;
        }
        let value = sealing.seal(SecretPlace::Header(name.as_str()), value);
        headers.push(CustomHeader { name: name.as_str().to_owned(), value });
    }
    headers
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
