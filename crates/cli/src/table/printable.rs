//! Text from outside, made safe to show: nothing in it can move the cursor, change colours or reverse a line.

/// One line: every control character, line feeds too, is written as an escape.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        push(&mut shown, character);
        shown
    })
}

/// Several lines: line feeds stay, a carriage return before one goes, tabs become two spaces.
#[must_use]
fn printable_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| printable(&line.replace('\t', "  "))).collect()
}

/// At most `lines` lines of at most `width` characters each, and whether that is all of it.
#[must_use]
pub fn excerpt(text: &str, lines: usize, width: usize) -> (Vec<String>, bool) {
    let all = printable_lines(text);
    let mut is_whole = all.len() <= lines;
    let mut shown: Vec<String> = all.into_iter().take(lines).collect();
    for line in &mut shown {
        if let Some((end, _)) = line.char_indices().nth(width) {
            line.truncate(end);
            line.push('…');
            is_whole = false;
        }
    }
    (shown, is_whole)
}

fn push(shown: &mut String, character: char) {
    if character.is_control() || is_invisible(character) {
        shown.extend(character.escape_unicode());
    } else {
        shown.push(character);
    }
}

/// Marks that change the direction of text or separate lines without being seen.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_what_they_are() {
        assert_eq!(printable("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\u{a}b");
        assert_eq!(printable("Ünïted ✓"), "Ünïted ✓");
        assert_eq!(printable_lines("a\r\n\tb\n"), ["a", "  b"]);
    }

    #[test]
    fn an_excerpt_says_whether_it_is_all() {
        assert_eq!(excerpt("a\nb", 2, 10), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(excerpt("a\nb", 1, 10), (vec!["a".to_owned()], false));
        assert_eq!(excerpt("äöü", 1, 2), (vec!["äö…".to_owned()], false));
    }
}
