//! Texts that people read: names, descriptions, websites.

use url::Url;

/// Names are shown in tables and in subject lines.
const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 1_000;
/// As for webhooks' URLs.
const MAX_WEBSITE: usize = 2_048;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidText {
    #[error("must not be empty")]
    Empty,
    #[error("must be at most {max} characters long")]
    TooLong { max: usize },
    #[error("may not hold control characters")]
    Control,
    #[error("must be a URL that begins with https:// or http://")]
    NotAWebsite,
}

/// One line, not blank.
pub(crate) fn check_name(text: &str) -> Result<String, InvalidText> {
    if text.trim().is_empty() {
        return Err(InvalidText::Empty);
    }
    check_length(text, MAX_NAME)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidText::Control);
    }
    Ok(text.to_owned())
}

/// Any text with line feeds and tabs.
pub(crate) fn check_description(text: &str) -> Result<String, InvalidText> {
    check_length(text, MAX_DESCRIPTION)?;
    let is_layout = |character: char| matches!(character, '\n' | '\r' | '\t');
    if text.chars().any(|character| character.is_control() && !is_layout(character)) {
        return Err(InvalidText::Control);
    }
    Ok(text.to_owned())
}

/// Only shown and rendered, never called: any host will do.
pub(crate) fn check_website(text: &str) -> Result<String, InvalidText> {
    check_length(text, MAX_WEBSITE)?;
    let is_web = |url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host();
    let is_plain = !text.chars().any(|character| character.is_control() || character.is_whitespace());
    let parsed = Url::parse(text).ok().filter(is_web).filter(|_| is_plain);
    parsed.map(|_| text.to_owned()).ok_or(InvalidText::NotAWebsite)
}

fn check_length(text: &str, max: usize) -> Result<(), InvalidText> {
    if text.chars().count() > max { Err(InvalidText::TooLong { max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_is_not_blank() {
        assert_eq!(check_name("Acme Ünited").as_deref(), Ok("Acme Ünited"));
        for text in ["", "  ", "a\nb", "a\u{0}", &"x".repeat(201)] {
            assert!(check_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_website_is_a_web_url() {
        assert!(check_website("https://acme.example/").is_ok());
        for text in
            ["", "acme.example", "javascript:alert(1)", "https://", "ftp://a.example", "https://a b.example"]
        {
            assert!(check_website(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_description_may_have_lines() {
        assert!(check_description("one\n\ttwo").is_ok());
        assert!(check_description("\u{1b}[31m").is_err());
    }
}
