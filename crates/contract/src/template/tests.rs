use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::data_path::MAX_PATH_STEPS;
use crate::event::{Event, EventReading};
use crate::filter::Filter;
use crate::json::Node;
use crate::samples::{self, object};
use crate::tenant::Tenant;

fn event(data: &str) -> Event {
    Event {
        event_type: "visibility_changed".parse().expect("a type"),
        summary: Some("it \"rose\"\n".to_owned()),
        workflow: Some(object(r#"{"x":1,"name":"Wor\u006b"}"#)),
        ..samples::event(data)
    }
}

fn tenant() -> Tenant {
    samples::tenant("A \"brand\\\" é")
}

fn template(text: &str, lone_variables: LoneVariables) -> Template {
    Template::parse(text, lone_variables).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn filled(text: &str, lone_variables: LoneVariables, data: &str) -> (String, Vec<Gap>) {
    let Filled { body, gaps } =
        template(text, lone_variables).fill(&EventReading::of(&event(data)), &tenant());
    (String::from_utf8(body.to_vec()).expect("UTF-8"), gaps)
}

fn text_of(text: &str, data: &str) -> String {
    filled(text, LoneVariables::Text, data).0
}

fn typed(text: &str, data: &str) -> String {
    filled(text, LoneVariables::Typed, data).0
}

#[test]
fn every_variable_has_its_value() {
    for (variable, value) in [
        ("brand.id", json!("tnt_1")),
        ("brand.name", json!("A \"brand\\\" é")),
        ("brand.website", Value::Null),
        ("event.id", json!("evt_1")),
        ("event.type", json!("visibility_changed")),
        ("summary", json!("it \"rose\"\n")),
        ("workflow.name", json!("Work")),
        ("timestamp", json!("2026-11-21T09:30:00.123Z")),
        ("event.data.current_score", json!("42")),
        ("event.data.a.b.1.c", json!("deep")),
        ("event.data", json!(r#"{"current_score":42,"a":{"b":[0,{"c":"deep"}]}}"#)),
    ] {
        let data = r#"{"current_score":42,"a":{"b":[0,{"c":"deep"}]}}"#;
        let alone = text_of(&format!(r#"{{"v":"{{{{{variable}}}}}"}}"#), data);
        assert_eq!(serde_json::from_str::<Value>(&alone).expect("JSON"), json!({"v": value}), "{alone}");
        let within = text_of(&format!(r#"{{"v":"<{{{{ {variable} }}}}>"}}"#), data);
        let inside = format!("<{}>", value.as_str().unwrap_or_default());
        assert_eq!(serde_json::from_str::<Value>(&within).expect("JSON"), json!({"v": inside}), "{within}");
    }
}

#[test]
fn a_string_of_one_variable_keeps_the_values_own_type_where_that_is_asked_for() {
    let data =
        r#"{"n":12345678901234567890123.4500e400,"b":false,"o":{"z": 1,"a":[ ]},"s":"t\u0065xt","z":null}"#;
    for (field, own, as_text) in [
        ("n", "12345678901234567890123.4500e400", r#""12345678901234567890123.4500e400""#),
        ("b", "false", r#""false""#),
        ("o", r#"{"z": 1,"a":[ ]}"#, r#""{\"z\": 1,\"a\":[ ]}""#),
        ("s", r#""t\u0065xt""#, r#""t\u0065xt""#),
        ("z", "null", "null"),
    ] {
        let text = format!(r#"["{{{{event.data.{field}}}}}"]"#);
        assert_eq!(typed(&text, data), format!("[{own}]"), "{field}");
        assert_eq!(text_of(&text, data), format!("[{as_text}]"), "{field}");
    }
    assert_eq!(typed(r#"["n={{event.data.n}}"]"#, data), r#"["n=12345678901234567890123.4500e400"]"#);
}

#[test]
fn what_is_around_variables_stays_as_it_was_written() {
    let text = "{ \"n\": 1e400, \"big\": 123456789012345678901234567890,\n \"a\": [true, null, {}],\"a\":\"\\u00e9 }} { {x}\" }";
    let expected = r#"{"n":1e400,"big":123456789012345678901234567890,"a":[true,null,{}],"a":"é }} { {x}"}"#;
    assert_eq!(text_of(text, "{}"), expected);
    assert_eq!(template(text, LoneVariables::Text).text(), text);
}

#[test]
fn a_field_that_is_missing_leaves_nothing_in_a_text_and_null_on_its_own_and_is_noted_once() {
    let text = r#"["<{{event.data.no}}>","{{event.data.no}}","{{event.data.a.0.x}}{{event.data.s.x}}","{{event.data.z}}","{{brand.website}}"]"#;
    for lone_variables in [LoneVariables::Text, LoneVariables::Typed] {
        let (body, gaps) = filled(text, lone_variables, r#"{"a":[{"y":1}],"s":"text","z":null}"#);
        assert_eq!(body, r#"["<>",null,"",null,null]"#);
        let missing: Vec<&str> = gaps.iter().map(|gap| gap.variable.as_str()).collect();
        assert_eq!(missing, ["event.data.no", "event.data.a.0.x", "event.data.s.x"]);
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Missing));
    }
}

#[test]
fn of_members_with_the_same_name_the_last_one_counts_with_all_that_is_in_it() {
    let text = r#"["{{event.data.a}}","{{event.data.a.b}}"]"#;
    assert_eq!(typed(text, r#"{"a":{"b":1},"\u0061":2}"#), "[2,null]");
    assert_eq!(typed(text, r#"{"a":2,"a":{"b":1,"b":3}}"#), r#"[{"b":1,"b":3},3]"#);
}

#[test]
fn names_are_found_however_they_are_written() {
    let data = r#"{"prénom":"x","\ud800":0,"0":"zero","a b":[10,11]}"#;
    let text = r#"["{{event.data.pr\u00e9nom}}","{{event.data.0}}","{{event.data.a b.1}}","{{event.data.a b.01}}","{{event.data.a b.2}}"]"#;
    assert_eq!(typed(text, data), r#"["x","zero",11,null,null]"#);
}

/// What one of them can name, the other can, and it is the same value.
#[test]
fn a_path_leads_a_template_where_it_leads_a_filter() {
    let data = format!(r#"{{"a":[{}7],"b":{{"c":null,"0":1}},"":2}}"#, "0,".repeat(1_000));
    for path in [
        "a", "a.0", "a.00", "a.1000", "a.1001", "a.-1", "b.c", "b.0", "b.c.d", "none", "b..c", "b.\t", ".",
        "", "b.c.",
    ] {
        let filter = Filter::parse(&json!({"field": path, "exists": true}).to_string());
        let text = json!([format!("{{{{event.data.{path}}}}}")]).to_string();
        let template = Template::parse(&text, LoneVariables::Typed);
        assert_eq!(filter.is_ok(), template.is_ok(), "{path:?}");
        let (Ok(filter), Ok(template)) = (filter, template) else { continue };
        let gaps = template.fill(&EventReading::of(&event(&data)), &tenant()).gaps;
        assert_eq!(filter.matches(&Node::parse(&data).expect("JSON")), gaps.is_empty(), "{path:?}");
    }
}

#[test]
fn what_is_no_template_is_refused_with_its_place() {
    let many = format!("[{}]", vec![r#""{{summary}}""#; MAX_VARIABLES + 1].join(","));
    let steps = format!(r#"["{{{{event.data{}}}}}"]"#, ".a".repeat(MAX_PATH_STEPS + 1));
    for (text, pointer, message) in [
        ("{{event.id}}", "", "not valid JSON at line 1, column 2"),
        ("{\n \"a\": {{summary}}}", "", "not valid JSON at line 2"),
        (r#""{{summary}}""#, "", "must be a JSON object or array"),
        ("", "", "not valid JSON"),
        (
            r#"{"a":{"b/c":["x","é {{event.name}}"]}}"#,
            "/a/b~1c/1",
            "\"event.name\" at character 3 is not known",
        ),
        (r#"{"a":"{{}}"}"#, "/a", "\"\" at character 1 is not known"),
        (r#"{"a":"{{ {{summary}}"}"#, "/a", "is not known"),
        (r#"{"a":"{{EVENT.ID}}"}"#, "/a", "is not known"),
        (r#"{"a":"{{event.data.}}"}"#, "/a", "what follows event.data. must be 1 to 256 bytes"),
        (r#"{"a":"{{event.data.a..b}}"}"#, "/a", "must be names joined by single dots"),
        (r#"{"a":"{{event.data.a\tb}}"}"#, "/a", "may not hold control characters"),
        (&steps, "/0", "must have at most 16 steps"),
        (r#"{"a":"x {{summary"}"#, "/a", "the {{ at character 3 is never closed"),
        (r#"{"a":"x {{summary}"}"#, "/a", "is never closed"),
        (r#"{"a":[{"b{{summary}}":1}]}"#, "/a/0", "may not hold a variable"),
        (r#"{"a":"\ud800"}"#, "/a", "is not Unicode text"),
        (&many, &format!("/{MAX_VARIABLES}"), "more than 256 variables"),
        (&"[".repeat(100_000), "", "at most 65536 bytes"),
        (&"[".repeat(33), "", "more than 32 levels deep"),
        (&format!("[\"{}\"]", "x".repeat(MAX_TEMPLATE)), "", "at most 65536 bytes"),
    ] {
        let refused = Template::parse(text, LoneVariables::Text).expect_err(text);
        assert_eq!(refused.pointer, pointer, "{text}");
        let said = refused.problem.to_string();
        assert!(said.contains(message), "{text}: {said}");
    }
}

#[test]
fn a_body_is_bounded_and_what_finds_no_room_is_left_out_and_noted() {
    let long =
        format!(r#"{{"l":"{}","q":"{}","s":"short"}}"#, "x".repeat(MAX_BODY / 2 + 1), "\\\"".repeat(60_000));
    let text = r#"["{{event.data.l}}","{{event.data.l}}","-{{event.data}}-","{{event.data.s}}"]"#;
    let (body, gaps) = filled(text, LoneVariables::Text, &long);
    assert!(body.len() <= MAX_BODY, "{}", body.len());
    assert!(body.ends_with(r#"",null,"--","short"]"#), "{}", &body[body.len() - 40..]);
    let reasons: Vec<_> = gaps.iter().map(|gap| (gap.variable.as_str(), gap.reason)).collect();
    assert_eq!(reasons, [("event.data.l", GapReason::NoRoom), ("event.data", GapReason::NoRoom)]);
    let many = format!("[{}]", vec![r#""{{event.data}}""#; MAX_VARIABLES].join(","));
    let (body, _) = filled(&many, LoneVariables::Text, &format!(r#"{{"q":"{}"}}"#, "\\\"".repeat(20_000)));
    assert!(body.len() <= MAX_BODY && serde_json::from_str::<Value>(&body).is_ok());
}

#[test]
fn a_template_is_stored_as_it_was_written() {
    let text = "{ \"a\": \"{{summary}}\", \"n\": 1.10 }";
    for lone_variables in [LoneVariables::Text, LoneVariables::Typed] {
        let before = template(text, lone_variables);
        let stored = serde_json::to_string(&before).expect("serialises");
        let after: Template = serde_json::from_str(&stored).expect("reads");
        assert_eq!((after.text(), after.lone_variables()), (text, lone_variables));
        assert_eq!(after, before);
    }
    let first: Template = serde_json::from_str(r#"{"text":"[\"{{summary}}\"]"}"#).expect("reads");
    assert_eq!(first.lone_variables(), LoneVariables::Text);
}

const VARIABLES: [&str; 10] = [
    "brand.name",
    "brand.website",
    "summary",
    "workflow.name",
    "timestamp",
    "event.data",
    "event.data.a",
    "event.data.a.b",
    "event.data.a.0",
    "event.data.no",
];

fn template_string() -> impl Strategy<Value = String> {
    let variable = prop::sample::select(&VARIABLES[..]).prop_map(|name| format!("{{{{{name}}}}}"));
    // No two braces together, neither in a text nor where it meets a variable.
    let text = any::<String>().prop_map(|text| text.replace('{', "{·"));
    prop_oneof![
        2 => variable.clone(),
        3 => prop::collection::vec(prop_oneof![variable, text], 0..5).prop_map(|parts| parts.concat()),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let name = || "[a-z\"\\\\é]{0,4}";
    let leaf = prop_oneof![
        template_string().prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(true)),
    ];
    let inner = leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(name(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec(inner, 0..4).prop_map(Value::Array)
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null)
    ];
    let name = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), any::<String>()];
    let inner = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    inner.prop_map(|inner| json!({"a": inner, "x\"": 1}))
}

/// The plainest reader there is: what a document is with its variables replaced, on parsed values.
fn expected(document: &Value, lone_variables: LoneVariables, value_of: &dyn Fn(&str) -> Value) -> Value {
    match document {
        Value::Array(elements) => {
            elements.iter().map(|element| expected(element, lone_variables, value_of)).collect()
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), expected(value, lone_variables, value_of)))
            .collect(),
        Value::String(text) => expected_string(text, lone_variables, value_of),
        Value::Null | Value::Bool(_) | Value::Number(_) => document.clone(),
    }
}

fn expected_string(text: &str, lone_variables: LoneVariables, value_of: &dyn Fn(&str) -> Value) -> Value {
    let as_text = |value: Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let alone = VARIABLES.iter().find(|name| text == format!("{{{{{name}}}}}"));
    if let Some(name) = alone {
        let value = value_of(name);
        let keeps = value.is_null() || lone_variables == LoneVariables::Typed;
        return if keeps { value } else { Value::String(as_text(value)) };
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("closed");
        out.push_str(before);
        out.push_str(&as_text(value_of(name)));
        rest = after;
    }
    Value::String(out + rest)
}

proptest! {
    /// Whatever is in the event, the body has the template's own shape: nothing ends a string early.
    #[test]
    fn a_body_is_the_template_with_its_variables_replaced(
        document in document(), data in data(), summary in any::<Option<String>>(), name in any::<String>(),
        is_typed in any::<bool>(),
    ) {
        let lone_variables = if is_typed { LoneVariables::Typed } else { LoneVariables::Text };
        let event = Event { summary: summary.clone(), ..event(&data.to_string()) };
        let tenant = Tenant { name: name.clone(), ..tenant() };
        let filled = template(&document.to_string(), lone_variables).fill(&EventReading::of(&event), &tenant);
        let at = |pointer: &str| data.pointer(pointer).cloned().unwrap_or_default();
        let value_of = |variable: &str| match variable {
            "brand.name" => json!(name),
            "summary" => json!(summary),
            "workflow.name" => json!("Work"),
            "timestamp" => json!("2026-11-21T09:30:00.123Z"),
            "event.data" => data.clone(),
            "event.data.a" => at("/a"),
            "event.data.a.b" => at("/a/b"),
            "event.data.a.0" => at("/a/0"),
            _ => Value::Null,
        };
        let body: Value = serde_json::from_slice(&filled.body).expect("JSON");
        prop_assert_eq!(body, expected(&document, lone_variables, &value_of));
    }

    /// Bytes of every kind, mostly no templates at all: what is accepted gives JSON for odd data too.
    #[test]
    fn whatever_is_accepted_gives_json(
        pieces in prop::collection::vec(prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just("\""), Just("\\"), Just("{{"), Just("}}"), Just(","),
            Just(":"), Just("\"a\":"), Just("event.data.a"), Just("\"{{event.data.s}}\""), Just("{{event.data.q}}"),
            Just("\\u007b"), Just("1e400"), Just(" "), Just("null"), Just("\\ud83d"), Just("é"),
        ], 0..14),
        is_object in any::<bool>(),
    ) {
        let text = pieces.concat();
        let text = if is_object { format!("{{\"k\":{text}}}") } else { format!("[\"{text}\"]") };
        for lone_variables in [LoneVariables::Text, LoneVariables::Typed] {
            let Ok(template) = Template::parse(&text, lone_variables) else { return Ok(()) };
            let odd = r#"{"a":{"n": 1e400,"a":1,"a":2},"s":"\ud800\u0000\"","q":[ "\\\"", {} ]}"#;
            let filled = template.fill(&EventReading::of(&event(odd)), &tenant());
            let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&filled.body).is_ok();
            prop_assert!(is_json, "{} gave {}", text, String::from_utf8_lossy(&filled.body));
        }
    }
}
