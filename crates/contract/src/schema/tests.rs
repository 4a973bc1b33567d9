use proptest::prelude::*;

use super::*;

fn schema(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn violations(schema: &Schema, data: &str) -> Vec<(String, String)> {
    let node = Node::parse(data).expect("JSON");
    schema.check(&node).into_iter().map(|one| (one.pointer, one.detail)).collect()
}

/// Each keyword with what satisfies it and what does not; what it says nothing about satisfies it.
const KEYWORDS: [(&str, &[&str], &[&str]); 34] = [
    ("true", &["null", "{}"], &[]),
    ("false", &[], &["null", "{}"]),
    (
        r#"{"type":"integer"}"#,
        &["1", "-0", "1.0", "1e2", "12345678901234567890123", "1e400"],
        &["1.5", "\"1\"", "null"],
    ),
    (r#"{"type":["string","null"]}"#, &["\"\"", "null"], &["1", "[]", "true"]),
    (r#"{"type":"number"}"#, &["1", "1.5", "1e400"], &["\"1\""]),
    (r#"{"type":"object"}"#, &["{}"], &["[]"]),
    (
        r#"{"enum":["a",1,null,{"x":[1.0]}]}"#,
        &["\"a\"", "1.0", "1e0", "null", r#"{"x":[1]}"#],
        &["\"b\"", "2", r#"{"x":[1],"y":1}"#],
    ),
    (r#"{"const":"EUR"}"#, &["\"EUR\"", "\"\\u0045UR\""], &["\"eur\"", "null"]),
    (r#"{"minimum":0}"#, &["0", "-0.0", "1e400", "\"-1\""], &["-1", "-1e-400"]),
    (r#"{"exclusiveMinimum":0}"#, &["1e-400"], &["0", "-1"]),
    (
        r#"{"maximum":9007199254740993}"#,
        &["9007199254740993", "9007199254740992.9"],
        &["9007199254740994", "9007199254740993.1"],
    ),
    (r#"{"exclusiveMaximum":1.5}"#, &["1.4999999999999999999999"], &["1.5", "1.50"]),
    (r#"{"multipleOf":0.01}"#, &["19.99", "0", "-5", "1e400"], &["19.999", "1e-3"]),
    (r#"{"minLength":2}"#, &["\"éé\"", "\"\\ud83d\\ude00x\"", "1"], &["\"é\"", "\"\\ud83d\\ude00\""]),
    (r#"{"maxLength":2}"#, &["\"éé\"", "\"\""], &["\"abc\""]),
    (r#"{"pattern":"^[A-Z]{3}$"}"#, &["\"EUR\"", "7"], &["\"EURO\"", "\"eur\""]),
    (r#"{"pattern":"^\\d+$"}"#, &["\"12\""], &["\"١٢\"", "\"\""]),
    (r#"{"items":{"type":"integer"}}"#, &["[]", "[1,2]", "{}"], &["[1,\"2\"]"]),
    (r#"{"prefixItems":[{"type":"string"}],"items":false}"#, &["[]", "[\"a\"]"], &["[1]", "[\"a\",1]"]),
    (r#"{"contains":{"const":1}}"#, &["[0,1]"], &["[]", "[0]"]),
    (r#"{"contains":{"const":1},"minContains":0,"maxContains":1}"#, &["[]", "[1]"], &["[1,1]"]),
    (r#"{"minItems":1,"maxItems":2}"#, &["[0]", "[0,0]"], &["[]", "[0,0,0]"]),
    (
        r#"{"uniqueItems":true}"#,
        &["[1,2,\"1\"]", "[{\"a\":1},{\"a\":2}]"],
        &["[1,1.0]", r#"[{"a":1,"b":2},{"b":2,"a":1}]"#],
    ),
    (
        r#"{"properties":{"a":{"type":"string"}},"additionalProperties":false}"#,
        &["{}", r#"{"a":"x"}"#, "[]"],
        &[r#"{"a":1}"#, r#"{"b":1}"#],
    ),
    (
        r#"{"patternProperties":{"^x-":{"type":"string"}},"additionalProperties":{"type":"integer"}}"#,
        &[r#"{"x-a":"1","b":2}"#],
        &[r#"{"x-a":1}"#, r#"{"b":"2"}"#],
    ),
    (r#"{"propertyNames":{"pattern":"^[a-z]+$"}}"#, &[r#"{"a":1}"#], &[r#"{"A":1}"#]),
    (r#"{"required":["a","b"]}"#, &[r#"{"a":null,"b":null}"#, "[]"], &[r#"{"a":1}"#, "{}"]),
    (r#"{"minProperties":1,"maxProperties":2}"#, &[r#"{"a":1}"#], &["{}", r#"{"a":1,"b":1,"c":1}"#]),
    (r#"{"dependentRequired":{"card":["name"]}}"#, &["{}", r#"{"card":1,"name":1}"#], &[r#"{"card":1}"#]),
    (r#"{"dependentSchemas":{"a":{"required":["b"]}}}"#, &["{}", r#"{"a":1,"b":1}"#], &[r#"{"a":1}"#]),
    (r#"{"allOf":[{"minimum":1},{"maximum":3}]}"#, &["2"], &["0", "4"]),
    (r#"{"anyOf":[{"minimum":3},{"type":"string"}]}"#, &["3", "\"a\"", "null"], &["2"]),
    (r#"{"oneOf":[{"minimum":1},{"maximum":3}]}"#, &["0", "4"], &["2"]),
    (
        r#"{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"not":{"required":["b"]}}}"#,
        &["{}", r#"{"a":1,"b":1}"#],
        &[r#"{"a":1}"#, r#"{"b":1}"#],
    ),
];

#[test]
fn each_keyword_tells_what_satisfies_it_from_what_does_not() {
    for (text, good, bad) in KEYWORDS {
        let schema = schema(text);
        for data in good {
            assert_eq!(violations(&schema, data), [], "{text} {data}");
        }
        for data in bad {
            assert_ne!(violations(&schema, data), [], "{text} {data}");
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_all_of_it_up_to_a_limit() {
    let schema = schema(
        r##"{"type":"object","required":["id"],"properties":{
            "amount":{"$ref":"#/$defs/money"},"tags":{"items":{"type":"string"}},"a/b~c":{"type":"null"},
            "status":{"enum":["open","closed"]}
        },"$defs":{"money":{"type":"object","properties":{"cents":{"type":"integer","minimum":0}}}}}"##,
    );
    let found = violations(&schema, r#"{"amount":{"cents":-1},"tags":["x",2],"a/b~c":0,"status":"gone"}"#);
    let found: Vec<(&str, &str)> = found.iter().map(|(place, why)| (place.as_str(), why.as_str())).collect();
    let expected = [
        ("/a~1b~0c", "must be of type null, not number"),
        ("/amount/cents", "must be at least 0"),
        ("/status", r#"must be one of "open", "closed""#),
        ("/tags/1", "must be of type string, not number"),
        ("", r#"must have "id""#),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for one in expected {
        assert!(found.contains(&one), "{one:?} in {found:?}");
    }
    let many = format!("[{}]", vec!["1"; 100].join(","));
    assert_eq!(violations(&self::schema(r#"{"items":{"type":"string"}}"#), &many).len(), MAX_VIOLATIONS);
}

#[test]
fn every_member_of_one_name_has_to_satisfy_its_schema() {
    let schema = schema(r#"{"properties":{"a":{"type":"string"}}}"#);
    assert_eq!(violations(&schema, r#"{"a":1,"a":"x"}"#).len(), 1);
    assert_eq!(violations(&schema, r#"{"a":"x","a":1}"#).len(), 1);
}

#[test]
fn what_no_other_reader_of_json_holds_is_checked_too() {
    let text = schema(r#"{"properties":{"s":{"minLength":1,"maxLength":1,"pattern":"."}}}"#);
    assert_eq!(violations(&text, r#"{"s":"\u0000"}"#), []);
    let lone = violations(&text, r#"{"s":"\ud800"}"#);
    assert_eq!(lone, [("/s".to_owned(), "must match .".to_owned())], "half a character is no character");
    let long = format!(r#"{{"n":{}}}"#, "1".repeat(2_000));
    let whole = schema(r#"{"properties":{"n":{"type":"integer"}}}"#);
    assert_eq!(violations(&whole, &long), []);
    let limited = schema(r#"{"properties":{"n":{"minimum":0}}}"#);
    assert_eq!(violations(&limited, &long)[0].1, "has too many digits to be compared");
}

#[test]
fn a_schema_may_hold_itself_where_the_data_does() {
    let tree = schema(r##"{"required":["v"],"properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}}}"##);
    assert_eq!(violations(&tree, r#"{"v":1,"left":{"v":2,"right":{"v":3}}}"#), []);
    let found = violations(&tree, r#"{"v":1,"left":{"v":2,"right":{}}}"#);
    assert_eq!(found, [("/left/right".to_owned(), r#"must have "v""#.to_owned())]);
}

#[test]
fn a_schema_that_cannot_work_is_refused_with_its_place() {
    for (text, pointer, why) in [
        ("{", "", "not valid JSON"),
        ("[]", "", "must be a schema"),
        ("1", "", "must be a schema"),
        (r#"{"type":"strin"}"#, "/type", "must be null, boolean"),
        (r#"{"type":["string",7]}"#, "/type/1", "must be null, boolean"),
        (r#"{"requird":["a"]}"#, "/requird", "not a keyword"),
        (r#"{"properties":{"a":{"nullable":true}}}"#, "/properties/a/nullable", "not a keyword"),
        (r#"{"properties":{"a/b":7}}"#, "/properties/a~1b", "must be a schema"),
        (r#"{"type":"string","type":"null"}"#, "/type", "is there twice"),
        (r#"{"required":"a"}"#, "/required", "list of names"),
        (r#"{"required":[1]}"#, "/required/0", "must be a string"),
        (r#"{"minLength":-1}"#, "/minLength", "whole number"),
        (r#"{"minLength":1.5}"#, "/minLength", "whole number"),
        (r#"{"minimum":"0"}"#, "/minimum", "must be a number"),
        (r#"{"minimum":1e99999999999999999999}"#, "/minimum", "must be a number"),
        (r#"{"multipleOf":0}"#, "/multipleOf", "more than 0"),
        (r#"{"multipleOf":-1}"#, "/multipleOf", "more than 0"),
        (r#"{"pattern":"("}"#, "/pattern", "is not a pattern"),
        (r#"{"pattern":"(?=a)"}"#, "/pattern", "is not a pattern"),
        (r#"{"pattern":"(a)\\1"}"#, "/pattern", "is not a pattern"),
        (r#"{"pattern":"(((a{100}){100}){100})"}"#, "/pattern", "is too large"),
        (r#"{"patternProperties":{"[":{}}}"#, "/patternProperties/[", "is not a pattern"),
        (r#"{"enum":[]}"#, "/enum", "one value or more"),
        (r#"{"allOf":[]}"#, "/allOf", "one schema or more"),
        (r#"{"items":[{}]}"#, "/items", "prefixItems"),
        (r#"{"then":{}}"#, "/then", "of no use without if"),
        (r#"{"minContains":1}"#, "/minContains", "of no use without contains"),
        (r##"{"$ref":"#/$defs/none"}"##, "/$ref", "leads nowhere"),
        (r##"{"$ref":"#anchor"}"##, "/$ref", "JSON pointer"),
        (r#"{"$ref":"https://example.com/schema"}"#, "/$ref", "nothing is fetched"),
        (r#"{"$ref":"file:///etc/passwd"}"#, "/$ref", "nothing is fetched"),
        (r##"{"$ref":"#"}"##, "", "without end"),
        (r##"{"allOf":[{"anyOf":[{"$ref":"#/allOf/0"}]}]}"##, "", "without end"),
        (r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#, "/$schema", "2020-12"),
        (r#"{"properties":{"a":{"$id":"x"}}}"#, "/properties/a/$id", "may only stand at the top"),
        (r#"{"unevaluatedProperties":false}"#, "/unevaluatedProperties", "not a keyword"),
        (r##"{"$dynamicRef":"#a"}"##, "/$dynamicRef", "not a keyword"),
    ] {
        let error = Schema::parse(text).expect_err(text);
        assert_eq!(error.pointer, pointer, "{text}: {error}");
        assert!(error.detail.contains(why), "{text}: {error}");
    }
}

#[test]
fn a_schema_is_bounded_in_size() {
    let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(MAX_SCHEMA_BYTES));
    assert!(Schema::parse(&long).expect_err("too long").detail.contains("bytes"));
    let deep = format!("{}{}", r#"{"not":"#.repeat(64), "{}") + &"}".repeat(64);
    assert!(Schema::parse(&deep).expect_err("too deep").detail.contains("deep"));
    let many = format!(r#"{{"allOf":[{}]}}"#, vec!["true"; 2_000].join(","));
    assert_eq!(Schema::parse(&many).expect_err("too many").pointer, "/allOf/1999");
    let patterns = vec![r#"{"pattern":"a"}"#; 33].join(",");
    let error = Schema::parse(&format!(r#"{{"allOf":[{patterns}]}}"#)).expect_err("too many");
    assert_eq!(error.pointer, "/allOf/32/pattern");
    let values = vec!["1"; 1_001].join(",");
    assert_eq!(Schema::parse(&format!(r#"{{"enum":[{values}]}}"#)).expect_err("too many").pointer, "/enum");
}

/// What would take for ever by schema and data alone ends at the bound, with one answer.
#[test]
fn a_check_ends_whatever_schema_and_data_are() {
    let over = "takes more work to check against its schema than is done for one event";
    // Two to the power of the data's depth.
    let doubling = r##"{"type":"object","properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}}}"##;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(60), "}".repeat(60));
    // Thirty times twice what the one before asks, of one value.
    let steps: Vec<String> = (0..30)
        .map(|step| {
            format!(
                r##""s{step}":{{"allOf":[{{"$ref":"#/$defs/s{next}"}},{{"$ref":"#/$defs/s{next}"}}]}}"##,
                next = step + 1
            )
        })
        .collect();
    let tower = format!(r##"{{"$ref":"#/$defs/s0","$defs":{{{},"s30":{{}}}}}}"##, steps.join(","));
    let texts = format!("[{}]", vec![format!("\"{}\"", "a".repeat(1_000)); 100].join(","));
    let large = format!("[{}]", vec!["1234567890"; 90_000].join(","));
    let compared = vec![r#"{"const":[]}"#; 500].join(",");
    for (text, data) in [
        (doubling, deep.as_str()),
        (&tower, "1"),
        (r#"{"items":{"pattern":"(a|aa)+$b"}}"#, &texts),
        (&format!(r#"{{"anyOf":[{compared}]}}"#), &large),
    ] {
        assert_eq!(violations(&schema(text), data), [(String::new(), over.to_owned())], "{text}");
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3_i64..4).prop_map(Into::into),
        "[ab]{0,2}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Texts that are nearly schemas.
fn nearly_schemas() -> impl Strategy<Value = serde_json::Value> {
    let words = [
        "type",
        "enum",
        "const",
        "$ref",
        "allOf",
        "anyOf",
        "not",
        "if",
        "then",
        "items",
        "prefixItems",
        "contains",
        "properties",
        "required",
        "pattern",
        "minimum",
        "multipleOf",
        "minLength",
        "uniqueItems",
        "$defs",
    ];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Into::into),
        (-3_i64..4).prop_map(Into::into),
        prop_oneof![Just("string"), Just("integer"), Just("#/$defs/a"), Just("a+")].prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map(prop::sample::select(words.to_vec()), inner, 0..3).prop_map(
                |members| {
                    serde_json::Value::Object(
                        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                    )
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_is_the_constant_that_it_is_and_no_other(one in values(), other in values()) {
        let schema = schema(&serde_json::json!({ "const": one }).to_string());
        prop_assert_eq!(violations(&schema, &one.to_string()), []);
        prop_assert_eq!(violations(&schema, &other.to_string()).is_empty(), one == other);
    }

    #[test]
    fn a_schema_and_its_contrary_are_never_both_satisfied(text in nearly_schemas(), value in values()) {
        let contrary = serde_json::json!({ "not": text }).to_string();
        if let (Ok(schema), Ok(contrary)) = (Schema::parse(&text.to_string()), Schema::parse(&contrary)) {
            let satisfied = violations(&schema, &value.to_string()).is_empty();
            prop_assert_ne!(satisfied, violations(&contrary, &value.to_string()).is_empty());
        }
    }

    #[test]
    fn no_text_makes_reading_a_schema_panic(text in ".{0,80}") {
        drop(Schema::parse(&text));
    }
}
