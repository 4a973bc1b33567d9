//! The largest that is let in, shaped to be as much work as possible: each is done with long before a deadline.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::data_path::MAX_PATH_STEPS;
use postrider_contract::event::EventReading;
use postrider_contract::filter::{Filter, MAX_FILTER_BYTES};
use postrider_contract::json::{Node, RawObject};
use postrider_contract::pattern::{MAX_PATTERN, Pattern};
use postrider_contract::profile::{Profile, ProfileOverride, StatusSet, builtin_profiles};
use postrider_contract::provider::Provider;
use postrider_contract::rendering::{EnvelopeVariable, render};
use postrider_contract::retry::{MAX_WAIT, RetryAfter};
use postrider_contract::signature::{ReceivedRequest, SigningKey, verify};
use postrider_contract::template::{LoneVariables, MAX_BODY, MAX_TEMPLATE, MAX_VARIABLES, Template};

use super::texts::{event, is_json, tenant};

/// Hundreds of times what the slowest takes in a debug build; only what grows faster than its input needs it.
const DEADLINE: Duration = Duration::from_secs(60);
const MEBIBYTE: usize = 1024 * 1024;

fn in_time(what: &'static str, work: impl FnOnce() + Send + 'static) {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(()).expect("somebody waits");
    });
    assert_eq!(waits.recv_timeout(DEADLINE), Ok(()), "{what}");
}

/// Deep where paths lead, and as wide as there is room.
fn large_data() -> String {
    let wide: String = (0..10_000).map(|number| format!("\"m{number}\":[1,2,{{\"a\":null}}],")).collect();
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let text = "\\\\\\\"\\u0041".repeat(20_000);
    format!("{{{wide}\"a\":{deep},\"s\":\"{text}\",\"a\":{deep}}}")
}

#[test]
fn templates() {
    in_time("templates", || {
        let path = format!("event.data{}", ".a".repeat(MAX_PATH_STEPS));
        let names: Vec<String> = (0..MAX_VARIABLES)
            .map(|number| if number % 2 == 0 { path.clone() } else { format!("event.data.m{number}.2.a") })
            .collect();
        let strings: Vec<String> = names.iter().map(|name| format!("\"{{{{{name}}}}}\"")).collect();
        let event = event(&large_data()).expect("an event");
        for lone in [LoneVariables::Text, LoneVariables::Typed] {
            let template = Template::parse(&format!("[{}]", strings.join(",")), lone).expect("a template");
            assert!(template.fill(&EventReading::of(&event), &tenant()).body.len() <= MAX_BODY);
        }
        for hostile in ["[", "{\"a\":", "\"{{", "{{", "\\", "[\"{{event.data.a}}\",", "\"{{event.data}}\","] {
            let text = hostile.repeat(2 * MAX_TEMPLATE / hostile.len());
            assert!(Template::parse(&text, LoneVariables::Text).is_err());
            let within = format!("[{}", hostile.repeat((MAX_TEMPLATE - 1) / hostile.len()));
            drop(Template::parse(&within, LoneVariables::Text));
        }
    });
}

#[test]
fn filters() {
    in_time("filters", || {
        let term = r#"{"field":"a.a.a.a.a.a.a.a","at_least":1e999999999}"#;
        let filter = format!("{{\"and\":[{}]}}", [term; 60].join(","));
        let filter = Filter::parse(&filter).expect("a filter");
        let data = large_data();
        let node = Node::parse(&data).expect("JSON");
        let matched = (0..1_000).filter(|_| filter.matches(&node)).count();
        assert_eq!(matched == 1_000, filter.explain(&node).is_empty());
        let numbers = format!("{{\"a\":{}}}", "9".repeat(MEBIBYTE));
        let node = Node::parse(&numbers).expect("JSON");
        let compare = Filter::parse(r#"{"field":"a","less_than":1e1000000}"#).expect("a filter");
        assert!(!compare.matches(&node));
        for hostile in ["{\"not\":", "{\"and\":[", "[", "{\"a\":1,"] {
            assert!(Filter::parse(&hostile.repeat(MAX_FILTER_BYTES / hostile.len())).is_err());
        }
    });
}

#[test]
fn profiles_and_patterns() {
    in_time("profiles and patterns", || {
        for hostile in ["$", "${", "${event.id}", "${event.data}", "$$", "}"] {
            let text = hostile.repeat(MAX_PATTERN / hostile.len());
            if let Ok(pattern) = Pattern::<EnvelopeVariable>::parse(&text) {
                assert_eq!(pattern.capture(&"a".repeat(MEBIBYTE)), None);
            }
            assert!(Pattern::<EnvelopeVariable>::parse(&text.repeat(3)).is_err());
        }
        let separated = Pattern::<EnvelopeVariable>::parse(&"${event.id},".repeat(1_000)).expect("a pattern");
        assert_eq!(separated.capture(&"a".repeat(MEBIBYTE)), None);
        assert_eq!(separated.capture(&"a,".repeat(MEBIBYTE / 2)), None);
        for hostile in ["[", "{\"a\":", "a.", "[[a]]\n", "a = [", "'", "\"\"\"", "a={", "a.b."] {
            let text = hostile.repeat(MEBIBYTE / hostile.len() / 16);
            assert!(Profile::from_json(text.as_bytes()).is_err());
            assert!(Profile::from_toml(&text).is_err());
        }
        assert!(StatusSet::parse(vec!["2xx"; 100_000]).is_err());
    });
}

#[test]
fn bodies_of_a_mebibyte() {
    in_time("bodies", || {
        let data = format!("{{\"s\":\"{}\"}}", "\\\"x".repeat(MEBIBYTE / 3 - 10));
        let event = event(&data).expect("an event");
        for profile in builtin_profiles() {
            render(profile, &event, &tenant(), postrider_contract::ids::WebhookId::from_u128(1))
                .expect("a body");
        }
        for provider in Provider::ALL {
            assert!(provider.message(&event, &tenant(), None).is_none_or(|message| is_json(&message)));
        }
        for hostile in ["[", "{\"a\":", "\"", "\\", "[\"", "9", "{\"a\":1,\"a\":1,"] {
            let text = hostile.repeat(MEBIBYTE / hostile.len());
            assert!(RawObject::parse(Bytes::from(text.clone())).is_err());
            drop(Node::parse(&text));
        }
    });
}

#[test]
fn headers_of_a_receiver_and_of_a_sender() {
    in_time("headers", || {
        for hostile in ["9", " ", "Sun, 06 Nov 1994 ", "\t", "é"] {
            let wish = RetryAfter::parse(&hostile.repeat(MEBIBYTE), Timestamp::EPOCH);
            assert!(wish.is_none_or(|wish| wish.duration() <= 366 * MAX_WAIT));
        }
        for profile in builtin_profiles() {
            let definition = profile.definition();
            let (rule, secret) =
                (definition.signature.as_ref().expect("it signs"), definition.secret.as_ref());
            let key = SigningKey::parse("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", secret.expect("a rule"));
            let key = key.expect("a key").verifying();
            for hostile in ["v1,a ", ",v1=", " ", "t=1,", "=", "sha256="] {
                let value = Bytes::from(hostile.repeat(MEBIBYTE / hostile.len()));
                let mut headers: Vec<Header> = Vec::new();
                headers.extend(
                    rule.header
                        .iter()
                        .map(|name| Header { name: name.to_string().into(), value: value.clone() }),
                );
                let own = definition.request.headers.iter();
                headers.extend(
                    own.map(|own| Header { name: own.name.to_string().into(), value: value.clone() }),
                );
                let request = ReceivedRequest { headers: &headers, query: "", body: b"{}" };
                let keys = std::slice::from_ref(&key);
                assert!(
                    verify(profile, &ProfileOverride::default(), request, keys, Timestamp::EPOCH).is_err()
                );
            }
        }
    });
}
