use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colour {
    Red,
    DarkBlue,
}

impl Variable for Colour {
    fn all() -> Vec<Self> {
        vec![Colour::Red, Colour::DarkBlue]
    }

    fn name(&self) -> &str {
        match self {
            Colour::Red => "red",
            Colour::DarkBlue => "dark.blue",
        }
    }
}

fn parse(text: &str) -> Result<Pattern<Colour>, InvalidPattern> {
    Pattern::parse(text)
}

fn literal(text: &str) -> Piece<Colour> {
    Piece::Literal(text.into())
}

#[test]
fn a_json_skeleton_needs_no_escapes() {
    let pattern = parse(r#"{"a":${red},"b":{"c":${dark.blue}}}"#).expect("a pattern");
    let expected = [
        literal(r#"{"a":"#),
        Piece::Variable(Colour::Red),
        literal(r#","b":{"c":"#),
        Piece::Variable(Colour::DarkBlue),
        literal("}}"),
    ];
    assert_eq!(pattern.pieces(), expected);
    assert!(pattern.uses(Colour::Red));
}

#[test]
fn a_dollar_sign_is_written_twice_or_stands_alone() {
    for (text, pieces) in [
        ("", vec![]),
        ("$", vec![literal("$")]),
        ("$$", vec![literal("$")]),
        ("5 $ each", vec![literal("5 $ each")]),
        ("$${red}", vec![literal("${red}")]),
        ("$$${red}", vec![literal("$"), Piece::Variable(Colour::Red)]),
        ("${red}${red}", vec![Piece::Variable(Colour::Red), Piece::Variable(Colour::Red)]),
    ] {
        assert_eq!(parse(text).expect("a pattern").pieces(), pieces, "{text}");
    }
}

#[test]
fn what_cannot_be_filled_in_is_refused_with_its_position() {
    assert_eq!(parse("ab${red"), Err(InvalidPattern::Unclosed { position: 2 }));
    assert_eq!(parse("ab${red}${"), Err(InvalidPattern::Unclosed { position: 8 }));
    for (text, at, unknown) in
        [("x${}", 1, ""), ("${Red}", 0, "Red"), ("${red}é${ red}", 8, " red"), ("${${red}}", 0, "${red")]
    {
        let expected = InvalidPattern::UnknownVariable {
            position: at,
            name: unknown.to_owned(),
            known: "red, dark.blue".to_owned(),
        };
        assert_eq!(parse(text), Err(expected), "{text}");
    }
    assert_eq!(parse(&"x".repeat(MAX_PATTERN + 1)), Err(InvalidPattern::TooLong));
}

#[test]
fn what_was_filled_in_is_read_back() {
    let pattern = parse("t=${red},${dark.blue}").expect("a pattern");
    assert_eq!(
        pattern.capture("t=1,v1=a,v1=b"),
        Some(vec![(Colour::Red, "1"), (Colour::DarkBlue, "v1=a,v1=b")])
    );
    for text in ["", "t=", "t=1", "t=1,", "t=,x", "1,x", "T=1,x"] {
        assert_eq!(pattern.capture(text), None, "{text}");
    }
    assert_eq!(parse("${red}!").expect("a pattern").capture("a!b"), None);
    assert_eq!(parse("${red}${dark.blue}").expect("a pattern").capture("ab"), None);
    assert_eq!(parse("plain").expect("a pattern").capture("plain"), Some(vec![]));
}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in "([a-z${}.é]|\\$\\{red\\}|\\$\\$){0,30}") {
        if let Ok(pattern) = parse(&text) {
            prop_assert_eq!(parse(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn what_is_filled_in_is_captured_again(red in "[0-9]{1,12}", blue in "[a-z,=]{1,30}") {
        let pattern = parse("t=${red},${dark.blue}").expect("a pattern");
        let filled = format!("t={red},{blue}");
        let captured = pattern.capture(&filled).expect("made from the pattern");
        prop_assert_eq!(captured, vec![(Colour::Red, red.as_str()), (Colour::DarkBlue, blue.as_str())]);
    }
}
