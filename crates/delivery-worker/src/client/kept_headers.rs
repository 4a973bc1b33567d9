//! What is kept of a response's headers: the record of a try travels through the queue and is stored for every
//! try, so it is bounded, and it is shown to people, so it holds no credentials.

use bytes::BytesMut;
use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION, RETRY_AFTER, SET_COOKIE};
use postrider_contract::attempt::Header;

/// Names and values together. Half of what is kept of a body, and more than common servers send.
pub const MAX_KEPT_HEADERS: usize = 8 * 1024;

/// Of what most servers answer with.
const USUAL_SIZE: usize = 256;

/// These are credentials of the receiver's, whatever it meant by sending them.
const CREDENTIALS: [HeaderName; 6] = [
    SET_COOKIE,
    COOKIE,
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("authentication-info"),
];
const MASKED: &[u8] = b"***";
/// A `Retry-After` is a number or a date; what is longer says nothing and is not kept.
const MAX_WAIT_LENGTH: usize = 256;

/// The headers as they go into the record: credentials as `***`, at most [`MAX_KEPT_HEADERS`] bytes. The first that
/// does not fit ends the list. `Retry-After`, which says when the next try is, comes first and so is always kept.
/// All of them share one piece of memory.
pub fn kept_headers(headers: &HeaderMap) -> Vec<Header> {
    let asked_wait = headers.get(RETRY_AFTER).filter(|value| value.len() < MAX_WAIT_LENGTH);
    let asked_wait = asked_wait.map(|value| (&RETRY_AFTER, value));
    let others = headers.iter().filter(|(name, _)| *name != RETRY_AFTER);
    let mut text = BytesMut::with_capacity(USUAL_SIZE);
    let mut ends = Vec::with_capacity(headers.len());
    for (name, value) in asked_wait.into_iter().chain(others) {
        let value = if CREDENTIALS.contains(name) { MASKED } else { value.as_bytes() };
        if text.len() + name.as_str().len() + value.len() > MAX_KEPT_HEADERS {
            break;
        }
        text.extend_from_slice(name.as_str().as_bytes());
        let name_end = text.len();
        text.extend_from_slice(value);
        ends.push((name_end, text.len()));
    }
    let text = text.freeze();
    let mut start = 0;
    let header = |(name_end, end)| {
        let name = text.slice(std::mem::replace(&mut start, end)..name_end);
        // Names are ASCII, so none is left out.
        Some(Header { name: name.try_into().ok()?, value: text.slice(name_end..end) })
    };
    ends.into_iter().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        of.iter().map(header).collect()
    }

    fn size(kept: &[Header]) -> usize {
        kept.iter().map(|header| header.name.len() + header.value.len()).sum()
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_wait_asked_for_is_always_in_it() {
        let long = "x".repeat(MAX_KEPT_HEADERS / 2);
        let of = headers(&[("x-a", &long), ("x-b", &long), ("x-c", "1"), ("retry-after", "120")]);
        let kept = kept_headers(&of);
        let names: Vec<_> = kept.iter().map(|header| &*header.name).collect();
        assert_eq!(names, ["retry-after", "x-a"], "x-b does not fit and ends the list");
        let fits = "x".repeat(MAX_KEPT_HEADERS - "x-a".len());
        assert_eq!(size(&kept_headers(&headers(&[("x-a", &fits)]))), MAX_KEPT_HEADERS);
        let odd = "9".repeat(MAX_KEPT_HEADERS);
        assert!(kept_headers(&headers(&[("retry-after", &odd)])).is_empty());
    }

    #[test]
    fn credentials_are_masked() {
        let of = headers(&[
            ("set-cookie", "session=secret"),
            ("authorization", "Bearer secret"),
            ("proxy-authorization", "Basic secret"),
            ("content-type", "text/plain"),
        ]);
        for Header { name, value } in kept_headers(&of) {
            let shown = if name == "content-type" { "text/plain" } else { "***" };
            assert_eq!(value, shown, "{name}");
        }
    }
}
