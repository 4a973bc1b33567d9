//! A URL's query as receivers read it: `name=value` pairs between `&`, percent-encoded, `+` for a space.

/// The names of the parameters as they are written.
pub fn parameter_names(query: &str) -> impl Iterator<Item = &str> {
    pairs(query).map(|(name, _)| name)
}

/// How many parameters of this name there are.
#[must_use]
pub fn count_parameters(query: &str, name: &str) -> usize {
    pairs(query).filter(|(known, _)| is(known, name)).count()
}

/// The decoded bytes of a parameter's value, of the first one where there are several.
#[must_use]
pub fn parameter_value(query: &str, name: &str) -> Option<Vec<u8>> {
    pairs(query).find(|(known, _)| is(known, name)).map(|(_, value)| decode(value))
}

/// The query without any parameter of this name; the others stay as they are written.
#[must_use]
pub fn without_parameter(query: &str, name: &str) -> String {
    let is_other = |part: &&str| !is(split(part).0, name);
    query.split('&').filter(is_other).collect::<Vec<_>>().join("&")
}

/// The query with one more pair behind it.
#[must_use]
pub fn with_pair(query: &str, pair: &str) -> String {
    if query.is_empty() { pair.to_owned() } else { format!("{query}&{pair}") }
}

/// `name=value`. Every byte but the unreserved ones of RFC 3986 is percent-encoded, in upper case.
#[must_use]
pub fn encoded_pair(name: &str, value: &str) -> String {
    let mut pair = String::with_capacity(name.len() + value.len() * 2);
    encode(name, &mut pair);
    pair.push('=');
    encode(value, &mut pair);
    pair
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|part| !part.is_empty()).map(split)
}

fn split(part: &str) -> (&str, &str) {
    part.split_once('=').unwrap_or((part, ""))
}

fn is(encoded: &str, name: &str) -> bool {
    decode(encoded) == name.as_bytes()
}

/// What is not two hexadecimal digits behind a `%` stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            are_digits.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
        });
        decoded.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.extend(['%', HEX[usize::from(byte >> 4)].into(), HEX[usize::from(byte & 15)].into()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_is_found_and_decoded_as_a_receiver_does() {
        let query = "a=1&b%5B%5D=x%20y+z%C3%BC&c&d=%zz%4&a=2&=e";
        for (name, value) in [
            ("a", Some("1")),
            ("b[]", Some("x y z\u{fc}")),
            ("c", Some("")),
            ("d", Some("%zz%4")),
            ("", Some("e")),
            ("f", None),
        ] {
            assert_eq!(parameter_value(query, name), value.map(|text| text.as_bytes().to_vec()), "{name}");
        }
        assert_eq!((count_parameters(query, "a"), count_parameters("", "a")), (2, 0));
    }

    #[test]
    fn a_pair_is_added_and_taken_off_again() {
        assert_eq!(encoded_pair("sig", "t=1,v1=a+/="), "sig=t%3D1%2Cv1%3Da%2B%2F%3D");
        for query in ["", "a=1", "a=1&b=%20"] {
            let signed = with_pair(query, "sig=x");
            assert_eq!(without_parameter(&signed, "sig"), query);
            assert_eq!(parameter_value(&signed, "sig").as_deref(), Some(&b"x"[..]));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(name in ".{1,20}", value in ".{0,40}", before in "[a-z=&%+0-9]{0,30}") {
            prop_assume!(count_parameters(&before, &name) == 0);
            let query = with_pair(&before, &encoded_pair(&name, &value));
            prop_assert_eq!(parameter_value(&query, &name), Some(value.into_bytes()));
            prop_assert_eq!(without_parameter(&query, &name), before);
        }
    }
}
