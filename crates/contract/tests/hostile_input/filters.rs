//! Filters.

use postrider_contract::filter::Filter;
use postrider_contract::json::Node;
use proptest::prelude::*;
use proptest::sample::select;

use super::texts::{damaged, json, object};

fn term() -> impl Strategy<Value = String> {
    let field = select(vec!["a", "b", "a.b", "a.0", "0", "a..b", "", "id", "a/b", "\\ud800"]);
    let test = select(vec![
        "equals",
        "in",
        "exists",
        "greater_than",
        "at_least",
        "less_than",
        "at_most",
        "matches",
        "field",
        "not",
    ]);
    let value = prop_oneof![
        3 => json(),
        1 => prop::collection::vec(json(), 0..4).prop_map(|values| format!("[{}]", values.join(","))),
        1 => Just("true".to_owned()),
    ];
    (field, test, value).prop_map(|(field, test, value)| format!(r#"{{"field":"{field}","{test}":{value}}}"#))
}

fn filter() -> impl Strategy<Value = String> {
    let expression = term().prop_recursive(9, 60, 4, |inner| {
        let joined = (select(vec!["and", "or", "not", "xor"]), prop::collection::vec(inner.clone(), 0..4));
        prop_oneof![
            joined.prop_map(|(name, parts)| format!(r#"{{"{name}":[{}]}}"#, parts.join(", "))),
            inner.prop_map(|part| format!(r#"{{"not":{part}}}"#)),
        ]
    });
    prop_oneof![6 => damaged(expression), 1 => ".{0,80}"]
}

proptest! {
    #[test]
    fn a_filter_is_refused_in_few_words_or_judges_every_event(text in filter(), data in object()) {
        match Filter::parse(&text) {
            Err(refused) => prop_assert!(refused.to_string().len() < 1_000 + refused.pointer.len(), "{refused}"),
            Ok(filter) => {
                let written = filter.to_string();
                prop_assert_eq!(Filter::parse(&written), Ok(filter.clone()), "{}", written);
                let stored = serde_json::to_string(&filter).expect("stored");
                prop_assert_eq!(&serde_json::from_str::<Filter>(&stored).expect("read back"), &filter);
                if let Ok(node) = Node::parse(&data) {
                    prop_assert_eq!(filter.matches(&node), filter.explain(&node).is_empty());
                }
            }
        }
    }
}
