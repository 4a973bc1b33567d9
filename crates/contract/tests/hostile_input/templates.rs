//! Templates.

use postrider_contract::event::EventReading;
use postrider_contract::provider::Provider;
use postrider_contract::template::{LoneVariables, MAX_BODY, Template};
use proptest::prelude::*;
use proptest::sample::select;

use super::texts::{damaged, event, is_json, json, object, tenant};

/// A variable, known or not.
fn variable() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(select(vec!["a", "b", "c", "id", "0", "1", "a/b", "a~b", ""]), 0..4);
    let known = select(vec![
        "brand.id",
        "brand.name",
        "brand.website",
        "event.id",
        "event.type",
        "summary",
        "workflow.name",
        "timestamp",
        "event.data",
        "event.daata",
        "",
        " ",
        "event",
    ]);
    prop_oneof![
        3 => path.prop_map(|steps| format!("event.data.{}", steps.join("."))),
        2 => known.prop_map(str::to_owned),
    ]
}

/// A template's string: text and variables, in any order.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => (variable(), select(vec!["", " "])).prop_map(|(name, blank)| format!("{{{{{blank}{name}{blank}}}}}")),
        1 => select(vec!["{{", "}}", "x", "é", "\\u0000", "\\ud800", "\\\"", "{{{", "{{}}"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn template() -> impl Strategy<Value = String> {
    let document = prop_oneof![4 => string(), 1 => json()].prop_recursive(4, 24, 4, |inner| {
        let member = (select(vec!["a", "text", "{{a}}", "\\ud800"]), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    });
    prop_oneof![6 => damaged(document), 1 => ".{0,80}"]
}

fn lone() -> impl Strategy<Value = LoneVariables> {
    select(vec![LoneVariables::Text, LoneVariables::Typed])
}

proptest! {
    #[test]
    fn a_template_is_refused_in_few_words_or_always_gives_json(text in template(), lone in lone(), data in object()) {
        match Template::parse(&text, lone) {
            Err(refused) => prop_assert!(refused.to_string().len() < 1_000 + refused.pointer.len(), "{refused}"),
            Ok(template) => {
                if let Some(event) = event(&data) {
                    let filled = template.fill(&EventReading::of(&event), &tenant());
                    prop_assert!(is_json(&filled.body), "{}", String::from_utf8_lossy(&filled.body));
                    prop_assert!(filled.body.len() <= MAX_BODY);
                    prop_assert_eq!(template.fill(&EventReading::of(&event), &tenant()), filled, "the same every time");
                }
                prop_assert_eq!(&Template::parse(template.text(), lone), &Ok(template.clone()));
                let stored = serde_json::to_string(&template).expect("stored");
                prop_assert_eq!(serde_json::from_str::<Template>(&stored).expect("read back"), template);
            }
        }
    }

    #[test]
    fn a_providers_message_is_json_whatever_the_event(data in object(), provider in select(Provider::ALL.to_vec())) {
        let Some(event) = event(&data) else { return Ok(()) };
        if let Some(message) = provider.message(&event, &tenant(), None) {
            prop_assert!(is_json(&message), "{}", String::from_utf8_lossy(&message));
        }
    }
}
