//! Texts cut to a limit: at a character, or before the one that what follows would belong to, with an ellipsis.

use std::borrow::Cow;

pub(super) const ELLIPSIS: char = '…';
/// What stands for a text that shows nothing: providers refuse empty ones.
pub(super) const NOTHING: &str = "–";
/// So far back a cut looks for the beginning of what belongs together; longer sequences are not written by anybody.
const LONGEST_CLUSTER: usize = 16;

/// What a character costs of a limit.
pub(super) type Cost = fn(char) -> usize;

/// UTF-16 units: never fewer than the characters that any of the providers counts.
pub(super) fn units(character: char) -> usize {
    character.len_utf16()
}

/// Bytes in a JSON string.
pub(super) fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        '\u{0}'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// All of a text if it costs no more than the limit, else its beginning with an ellipsis; nothing if there is no room
/// even for that.
pub(super) fn cut(text: &str, limit: usize, cost: Cost) -> Cow<'_, str> {
    let of_ellipsis = cost(ELLIPSIS);
    let mut spent = 0;
    // The last place at which an ellipsis would still fit.
    let mut end = None;
    for (place, character) in text.char_indices() {
        if spent + of_ellipsis <= limit {
            end = Some(place);
        }
        spent += cost(character);
        if spent > limit {
            let Some(end) = end else { return Cow::Borrowed("") };
            let kept = text[..boundary(text, end)].trim_end();
            return Cow::Owned(format!("{kept}{ELLIPSIS}"));
        }
    }
    Cow::Borrowed(text)
}

/// `place`, or a little before it, where a cut takes nothing from what belongs together.
fn boundary(text: &str, place: usize) -> usize {
    let mut at = place;
    for _ in 0..LONGEST_CLUSTER {
        let Some(before) = text[..at].chars().next_back() else { return at };
        let Some(after) = text[at..].chars().next() else { return at };
        if !(is_extending(after) || before == ZERO_WIDTH_JOINER) {
            return at;
        }
        at -= before.len_utf8();
    }
    place
}

const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Characters that change the one before them: marks, joiners, variation selectors, skin tones, tags, the second
/// letter of a flag. Unicode's `Grapheme_Extend` of the scripts that messages are mostly written in.
fn is_extending(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}'
            | '\u{591}'..='\u{5bd}'
            | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}'
            | '\u{900}'..='\u{903}'
            | '\u{93a}'..='\u{93c}'
            | '\u{93e}'..='\u{94f}'
            | '\u{e31}'
            | '\u{e34}'..='\u{e3a}'
            | '\u{e47}'..='\u{e4e}'
            | '\u{1160}'..='\u{11ff}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{200c}'..='\u{200d}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{302a}'..='\u{302f}'
            | '\u{3099}'..='\u{309a}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fe20}'..='\u{fe2f}'
            | '\u{1f1e6}'..='\u{1f1ff}'
            | '\u{1f3fb}'..='\u{1f3ff}'
            | '\u{e0020}'..='\u{e007f}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Whether nothing of a text can be seen, as providers see it.
pub(super) fn is_blank(text: &str) -> bool {
    let is_invisible = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(
                character,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                    | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                    | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            )
    };
    text.chars().all(is_invisible)
}

/// A text, or what stands for one that shows nothing.
pub(super) fn shown(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_blank(&text) { Cow::Borrowed(NOTHING) } else { text }
}
