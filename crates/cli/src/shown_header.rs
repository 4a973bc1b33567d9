//! A header's value as it is shown on a screen, which may be shared: credentials masked, nothing that steers it.

use postrider_contract::attempt::Header;

use crate::table::printable;

/// Their values are secrets.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// The value; of a credential its scheme and its length alone.
#[must_use]
pub fn shown_value(header: &Header) -> String {
    let text = String::from_utf8_lossy(&header.value);
    if !SECRET.iter().any(|secret| header.name.eq_ignore_ascii_case(secret)) {
        return printable(&text);
    }
    let (scheme, rest) = text.split_once(' ').unwrap_or(("", &text));
    format!("{} *** ({} characters)", printable(scheme), rest.chars().count()).trim_start().to_owned()
}
