//! Profiles: the built-in ones with something in them changed for something else.

use bytes::Bytes;
use postrider_contract::clock::{Entropy, Timestamp};
use postrider_contract::ids::WebhookId;
use postrider_contract::profile::{CompiledProfile, Profile, ProfileOverride, builtin_profiles};
use postrider_contract::query_string::{encoded_pair, with_pair};
use postrider_contract::rendering::render;
use postrider_contract::retry::{MAX_WAIT, MIN_WAIT};
use postrider_contract::signature::{
    Covered, ReceivedRequest, RequestContext, SigningKey, VerifyingKey, signed_request, verify,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::texts::{content, event, is_json, object, tenant};

/// What may stand anywhere in a form, fitting or not.
fn odd() -> impl Strategy<Value = Value> {
    let texts = select(vec![
        "",
        "a",
        "x-a",
        "X-A",
        "host",
        "content-type",
        "2xx",
        "5xx",
        "429",
        "1s",
        "24h",
        "367d",
        "0s",
        "hex",
        "base64",
        "ed25519",
        "hmac-sha512",
        "md5",
        "text",
        "generated",
        "optional",
        "required",
        "hold",
        "skip",
        "POST",
        "GET",
        "#16a34a",
        "é",
        "\r\n",
        ",",
        " ",
        ".",
        "${event.id}",
        "${event.type}",
        "${timestamp}",
        "${timestamp_ms}",
        "${body}",
        "${query}",
        "${query.a}",
        "${secret}${query.a}",
        "v1a,${signature}",
        "${signature}",
        "${signatures}",
        "${event.data}",
        "${event.data.members}",
        "${event.id}.${timestamp}.${body}",
        "${timestamp}${body}",
        "t=${timestamp},${signatures}",
        "${signatures}${timestamp}",
        "v1,${signature}",
        "${event.summary}",
        "$",
        "${",
        "{\"a\":${event.data}}",
        "{\"a\":\"${event.id}\"}",
        "[${event.data}]",
        "{\"a\":1${event.data.members}}",
    ]);
    prop_oneof![
        6 => texts.prop_map(Value::from),
        1 => content().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => (0.0_f64..2.0).prop_map(Value::from),
        1 => select(vec![json!(null), json!(true), json!([]), json!({}), json!(["a"]), json!(0), json!(-1), json!(1e300)]),
    ]
}

/// Something to do to a form.
#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    Clear,
    Add(String, Value),
}

fn change() -> impl Strategy<Value = Change> {
    let members = select(vec![
        "nobody",
        "replay_window",
        "separator",
        "each",
        "value",
        "minimum_bytes",
        "maximum_bytes",
        "jitter",
        "accent_colour",
        "disable_after_failing_for",
        "reserved_data_members",
        "header_configurable",
        "permanent",
        "disabling",
        "time_limit",
        "query_parameter",
        "each_ed25519",
        "algorithm",
        "key_pair_prefix",
        "public_key_prefix",
    ]);
    prop_oneof![
        4 => odd().prop_map(Change::Replace),
        1 => Just(Change::Clear),
        2 => (members, odd()).prop_map(|(name, value)| Change::Add(name.to_owned(), value)),
    ]
}

/// A place of a document, chosen among all of them.
fn place_of(document: &mut Value, choice: Index) -> Option<&mut Value> {
    let mut pointers = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = pointers.get(next).cloned() {
        match document.pointer(&pointer) {
            Some(Value::Object(members)) => {
                pointers.extend(members.keys().map(|name| format!("{pointer}/{name}")))
            }
            Some(Value::Array(values)) => {
                pointers.extend((0..values.len()).map(|index| format!("{pointer}/{index}")));
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
        }
        next += 1;
    }
    let pointer = choice.get(&pointers).clone();
    document.pointer_mut(&pointer)
}

fn form() -> impl Strategy<Value = Value> {
    let built_in = select(builtin_profiles().to_vec());
    let changes = prop::collection::vec((any::<Index>(), change()), 0..4);
    (built_in, changes).prop_map(|(profile, changes)| {
        let mut form = serde_json::to_value(profile.definition()).expect("a form");
        for (choice, change) in changes {
            let Some(place) = place_of(&mut form, choice) else { continue };
            match change {
                Change::Replace(value) => *place = value,
                Change::Clear => *place = Value::Null,
                Change::Add(name, value) => {
                    if let Some(members) = place.as_object_mut() {
                        members.insert(name, value);
                    }
                }
            }
        }
        form
    })
}

#[derive(Debug)]
struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = 0_u8;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(7);
        }
    }
}

fn check_accepted(profile: &CompiledProfile, data: &str) -> Result<(), TestCaseError> {
    let definition = profile.definition();
    for wait in definition.retry.waits.waits() {
        prop_assert!((MIN_WAIT..=MAX_WAIT).contains(wait));
    }
    let Some(event) = event(data) else { return Ok(()) };
    let (tenant, webhook) = (tenant(), WebhookId::from_u128(1));
    let body = render(profile, &event, &tenant, webhook).unwrap_or_else(|_| Bytes::from_static(b"{}"));
    prop_assert!(is_json(&body), "{}", String::from_utf8_lossy(&body));
    let sent_at = Timestamp::from_millis(1_795_253_400_123);
    let context = RequestContext::of_event(&event, &tenant.id, webhook, sent_at);
    let mut keys = Vec::new();
    if let Some(rule) = &definition.secret {
        let key = SigningKey::parse(rule.generate(&Counting).reveal(), rule);
        prop_assert!(key.is_ok(), "a secret that is made is one that is taken: {key:?}");
        keys.extend(key.ok());
    }
    let overrides = ProfileOverride::default();
    let signed = profile.signed_parameters();
    let query =
        signed.iter().map(|name| encoded_pair(name, &event.id.to_string())).collect::<Vec<_>>().join("&");
    let made = signed_request(profile, &overrides, &context, Covered { query: &query, body: &body }, &keys);
    let (headers, pair) = (made.headers, made.query_parameter);
    let query = pair.map_or_else(|| query.clone(), |pair| with_pair(&query, &pair));
    for header in &headers {
        prop_assert!(header.value.iter().all(|byte| (0x20..0x7f).contains(byte)), "{header:?}");
        let written = headers.iter().filter(|other| other.name.eq_ignore_ascii_case(&header.name)).count();
        prop_assert_eq!(written, 1, "{:?}", header);
    }
    if definition.signature.is_some() {
        let request = ReceivedRequest { headers: &headers, query: &query, body: &body };
        let known: Vec<VerifyingKey> = keys.iter().map(SigningKey::verifying).collect();
        let verdict = verify(profile, &overrides, request, &known, sent_at);
        prop_assert_eq!(verdict, Ok(()), "what is signed can be verified: {:?}", headers);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_profile_is_refused_with_its_place_or_keeps_all_that_profiles_promise(form in form(), data in object()) {
        let text = form.to_string();
        let read = Profile::from_json(text.as_bytes());
        let compiled = read.and_then(Profile::compile);
        match compiled.and_then(|profile| profile.check_verifiable().map(|()| profile)) {
            Err(refused) => {
                prop_assert!(refused.to_string().len() < 2_000, "{refused}");
                let pointer = refused.pointer();
                prop_assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer}");
            }
            Ok(profile) => {
                let written = serde_json::to_string(profile.definition()).expect("JSON");
                let again = Profile::from_json(written.as_bytes()).and_then(Profile::compile);
                prop_assert_eq!(again.as_ref(), Ok(&profile), "{}", written);
                let written = toml::to_string(profile.definition()).expect("TOML");
                let again = Profile::from_toml(&written).and_then(Profile::compile);
                prop_assert_eq!(again.as_ref(), Ok(&profile), "{}", written);
                check_accepted(&profile, &data)?;
            }
        }
    }

    #[test]
    fn no_text_makes_reading_a_profile_fail_otherwise_than_by_refusal(text in ".{0,200}") {
        if let Err(refused) = Profile::from_toml(&text) {
            prop_assert!(refused.to_string().len() < 2_000);
        }
        prop_assert!(Profile::from_json(text.as_bytes()).is_err());
    }
}
