//! JSON laid out for reading without being read and written: every number and string stays as it came.

/// Deeper nesting is not indented further, so that a hostile body cannot make lines of nothing but spaces.
const MAX_INDENT: usize = 32;

/// `json` with a line for each member and element; `None` where it is not valid JSON.
pub(super) fn laid_out(json: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(json).ok()?;
    let mut shown = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut characters = json.chars().filter(Outside::default().keeps()).peekable();
    let mut in_text = false;
    while let Some(character) = characters.next() {
        shown.push(character);
        match (in_text, character) {
            (true, '\\') => shown.extend(characters.next()),
            (_, '"') => in_text = !in_text,
            (true, _) => {}
            (false, ':') => shown.push(' '),
            (false, ',') => new_line(&mut shown, depth),
            // Empty ones stay on their line.
            (false, '{' | '[') if matches!(characters.peek(), Some('}' | ']')) => {
                shown.extend(characters.next())
            }
            (false, '{' | '[') => {
                depth += 1;
                new_line(&mut shown, depth);
            }
            (false, _) => {}
        }
        if !in_text && matches!(characters.peek(), Some('}' | ']')) {
            depth = depth.saturating_sub(1);
            new_line(&mut shown, depth);
        }
    }
    Some(shown)
}

fn new_line(shown: &mut String, depth: usize) {
    shown.push('\n');
    shown.push_str(&"  ".repeat(depth.min(MAX_INDENT)));
}

/// Tells the white space between tokens from that inside strings.
#[derive(Default)]
struct Outside {
    in_text: bool,
    is_escaped: bool,
}

impl Outside {
    fn keeps(mut self) -> impl FnMut(&char) -> bool {
        move |character| {
            if self.in_text {
                match (self.is_escaped, character) {
                    (true, _) => self.is_escaped = false,
                    (false, '\\') => self.is_escaped = true,
                    (false, '"') => self.in_text = false,
                    (false, _) => {}
                }
                return true;
            }
            self.in_text = *character == '"';
            !character.is_ascii_whitespace()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_on_lines_of_their_own_as_they_came() {
        let json = r#"{"b": 12345678901234567890123 ,"a":"x: {\"y\"} , \\","a":[1, 2.50],"e":{},"f":[ ]}"#;
        let shown = laid_out(json).expect("JSON");
        let expected = [
            "{",
            r#"  "b": 12345678901234567890123,"#,
            r#"  "a": "x: {\"y\"} , \\","#,
            r#"  "a": ["#,
            "    1,",
            "    2.50",
            "  ],",
            r#"  "e": {},"#,
            r#"  "f": []"#,
            "}",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_json_is_left_alone() {
        for text in ["", "{", "a=b&c=d", "{}{}"] {
            assert_eq!(laid_out(text), None, "{text}");
        }
        assert_eq!(laid_out("[]").as_deref(), Some("[]"));
        assert_eq!(laid_out("\"a b\"").as_deref(), Some("\"a b\""));
    }
}
