//! What filters match, what they are refused for, and the laws that hold for all of them.

use proptest::prelude::*;

use super::*;
use crate::json::READINGS;

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn is_match(filter_text: &str, data: &str) -> bool {
    filter(filter_text).matches(&Node::parse(data).expect("JSON"))
}

const DATA: &str = r#"{"status":"approved","payoutCents":1250,"rate":0.10,"big":12345678901234567890123,"huge":1e400,
    "order":{"total":99.5,"lines":[{"sku":"a1"},{"sku":"b2"}]},"sub1":null,"isTest":false,"name":"Zoë","broken":"\ud800",
    "twice":1,"twice":2}"#;

#[test]
fn a_term_is_about_one_value() {
    for (term, expected) in [
        (r#""status","equals":"approved""#, true),
        (r#""status","equals":"Approved""#, false),
        (r#""status","in":["pending","approved"]"#, true),
        (r#""status","in":["pending",7,null]"#, false),
        (r#""payoutCents","equals":1250"#, true),
        (r#""payoutCents","equals":1.25e3"#, true),
        (r#""payoutCents","equals":"1250""#, false),
        (r#""payoutCents","greater_than":1249.999"#, true),
        (r#""payoutCents","greater_than":1250"#, false),
        (r#""payoutCents","at_least":1250"#, true),
        (r#""payoutCents","less_than":1250.0000000000000000001"#, true),
        (r#""payoutCents","at_most":1249"#, false),
        (r#""rate","equals":0.1"#, true),
        (r#""order.total","less_than":100"#, true),
        (r#""order.lines.1.sku","equals":"b2""#, true),
        (r#""order.lines.2.sku","exists":false"#, true),
        (r#""sub1","exists":true"#, true),
        (r#""sub1","equals":null"#, true),
        (r#""sub2","equals":null"#, false),
        (r#""sub2","exists":false"#, true),
        (r#""sub2","less_than":5"#, false),
        (r#""isTest","equals":false"#, true),
        (r#""isTest","equals":0"#, false),
        (r#""order","exists":true"#, true),
        (r#""order","equals":"x""#, false),
        (r#""name","equals":"Zo\u00eb""#, true),
        (r#""name","greater_than":"Zo""#, true),
        (r#""name","less_than":"a""#, true),
        (r#""status","greater_than":5"#, false),
        (r#""twice","equals":2"#, true),
        (r#""twice","equals":1"#, false),
    ] {
        let text = format!(r#"{{"field":{term}}}"#);
        assert_eq!(is_match(&text, DATA), expected, "{text}");
        assert_eq!(is_match(&format!(r#"{{"not":{text}}}"#), DATA), !expected, "not {text}");
    }
}

/// With 64-bit floats, each of these would be the other way round.
#[test]
fn numbers_are_not_rounded() {
    for (term, expected) in [
        (r#""big","equals":12345678901234567890123"#, true),
        (r#""big","equals":12345678901234567890124"#, false),
        (r#""big","less_than":12345678901234567890123.0001"#, true),
        (r#""huge","greater_than":1e399"#, true),
        (r#""huge","less_than":1e401"#, true),
        (r#""huge","equals":1e401"#, false),
    ] {
        let text = format!(r#"{{"field":{term}}}"#);
        assert_eq!(is_match(&text, DATA), expected, "{text}");
    }
    let long = format!(r#"{{"n":{}}}"#, "9".repeat(1_000_000));
    let text = r#"{"field":"n","greater_than":1}"#;
    assert!(!is_match(text, &long), "too long to be compared");
    let failed = filter(text).explain(&Node::parse(&long).expect("JSON"));
    assert_eq!(failed[0].mismatch, Mismatch::OtherKind { found: "too long a number" });
}

/// With thousands of webhooks, each may have the largest filter there can be, and an event the longest numbers.
#[test]
fn a_filter_reads_few_numbers_however_many_it_holds() {
    let numbers: Vec<String> = (10..MAX_VALUES + 10).map(|number| number.to_string()).collect();
    let term = format!(r#"{{"field":"n","in":[{}]}}"#, numbers.join(","));
    let terms = MAX_FILTER_BYTES / (term.len() + 1) - 1;
    let asked = filter(&format!(r#"{{"or":[{}]}}"#, vec![term; terms].join(",")));
    let data = format!(r#"{{"n":1{}.5}}"#, "0".repeat(1_000));
    let data = Node::parse(&data).expect("JSON");
    let before = READINGS.get();
    assert!(!asked.matches(&data));
    // What was found once, and as many of the hundred as it takes to find one place among them.
    let read = READINGS.get() - before;
    assert!(read <= terms * (1 + 8), "{read} numbers for {terms} terms");
}

#[test]
fn a_lone_surrogate_equals_no_text() {
    let asked = r#"{"field":"broken","in":["\ufffd","","?","\ud83d\ude00"]}"#;
    assert!(!is_match(asked, DATA));
    assert!(is_match(r#"{"field":"broken","exists":true}"#, DATA));
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let deep = format!("{}{}{}", r#"{"not":"#.repeat(8), r#"{"field":"a","exists":true}"#, "}".repeat(8));
    let many = format!(r#"{{"or":[{}]}}"#, vec![r#"{"field":"a","exists":true}"#; MAX_TERMS + 1].join(","));
    let values = format!(r#"{{"field":"a","in":[{}]}}"#, vec!["1"; MAX_VALUES + 1].join(","));
    let long = format!(r#"{{"field":"a","equals":"{}"}}"#, "x".repeat(MAX_FILTER_BYTES));
    // Half as long as it may be; written again, twice as long as it may be.
    let grows = format!(r#"{{"field":"a","equals":"{}"}}"#, r"\b".repeat(MAX_FILTER_BYTES / 4));
    for (text, pointer) in [
        ("", ""),
        ("{", ""),
        ("[]", ""),
        ("{}", ""),
        (r#"{"and":[]}"#, "/and"),
        (r#"{"and":{}}"#, "/and"),
        (r#"{"or":[{"field":"a","exists":true},7]}"#, "/or/1"),
        (r#"{"and":[{"field":"a","exists":true}],"or":[]}"#, ""),
        (r#"{"nand":[]}"#, "/nand"),
        (r#"{"not":[]}"#, "/not"),
        (r#"{"field":"a"}"#, ""),
        (r#"{"field":7,"exists":true}"#, "/field"),
        (r#"{"field":"a..b","exists":true}"#, "/field"),
        (r#"{"field":"\ud800","exists":true}"#, "/field"),
        (r#"{"field":"a","field":"b","exists":true}"#, "/field"),
        (r#"{"field":"a","like":"b"}"#, "/like"),
        (r#"{"field":"a","exists":true,"equals":1}"#, "/exists"),
        (r#"{"field":"a","equals":[1]}"#, "/equals"),
        (r#"{"field":"a","equals":"\ud800"}"#, "/equals"),
        (r#"{"field":"a","equals":1e99999999999999999999}"#, "/equals"),
        (r#"{"field":"a","in":[]}"#, "/in"),
        (r#"{"field":"a","in":[1,{}]}"#, "/in/1"),
        (r#"{"field":"a","exists":1}"#, "/exists"),
        (r#"{"field":"a","less_than":null}"#, "/less_than"),
        (r#"{"and":[{"not":{"field":"a","a/b~":1}}]}"#, "/and/0/not/a~1b~0"),
        (&deep, "/not/not/not/not/not/not/not/not"),
        (&many, "/or/64"),
        (&values, "/in"),
        (&long, ""),
        (&grows, ""),
    ] {
        let shown = &text[..text.len().min(80)];
        assert_eq!(Filter::parse(text).expect_err(shown).pointer, pointer, "{shown}");
    }
}

#[test]
fn an_explanation_names_each_term_that_failed() {
    let asked = filter(
        r#"{"and":[{"field":"status","equals":"approved"},{"or":[{"field":"payoutCents","greater_than":2000},
        {"field":"country","equals":"DE"}]},{"not":{"field":"isTest","equals":false}},{"field":"sub1","in":["a"]},
        {"field":"name","exists":false}]}"#,
    );
    let told: Vec<String> =
        asked.explain(&Node::parse(DATA).expect("JSON")).iter().map(ToString::to_string).collect();
    let expected = [
        "/and/1/or/0: payoutCents has another value",
        "/and/1/or/1: country is not there",
        "/and/2/not: what may not hold does",
        "/and/3: sub1 is null",
        "/and/4: name is there",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_stored_filter_keeps_its_numbers_to_the_letter() {
    #[derive(Serialize, Deserialize)]
    struct Document {
        filter: Option<Filter>,
    }
    let text = r#"{"filter":{"or":[{"field":"a","equals":1.50e2},{"field":"b","in":[12345678901234567890123,"\"\n",null]}]}}"#;
    let document: Document = serde_json::from_str(text).expect("a document");
    assert_eq!(serde_json::to_string(&document).expect("JSON"), text);
    assert!(serde_json::from_str::<Document>(r#"{"filter":null}"#).expect("a document").filter.is_none());
    assert!(serde_json::from_str::<Document>(r#"{"filter":{"field":"a"}}"#).is_err());
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn scalars() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        numbers().prop_map(|text| Scalar::Number(text.into())),
        "[ab\"\\\\\u{1}é😀]{0,3}".prop_map(|text| Scalar::Text(text.into())),
    ]
}

/// Few names, so that filters and data meet.
fn paths() -> impl Strategy<Value = DataPath> {
    "[abc](\\.[abc01]){0,2}".prop_map(|text| text.parse().expect("a path"))
}

fn terms() -> impl Strategy<Value = Expression> {
    let ordered = prop_oneof![
        numbers().prop_map(|text| Scalar::Number(text.into())),
        "[ab]{0,3}".prop_map(|text| Scalar::Text(text.into())),
    ];
    let bounds = prop::sample::select(Bound::ALL.to_vec());
    let tests = prop_oneof![
        scalars().prop_map(Test::Equals),
        proptest::collection::vec(scalars(), 1..12).prop_map(|scalars| Test::In(Values::new(scalars))),
        Just(Test::Exists),
        Just(Test::Absent),
        (bounds, ordered).prop_map(|(bound, scalar)| Test::Order(bound, scalar)),
    ];
    (paths(), tests).prop_map(|(field, test)| Expression::Term(Term { field, test }))
}

fn expressions() -> impl Strategy<Value = Expression> {
    terms().prop_recursive(4, 24, 3, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            parts.clone().prop_map(Expression::And),
            parts.prop_map(Expression::Or),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

/// Documents of the names that the paths have, duplicates included.
fn documents() -> impl Strategy<Value = String> {
    let leaf = scalars().prop_map(|scalar| {
        let expression =
            Expression::Term(Term { field: "x".parse().expect("a path"), test: Test::Equals(scalar) });
        let written = form::write(&expression);
        written[r#"{"field":"x","equals":"#.len()..written.len() - 1].to_owned()
    });
    leaf.prop_recursive(3, 20, 4, |inner| {
        let member = ("[abc]", inner.clone()).prop_map(|(name, value)| format!("\"{name}\": {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(", "))),
            proptest::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same_filter(expression in expressions()) {
        let written = Filter(Arc::new(expression)).to_string();
        let read = Filter::parse(&written).expect("what we write is right");
        prop_assert_eq!(read.to_string(), written);
    }

    #[test]
    fn and_or_and_not_follow_their_laws(one in expressions(), other in expressions(), data in documents()) {
        let data = Node::parse(&data).expect("JSON");
        let not = |part: &Expression| Expression::Not(Box::new(part.clone()));
        let both = vec![one.clone(), other.clone()];
        let (is_one, is_other) = (one.matches(&data), other.matches(&data));
        prop_assert_eq!(Expression::And(both.clone()).matches(&data), is_one && is_other);
        prop_assert_eq!(Expression::Or(both.clone()).matches(&data), is_one || is_other);
        prop_assert_eq!(not(&one).matches(&data), !is_one);
        let neither = Expression::And(vec![not(&one), not(&other)]);
        prop_assert_eq!(not(&Expression::Or(both)).matches(&data), neither.matches(&data));
    }

    #[test]
    fn an_explanation_is_empty_for_what_matches_alone(expression in expressions(), data in documents()) {
        let (filter, data) = (Filter(Arc::new(expression)), Node::parse(&data).expect("JSON"));
        prop_assert_eq!(filter.explain(&data).is_empty(), filter.matches(&data));
    }

    #[test]
    fn order_and_equality_agree(field in paths(), number in numbers(), data in documents()) {
        let data = Node::parse(&data).expect("JSON");
        let is = |test| Term { field: field.clone(), test }.check(&data).is_none();
        let scalar = || Scalar::Number(number.as_str().into());
        let (at_least, at_most) =
            (is(Test::Order(Bound::AtLeast, scalar())), is(Test::Order(Bound::AtMost, scalar())));
        prop_assert_eq!(is(Test::Equals(scalar())), at_least && at_most);
        prop_assert_eq!(is(Test::Order(Bound::GreaterThan, scalar())), at_least && !at_most);
        prop_assert_eq!(is(Test::Order(Bound::LessThan, scalar())), at_most && !at_least);
    }

    /// However many there are, and in whatever order they are written.
    #[test]
    fn a_value_is_in_a_list_if_it_equals_one_of_it(
        field in paths(), scalars in proptest::collection::vec(scalars(), 1..40), data in documents(),
    ) {
        let data = Node::parse(&data).expect("JSON");
        let is = |test| Term { field: field.clone(), test }.check(&data).is_none();
        let equals_one = scalars.iter().any(|scalar| is(Test::Equals(scalar.clone())));
        prop_assert_eq!(is(Test::In(Values::new(scalars))), equals_one);
    }

    #[test]
    fn whatever_the_text_reading_does_not_panic(text in "[\\{\\}\\[\\]\":,a-z0-9\\\\ ]{0,60}") {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
