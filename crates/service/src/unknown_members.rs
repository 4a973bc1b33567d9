//! Members of a document that this version does not know: kept when the document is written again.
//!
//! While versions are replaced one process at a time, an older one changes what a newer one wrote. What it does not know
//! of it is not its to erase.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// In the bytes they were written with: numbers keep their digits.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// `written`, with those members of `found` that are not among the `known`, at any depth of objects that all three have.
/// `known` is `found` as this version reads and writes it. `None` if there is nothing to keep.
pub(crate) fn with_unknown_members(found: &str, known: &str, written: &str) -> Option<String> {
    let (found, known, written) = (members_of(found)?, members_of(known)?, members_of(written)?);
    let mut kept: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in &found {
        match (known.get(name), written.get(name)) {
            (None, None) => drop(kept.insert(name, (*value).to_owned())),
            (Some(known), Some(written)) => {
                let inner = with_unknown_members(value.get(), known.get(), written.get());
                let inner = inner.and_then(|inner| RawValue::from_string(inner).ok());
                kept.extend(inner.map(|inner| (name.as_str(), inner)));
            }
            // What this version has an opinion of is as it was written.
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
    if kept.is_empty() {
        return None;
    }
    for (name, value) in &written {
        kept.entry(name).or_insert_with(|| (*value).to_owned());
    }
    serde_json::to_string(&kept).ok()
}

/// `None` if it is no object.
fn members_of(json: &str) -> Option<Members<'_>> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(found: &str, known: &str, written: &str) -> Option<serde_json::Value> {
        let kept = with_unknown_members(found, known, written)?;
        Some(serde_json::from_str(&kept).expect("JSON"))
    }

    #[test]
    fn what_is_not_known_stays_digit_for_digit_and_what_is_known_is_as_it_was_written() {
        let found = r#"{"a":1,"new":{"n": 12345678901234567890123.50},"gone":2,"more":[1e400]}"#;
        let written = with_unknown_members(found, r#"{"a":1,"gone":2}"#, r#"{"a":3,"b":4}"#);
        let expected = r#"{"a":3,"b":4,"more":[1e400],"new":{"n": 12345678901234567890123.50}}"#;
        assert_eq!(written.as_deref(), Some(expected));
    }

    #[test]
    fn what_is_not_known_stays_inside_of_what_is() {
        let found = r#"{"rules":{"old":1,"new":2},"kind":{"type":"a","new":3},"list":[{"new":4}]}"#;
        let known = r#"{"rules":{"old":1},"kind":{"type":"a"},"list":[{}]}"#;
        let after = kept(found, known, r#"{"rules":{},"kind":"b","list":[{}]}"#).expect("something to keep");
        assert_eq!(after, serde_json::json!({"rules": {"new": 2}, "kind": "b", "list": [{}]}));
    }

    #[test]
    fn where_everything_is_known_what_was_written_is_not_touched() {
        let all = r#"{"a":{"b":1}}"#;
        assert_eq!(kept(all, all, r#"{"a":{"b":2}}"#), None);
        assert_eq!(kept(all, all, r#"{"withdrawn":{"a":{"b":1}}}"#), None);
        assert_eq!(kept(r#"{"a":null}"#, "{}", r#"{"a":1}"#), None);
    }
}
