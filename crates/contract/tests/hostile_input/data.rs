//! Submissions, JSON, times, addresses and the small texts of headers.

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::data_path::DataPath;
use postrider_contract::egress::UrlRule;
use postrider_contract::json::{Node, RawObject};
use postrider_contract::pattern::Pattern;
use postrider_contract::profile::{Span, StatusSet, builtin_profiles};
use postrider_contract::rendering::{EnvelopeVariable, render};
use postrider_contract::retry::{MAX_WAIT, RetryAfter};
use postrider_contract::signature::TextVariable;
use postrider_contract::submission::Submission;
use proptest::prelude::*;
use proptest::sample::select;

use super::texts::{damaged, event, is_json, object, tenant};

fn submission() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        object().prop_map(|data| format!(r#""data":{data}"#)),
        select(vec![
            r#""type":"a.b""#,
            r#""type":7"#,
            r#""id":"evt_1""#,
            r#""id":"a b""#,
            r#""timestamp":"2026-11-21T09:30:00Z""#,
            r#""timestamp":"99999-01-01""#,
            r#""schema_version":"1.0""#,
            r#""schema_version":"999999.0""#,
            r#""summary":"\ud800""#,
            r#""workflow":{"name":"w"}"#,
            r#""webhook_ids":["wh_x"]"#,
            r#""nobody":1"#,
        ])
        .prop_map(str::to_owned),
    ];
    let document = prop::collection::vec(member, 0..6)
        .prop_map(|members| format!(r#"{{"type":"a.b",{}}}"#, members.join(" , ")).replace(",}", "}"));
    prop_oneof![6 => damaged(document), 1 => ".{0,80}"]
}

/// Seconds, dates in each of their forms, and what is nearly one.
fn retry_after() -> impl Strategy<Value = String> {
    let dates = select(vec![
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "1e12",
        "120",
        "99999999999999999999999999",
        "-1",
    ]);
    prop_oneof![damaged(dates.prop_map(str::to_owned)), "[0-9]{1,40}", ".{0,60}"]
}

proptest! {
    #[test]
    fn a_submission_is_refused_in_few_words_or_keeps_its_data(text in submission()) {
        let body = Bytes::from(text);
        match Submission::parse(&body) {
            Err(refused) => prop_assert!(refused.to_string().len() < 1_000, "{refused}"),
            Ok(submission) => {
                let data = submission.data.as_bytes();
                let is_object = is_json(data) && data.first() == Some(&b'{');
                prop_assert!(is_object, "data is an object");
                let is_part = body.windows(data.len()).any(|window| window == &data[..]);
                prop_assert!(is_part, "data is a piece of what was sent");
            }
        }
    }

    #[test]
    fn every_built_in_profile_gives_json_that_holds_the_data_as_it_came(data in object()) {
        let Some(event) = event(&data) else { return Ok(()) };
        let webhook = postrider_contract::ids::WebhookId::from_u128(1);
        for profile in builtin_profiles() {
            let Ok(body) = render(profile, &event, &tenant(), webhook) else {
                prop_assert!(!profile.definition().envelope.reserved_data_members.is_empty());
                continue;
            };
            prop_assert!(is_json(&body), "{}: {}", profile.name(), String::from_utf8_lossy(&body));
            let members = event.data.members();
            let holds = members.is_empty() || body.windows(members.len()).any(|window| window == members);
            prop_assert!(holds, "{}: {}", profile.name(), String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn reading_json_agrees_with_a_reader_that_is_trusted(text in damaged(object())) {
        let is_object = is_json(text.as_bytes()) && text.trim_start().starts_with('{');
        prop_assert_eq!(RawObject::parse(Bytes::from(text.clone())).is_ok(), is_object, "{}", text);
        prop_assert_eq!(Node::parse(&text).is_ok(), is_json(text.as_bytes()));
    }

    #[test]
    fn whatever_a_receiver_asks_for_is_bounded(value in retry_after(), millis in any::<i64>(), seconds in any::<f64>()) {
        let wishes = [RetryAfter::parse(&value, Timestamp::from_millis(millis)), RetryAfter::from_seconds(seconds)];
        for wish in wishes.into_iter().flatten() {
            prop_assert!(wish.duration() <= 366 * MAX_WAIT);
        }
    }

    #[test]
    fn small_texts_are_refused_or_read_back_as_they_are_written(text in damaged(select(vec![
        "1h30m", "250ms", "2xx", "500-599", "a.b.0", "${event.id}.${timestamp}", "{\"id\":${event.id}}", "2026-11-21T09:30:00.123Z",
        "https://user@a.example:8080/x?y#z", "http://[::1]/", "https://ex\u{e4}mple.example/%2f/../", "1.0", "evt_1",
    ]).prop_map(str::to_owned))) {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        if let Ok(set) = StatusSet::parse([text.as_str()]) {
            let written = serde_json::to_string(&set).expect("written");
            prop_assert_eq!(serde_json::from_str::<StatusSet>(&written).expect("read back"), set);
        }
        if let Ok(path) = text.parse::<DataPath>() {
            prop_assert_eq!(path.as_str(), text.as_str());
        }
        if let Ok(pattern) = Pattern::<EnvelopeVariable>::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }
        if let Ok(pattern) = Pattern::<TextVariable>::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern.clone()));
            let captured = pattern.capture(&text);
            prop_assert!(captured.is_none_or(|all| all.iter().all(|(_, text)| !text.is_empty())));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }
        if let Ok(url) = UrlRule::dev().check(&text) {
            prop_assert_eq!(UrlRule::dev().check(url.as_str()), Ok(url.clone()), "what is stored is accepted again");
            prop_assert!(url.path_and_query().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
