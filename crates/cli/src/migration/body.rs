//! How two bodies differ: value by value where both are JSON, else by their first byte.

use postrider_contract::json::pointer_below;

use super::json_spans::{Member, Shape, Span};
use super::{Difference, Place};

/// Nothing where they are the same, byte for byte.
pub(super) fn differences(captured: &[u8], ours: &[u8]) -> Vec<Difference> {
    if captured == ours {
        return Vec::new();
    }
    let first = first_difference(captured, ours);
    let texts = (std::str::from_utf8(captured), std::str::from_utf8(ours));
    let (Ok(captured_text), Ok(our_text)) = texts else {
        return vec![whole(captured, ours, format!("is not UTF-8; differs from byte {first} on"))];
    };
    let (Some(captured_json), Some(our_json)) = (Span::parse(captured_text), Span::parse(our_text)) else {
        return vec![whole(captured, ours, format!("is not JSON; differs from byte {first} on"))];
    };
    let mut found = Found::default();
    found.compare("", &captured_json, &our_json);
    if found.differences.is_empty() {
        found.differences.push(whole(
            captured,
            ours,
            format!("the same values with other white space: differs from byte {first} on"),
        ));
    }
    found.differences
}

/// From 0; the length of the shorter one where the other goes on.
pub(super) fn first_difference(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// What is around the first byte that differs.
fn whole(captured: &[u8], ours: &[u8], detail: String) -> Difference {
    const BEFORE: usize = 20;
    const AFTER: usize = 60;
    let first = first_difference(captured, ours);
    let around = |bytes: &[u8]| {
        let (begin, end) = (first.saturating_sub(BEFORE), first.saturating_add(AFTER).min(bytes.len()));
        let excerpt = String::from_utf8_lossy(bytes.get(begin..end).unwrap_or_default()).into_owned();
        let (before, after) = (if begin > 0 { "…" } else { "" }, if end < bytes.len() { "…" } else { "" });
        format!("{before}{excerpt}{after}")
    };
    Difference { place: Place::Body, captured: Some(around(captured)), ours: Some(around(ours)), detail }
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
}

impl Found {
    fn add(&mut self, pointer: &str, captured: Option<&str>, ours: Option<&str>, detail: String) {
        let place = if pointer.is_empty() { Place::Body } else { Place::BodyAt(pointer.to_owned()) };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        self.differences.push(Difference { place, captured: owned(captured), ours: owned(ours), detail });
    }

    fn compare(&mut self, pointer: &str, captured: &Span<'_>, ours: &Span<'_>) {
        if captured.raw == ours.raw {
            return;
        }
        match (&captured.shape, &ours.shape) {
            (Shape::Object(captured_members), Shape::Object(our_members)) => {
                self.compare_members(pointer, captured_members, our_members);
            }
            (Shape::Array(captured_elements), Shape::Array(our_elements)) => {
                if captured_elements.len() != our_elements.len() {
                    let (theirs, ours_count) = (captured_elements.len(), our_elements.len());
                    let detail = format!("{theirs} elements where Postrider sends {ours_count}");
                    self.add(pointer, Some(captured.raw), Some(ours.raw), detail);
                    return;
                }
                for (index, (captured, ours)) in captured_elements.iter().zip(our_elements).enumerate() {
                    self.compare(&format!("{pointer}/{index}"), captured, ours);
                }
            }
            (Shape::Object(_) | Shape::Array(_) | Shape::Scalar, _) => {
                let first = first_difference(captured.raw.as_bytes(), ours.raw.as_bytes());
                let detail = format!("differs from byte {} on", captured.at + first);
                self.add(pointer, Some(captured.raw), Some(ours.raw), detail);
            }
        }
    }

    fn compare_members(&mut self, pointer: &str, captured: &[Member<'_>], ours: &[Member<'_>]) {
        let mut order = Vec::new();
        for (index, member) in captured.iter().enumerate() {
            let place = pointer_below(pointer, &member.name);
            let Some(twin) = twin(captured, index, ours) else {
                let detail = "Postrider does not send it".to_owned();
                self.add(&place, Some(member.value.raw), None, detail);
                continue;
            };
            order.push(twin);
            if member.raw_name != ours[twin].raw_name {
                let detail = "the name is written otherwise".to_owned();
                self.add(&place, Some(member.raw_name), Some(ours[twin].raw_name), detail);
            }
            self.compare(&place, &member.value, &ours[twin].value);
        }
        for (index, member) in ours.iter().enumerate() {
            if twin(ours, index, captured).is_none() {
                let place = pointer_below(pointer, &member.name);
                self.add(&place, None, Some(member.value.raw), "only Postrider sends it".to_owned());
            }
        }
        if !order.is_sorted() {
            let theirs = names(ours, &order);
            order.sort_unstable();
            let detail = "the members stand in another order".to_owned();
            self.add(pointer, Some(&theirs), Some(&names(ours, &order)), detail);
        }
    }
}

/// The member of the same name in `other`; of several the one with as many before it.
fn twin(members: &[Member<'_>], index: usize, other: &[Member<'_>]) -> Option<usize> {
    let name = &members[index].name;
    let before = members[..index].iter().filter(|member| member.name == *name).count();
    let of_name = other.iter().enumerate().filter(|(_, member)| member.name == *name);
    of_name.map(|(index, _)| index).nth(before)
}

fn names(members: &[Member<'_>], order: &[usize]) -> String {
    let names: Vec<&str> = order.iter().map(|index| members[*index].name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(captured: &str, ours: &str) -> Vec<String> {
        let differences = differences(captured.as_bytes(), ours.as_bytes());
        differences.iter().map(|found| format!("{} {}", found.place, found.detail)).collect()
    }

    #[test]
    fn the_same_bytes_do_not_differ() {
        assert_eq!(found("{ \"a\": 1 }", "{ \"a\": 1 }"), [""; 0]);
        assert_eq!(found("", ""), [""; 0]);
    }

    #[test]
    fn each_value_that_differs_is_named_by_its_place() {
        for (captured, ours, expected) in [
            (r#"{"a":1.50}"#, r#"{"a":1.5}"#, "body:/a differs from byte 8 on"),
            (r#"{"a":{"b/c":[1,2]}}"#, r#"{"a":{"b/c":[1,3]}}"#, "body:/a/b~1c/1 differs from byte 15 on"),
            (r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, "body:/a 2 elements where Postrider sends 1"),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#, "body:/b Postrider does not send it"),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, "body:/b only Postrider sends it"),
            (r#"{"a":1,"a":2}"#, r#"{"a":1}"#, "body:/a Postrider does not send it"),
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#, "body the members stand in another order"),
            (
                r#"{"x":{"b":1,"a":2}}"#,
                r#"{"x":{"a":2,"b":1}}"#,
                "body:/x the members stand in another order",
            ),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#, "body:/a the name is written otherwise"),
            (r#"{"a":"\u00e9"}"#, r#"{"a":"é"}"#, "body:/a differs from byte 6 on"),
            (r#"{"a":{}}"#, r#"{"a":null}"#, "body:/a differs from byte 5 on"),
            (
                "{\"a\":1}\n",
                r#"{"a":1}"#,
                "body the same values with other white space: differs from byte 7 on",
            ),
            (
                r#"{"a": 1}"#,
                r#"{"a":1}"#,
                "body the same values with other white space: differs from byte 5 on",
            ),
            ("a=1&b=2", "{}", "body is not JSON; differs from byte 0 on"),
        ] {
            assert_eq!(found(captured, ours), [expected], "{captured} {ours}");
        }
    }

    #[test]
    fn what_is_around_the_first_byte_is_shown() {
        let ours = format!("{{\"a\":\"{}\"}}", "x".repeat(200));
        let captured = ours.replacen("{\"a\":", "{\"a\" :", 1);
        let found = differences(captured.as_bytes(), ours.as_bytes());
        assert!(
            found[0]
                .captured
                .as_deref()
                .is_some_and(|text| text.starts_with("{\"a\" :") && text.ends_with('…'))
        );
        let found = differences(b"\xff", b"{}");
        assert!(found[0].detail.contains("not UTF-8"));
    }
}
