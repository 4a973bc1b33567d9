//! Requests that write configuration, made up by chance: what is refused leaves nothing behind, what is taken is there.

use postrider_contract::profile::builtin_profiles;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::fixture::{ADMIN, Api, text};

/// What may stand anywhere in a request, fitting or not.
fn odd() -> impl Strategy<Value = Value> {
    let texts = select(vec![
        "",
        "a",
        "X-A",
        "host",
        "\r\n",
        "é\u{0}",
        "2xx",
        "5s",
        "367d",
        "https://a.example/",
        "http://localhost/",
        "GET",
        "{{event.data.a}}",
        "{{nobody}}",
        "${event.data}",
        "${body}",
        "${signature}",
        "hex",
        "slack",
        "standard",
        "paused",
        "conversion.*",
        "*",
        "bearer",
        "basic",
        "api_key",
        "whsec_",
        "a.b..c",
        "postback",
    ]);
    let fixed = vec![
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(0),
        json!(-1),
        json!(1e300),
        json!([1]),
        json!({"a": 1}),
    ];
    prop_oneof![3 => texts.prop_map(Value::from), 1 => select(fixed), 1 => any::<i32>().prop_map(Value::from)]
}

/// One of the values of a document is another, or one more.
fn changed(document: &Value, changes: Vec<(Index, Option<&'static str>, Value)>) -> Value {
    let mut document = document.clone();
    for (choice, name, value) in changes {
        let mut pointers = vec![String::new()];
        let mut next = 0;
        while let Some(pointer) = pointers.get(next).cloned() {
            let below = document.pointer(&pointer).and_then(Value::as_object);
            pointers.extend(
                below.into_iter().flat_map(|members| members.keys()).map(|name| format!("{pointer}/{name}")),
            );
            next += 1;
        }
        let Some(place) = document.pointer_mut(choice.get(&pointers).as_str()) else { continue };
        match (name, place.as_object_mut()) {
            (Some(name), Some(members)) => {
                members.insert(name.to_owned(), value);
            }
            (Some(_), None) => {}
            (None, _) => *place = value,
        }
    }
    document
}

fn webhook() -> Value {
    json!({
        "url": "https://example.com/hook", "events": ["conversion.*"], "name": "n", "secret": "a secret of somebody",
        "headers": {"X-Own": "1"}, "filter": {"and": [{"field": "a", "equals": 1}, {"not": {"field": "b", "exists": true}}]},
        "template": {"text": "{{event.data.a}}", "more": {"id": "{{event.id}}"}}, "auth_type": "bearer", "auth_token": "t",
        "timeout_ms": 5000, "rate_limit_per_second": 5, "max_in_flight": 5, "metadata": {"a": "b"}, "description": "d",
    })
}

/// A method, a path with `{id}` for the webhook's, and a body.
fn request() -> impl Strategy<Value = (&'static str, &'static str, String)> {
    let names = select(vec![
        None,
        None,
        None,
        Some("nobody"),
        Some("provider"),
        Some("profile"),
        Some("signature_header"),
        Some("template_typed"),
        Some("status"),
        Some("kind"),
        Some("retry"),
        Some("separator"),
        Some("replay_window"),
        Some("url"),
    ]);
    let changes = || prop::collection::vec((any::<Index>(), names.clone(), odd()), 1..4);
    let of_webhook =
        select(vec![("POST", "/v1/webhooks"), ("PATCH", "/v1/webhooks/{id}"), ("PUT", "/v1/webhooks/{id}")]);
    let webhooks = (of_webhook, changes())
        .prop_map(|((method, path), changes)| (method, path, changed(&webhook(), changes).to_string()));
    let profiles = (select(builtin_profiles().to_vec()), changes()).prop_map(|(profile, changes)| {
        let mut form = serde_json::to_value(profile.definition()).expect("a form");
        form["name"] = json!("own");
        ("PUT", "/v1/profiles/own", changed(&form, changes).to_string())
    });
    let rubbish = ".{0,60}".prop_map(|text| ("PATCH", "/v1/webhooks/{id}", text));
    prop_oneof![6 => webhooks, 3 => profiles, 1 => rubbish]
}

#[test]
fn what_is_refused_leaves_nothing_and_what_is_taken_is_there() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (api, id) = runtime.block_on(async {
        let api = Api::start().await;
        api.tenant("acme", "trcker").await;
        let made = api.call(&key(), "POST", "/v1/webhooks", Some(webhook())).await.expect(201);
        let id = text(&made, "id").to_owned();
        (api, id)
    });
    let judge = async |method: &str, path: &str, body: String| -> Result<(), TestCaseError> {
        let path = path.replace("{id}", &id);
        let (revision, records) = (api.revision().await, api.records().await.len());
        let answer = api.call_text(&key(), method, &path, Some(body)).await;
        let status = answer.status.as_u16();
        prop_assert!(status < 500, "{status}: {}", answer.text);
        if answer.status.is_success() {
            if method != "POST" {
                let read = api.call(&key(), "GET", &path, None).await;
                prop_assert_eq!(read.status.as_u16(), 200, "{}", read.text);
            }
        } else {
            prop_assert_eq!(api.revision().await, revision, "refused, and written: {}", answer.text);
            prop_assert_eq!(api.records().await.len(), records);
            prop_assert!(answer.json()["code"].is_string(), "{}", answer.text);
        }
        Ok(())
    };
    let run = TestRunner::default()
        .run(&request(), |(method, path, body)| runtime.block_on(judge(method, path, body)));
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The admin's, for the tenant: it may write webhooks and profiles.
fn key() -> String {
    format!("{ADMIN} acme")
}
