use bytes::Bytes;

use super::*;
use crate::attempt::{BodyExtent, FailureClass, Header, Phase};
use crate::profile::{Profile, builtin_profile};

const NOW: Timestamp = Timestamp::EPOCH;

fn answer(status: u16) -> AttemptResult {
    answer_with(status, &[])
}

fn answer_with(status: u16, headers: &[(&str, &str)]) -> AttemptResult {
    answer_saying(status, headers, "")
}

fn answer_saying(status: u16, headers: &[(&str, &str)], body: &str) -> AttemptResult {
    let header = |(name, value): &(&str, &str)| Header {
        name: (*name).into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    AttemptResult::Response(Response {
        status,
        headers: headers.iter().map(header).collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        extent: BodyExtent::Whole,
    })
}

fn no_answer(class: FailureClass) -> AttemptResult {
    AttemptResult::Failure { class, detail: String::new() }
}

fn decided(profile: &str, result: &AttemptResult, number: u32, jitter: Jitter) -> Outcome {
    let profile = builtin_profile(&profile.parse().expect("a name")).expect("built in");
    let overrides = ProfileOverride::default();
    let rules = DeliveryRules::new(&profile, &overrides);
    decide(result, AttemptNumber::from_number(number).expect("not zero"), &rules, NOW, jitter)
}

fn retry(after: Duration, cause: Cause) -> Outcome {
    Outcome::Retry { at: NOW.plus(after), cause }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TRCKER: &[u64] = &[1, 5, 30, 300, 1800, 7200];
const STANDARD: &[u64] = &[5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
const TRAKKR: &[u64] = &[1, 2, 4];
const TRACK360: &[u64] = &[30, 120, 600, 3600, 14_400];

const SCHEDULES: [(&str, &[u64]); 6] = [
    ("standard", STANDARD),
    ("trcker", TRCKER),
    ("trackdesk", STANDARD),
    ("trakkr", TRAKKR),
    ("track360", TRACK360),
    ("tracktile", STANDARD),
];

#[test]
fn every_profile_keeps_its_whole_schedule_and_then_the_delivery_has_failed() {
    for (profile, waits) in SCHEDULES {
        let causes = FailureClass::ALL.map(|class| (no_answer(class), Cause::Failure(class)));
        for (result, cause) in causes.into_iter().chain([(answer(500), Cause::Status(500))]) {
            for (tried, wait) in (1..).zip(waits) {
                let outcome = decided(profile, &result, tried, Jitter::NONE);
                assert_eq!(outcome, retry(seconds(*wait), cause), "{profile} try {tried}");
            }
            let last = u32::try_from(waits.len()).expect("few") + 1;
            let failed = Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(cause) };
            assert_eq!(decided(profile, &result, last, Jitter::NONE), failed, "{profile}");
            assert_eq!(decided(profile, &result, last + 1, Jitter::NONE), failed, "{profile}");
        }
    }
}

#[test]
fn only_profiles_with_jitter_let_chance_move_a_wait() {
    for (profile, _) in SCHEDULES {
        let (early, late) = (
            decided(profile, &answer(500), 2, Jitter::new(0.0)),
            decided(profile, &answer(500), 2, Jitter::new(1.0)),
        );
        let cause = Cause::Status(500);
        match profile {
            "standard" | "trackdesk" | "tracktile" => {
                assert_eq!(
                    (early, late),
                    (retry(seconds(270), cause), retry(seconds(330), cause)),
                    "{profile}"
                );
            }
            _ => assert_eq!(early, late, "{profile}"),
        }
    }
}

#[test]
fn any_2xx_is_a_success_on_every_try_even_if_its_body_is_cut_off() {
    for (profile, _) in SCHEDULES {
        for status in [200, 201, 202, 204, 226, 299] {
            assert_eq!(decided(profile, &answer(status), 1, Jitter::NONE), Outcome::Delivered);
            assert_eq!(decided(profile, &answer(status), 99, Jitter::NONE), Outcome::Delivered);
        }
        let AttemptResult::Response(response) = answer(200) else { panic!("an answer") };
        let cut_off = AttemptResult::Response(Response { extent: BodyExtent::CutOff, ..response });
        assert_eq!(decided(profile, &cut_off, 1, Jitter::NONE), Outcome::Delivered);
    }
}

#[test]
fn what_is_tried_again_and_what_ends_a_delivery_is_each_profiles_own() {
    let everything = [301, 302, 304, 307, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503, 504, 599];
    for (profile, waits) in SCHEDULES {
        for status in everything {
            let is_permanent = match profile {
                "standard" => status == 410,
                "trcker" | "trackdesk" | "tracktile" => false,
                _ => status < 500 && status != 429,
            };
            let cause = Cause::Status(status);
            let expected = if is_permanent {
                Outcome::Failed { reason: FailureReason::Permanent, cause: Some(cause) }
            } else {
                retry(seconds(waits[0]), cause)
            };
            assert_eq!(decided(profile, &answer(status), 1, Jitter::NONE), expected, "{profile} {status}");
        }
    }
}

#[test]
fn retry_after_counts_where_the_profile_looks_at_it() {
    for (profile, waits) in SCHEDULES {
        for (status, value) in [
            (429, "77"),
            (503, "77"),
            (500, "77"),
            (429, "soon"),
            (429, "-1"),
            (429, "0"),
            (429, "1000000000000"),
        ] {
            let is_looked_at = match profile {
                "standard" | "trackdesk" | "tracktile" => status == 429 || status == 503,
                "trakkr" | "track360" => status == 429,
                _ => false,
            };
            let expected = match value {
                "77" if is_looked_at => 77,
                "0" if is_looked_at => 1,
                "1000000000000" if is_looked_at => 86_400,
                _ => waits[0],
            };
            let result = answer_with(status, &[("retry-after", value)]);
            let outcome = decided(profile, &result, 1, Jitter::NONE);
            assert_eq!(
                outcome,
                retry(seconds(expected), Cause::Status(status)),
                "{profile} {status} {value}"
            );
        }
        let date = answer_with(429, &[("Retry-After", "Thu, 01 Jan 1970 00:02:00 GMT")]);
        let expected = if profile == "trcker" { 1 } else { 120 };
        assert_eq!(
            decided(profile, &date, 1, Jitter::NONE),
            retry(seconds(expected), Cause::Status(429)),
            "{profile}"
        );
        let last = u32::try_from(waits.len()).expect("few") + 1;
        let exhausted = decided(profile, &date, last, Jitter::NONE);
        assert!(matches!(exhausted, Outcome::Failed { reason: FailureReason::Exhausted, .. }), "{profile}");
    }
}

#[test]
fn only_gone_disables_and_only_where_the_profile_says_so() {
    for (profile, _) in SCHEDULES {
        let compiled = builtin_profile(&profile.parse().expect("a name")).expect("built in");
        let overrides = ProfileOverride::default();
        let rules = DeliveryRules::new(&compiled, &overrides);
        assert_eq!(disables(&answer(410), &rules), profile == "standard", "{profile}");
        assert!(!disables(&answer(404), &rules));
        assert!(!disables(&no_answer(FailureClass::Timeout(Phase::Headers)), &rules));
    }
}

#[test]
fn a_webhooks_own_waits_replace_its_profiles() {
    let profile = builtin_profile(&"trcker".parse().expect("a name")).expect("built in");
    let overrides = ProfileOverride { waits: Some(vec![seconds(7)]), ..ProfileOverride::default() };
    let rules = DeliveryRules::new(&profile, &overrides);
    let decided = |number: AttemptNumber| decide(&answer(500), number, &rules, NOW, Jitter::NONE);
    assert_eq!(decided(AttemptNumber::FIRST), retry(seconds(7), Cause::Status(500)));
    assert!(matches!(
        decided(AttemptNumber::FIRST.next()),
        Outcome::Failed { reason: FailureReason::Exhausted, .. }
    ));
    assert_eq!(rules.planned_wait(AttemptNumber::FIRST), Some(seconds(7)));
    assert_eq!(rules.planned_wait(AttemptNumber::FIRST.next()), None);
}

fn decided_at(provider: Provider, profile: &str, result: &AttemptResult) -> Outcome {
    let profile = builtin_profile(&profile.parse().expect("a name")).expect("built in");
    let overrides = ProfileOverride::default();
    let rules = DeliveryRules::new(&profile, &overrides).at(provider);
    decide(result, AttemptNumber::FIRST, &rules, NOW, Jitter::NONE)
}

#[test]
fn what_a_provider_says_of_success_is_understood() {
    for (provider, status, body, is_success) in [
        (Provider::Slack, 200, "ok", true),
        (Provider::Slack, 200, " OK\n", true),
        (Provider::Slack, 200, "", true),
        (Provider::Slack, 200, "invalid_payload", false),
        (Provider::Discord, 204, "", true),
        (Provider::Discord, 200, r#"{"id":"1"}"#, true),
        (Provider::TeamsWebhook, 202, "", true),
        (Provider::TeamsWebhook, 200, "1", true),
        (
            Provider::TeamsWebhook,
            200,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
            false,
        ),
        (Provider::Zapier, 200, r#"{"status":"success"}"#, true),
        (Provider::Make, 200, "Accepted", true),
        (Provider::Webhook, 200, "invalid_payload", true),
    ] {
        for (profile, waits) in SCHEDULES {
            let outcome = decided_at(provider, profile, &answer_saying(status, &[], body));
            let otherwise = retry(seconds(waits[0]), Cause::Status(status));
            let expected = if is_success { Outcome::Delivered } else { otherwise };
            assert_eq!(outcome, expected, "{provider} {profile} {body}");
        }
    }
}

#[test]
fn what_a_provider_takes_for_a_success_is_one_whatever_the_profile_takes_for_one() {
    let text = "name = 'own'\nenvelope.body = '{}'\nretry.waits = ['5s']\nanswers.success = ['201', '299']";
    let own = Profile::from_toml(text).and_then(Profile::compile).expect("a profile");
    let overrides = ProfileOverride::default();
    let decided = |provider, result: &AttemptResult| {
        let rules = DeliveryRules::new(&own, &overrides).at(provider);
        decide(result, AttemptNumber::FIRST, &rules, NOW, Jitter::NONE)
    };
    for (provider, statuses) in [
        (Provider::Slack, &[200][..]),
        (Provider::Discord, &[200, 204]),
        (Provider::TeamsWebhook, &[200, 202]),
        (Provider::Zapier, &[200]),
        (Provider::Make, &[200]),
    ] {
        for status in statuses.iter().chain(&[201, 299]) {
            assert_eq!(decided(provider, &answer(*status)), Outcome::Delivered, "{provider} {status}");
        }
        let other = answer(206);
        assert_eq!(decided(provider, &other), retry(seconds(5), Cause::Status(206)), "{provider}");
    }
    let refused = answer_saying(200, &[], "invalid_payload");
    assert_eq!(decided(Provider::Slack, &refused), retry(seconds(5), Cause::Status(200)));
    assert_eq!(decided(Provider::Webhook, &answer(204)), retry(seconds(5), Cause::Status(204)));
}

/// A success counts as soon as the head is in: what of Slack's `ok` is still to come when the time is over is not held
/// against it.
#[test]
fn a_word_of_success_that_was_cut_off_is_a_success_and_another_word_is_none() {
    for (body, extent, is_success) in [
        ("", BodyExtent::CutOff, true),
        ("o", BodyExtent::CutOff, true),
        ("OK", BodyExtent::CutOff, true),
        ("ok, but", BodyExtent::CutOff, false),
        ("inv", BodyExtent::CutOff, false),
        ("\u{e9}", BodyExtent::CutOff, false),
        ("o", BodyExtent::Whole, false),
        ("ok", BodyExtent::Truncated, true),
    ] {
        let AttemptResult::Response(whole) = answer_saying(200, &[], body) else { panic!("an answer") };
        let result = AttemptResult::Response(Response { extent, ..whole });
        let expected = if is_success { Outcome::Delivered } else { retry(seconds(1), Cause::Status(200)) };
        assert_eq!(decided_at(Provider::Slack, "trcker", &result), expected, "{body:?} {extent:?}");
    }
}

#[test]
fn a_provider_is_left_alone_for_as_long_as_it_asks_in_header_or_body_whatever_the_profile() {
    let refused = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#;
    for (headers, body, wait) in [
        (&[][..], refused, Duration::from_millis(64_570)),
        (&[("Retry-After", "65")], refused, seconds(65)),
        (&[("Retry-After", "3")], refused, Duration::from_millis(64_570)),
        (&[("Retry-After", "30")], "", seconds(30)),
        (&[], r#"{"retry_after":1e12}"#, seconds(86_400)),
        (&[], r#"{"retry_after":0}"#, seconds(1)),
    ] {
        for (profile, _) in SCHEDULES {
            let answer = answer_saying(429, headers, body);
            assert_eq!(
                decided_at(Provider::Discord, profile, &answer),
                retry(wait, Cause::Status(429)),
                "{profile} {body}"
            );
        }
    }
    for body in
        [r#"{"retry_after":-1}"#, r#"{"retry_after":"5"}"#, r#"{"retry_after":1e999}"#, "{", "[]", "429"]
    {
        let answer = answer_saying(429, &[], body);
        assert_eq!(
            decided_at(Provider::Discord, "trcker", &answer),
            retry(seconds(1), Cause::Status(429)),
            "{body}"
        );
    }
    // Not even a profile that ends a delivery with 429 does it here.
    let text = "name = 'own'\nenvelope.body = '{}'\nretry.waits = ['5s']\nanswers.permanent = ['4xx']";
    let own = Profile::from_toml(text).and_then(Profile::compile).expect("a profile");
    let overrides = ProfileOverride::default();
    let limited = answer_saying(429, &[], refused);
    let decided = |provider| {
        let rules = DeliveryRules::new(&own, &overrides).at(provider);
        decide(&limited, AttemptNumber::FIRST, &rules, NOW, Jitter::NONE)
    };
    assert_eq!(decided(Provider::Make), retry(Duration::from_millis(64_570), Cause::Status(429)));
    assert!(matches!(decided(Provider::Webhook), Outcome::Failed { reason: FailureReason::Permanent, .. }));
    // The body of anybody else says nothing.
    let answer = answer_saying(429, &[], refused);
    assert_eq!(decided_at(Provider::Webhook, "trcker", &answer), retry(seconds(1), Cause::Status(429)));
}

#[test]
fn what_a_provider_refuses_for_good_is_not_tried_again() {
    for (provider, statuses) in
        [(Provider::Slack, &[400, 403, 404, 410][..]), (Provider::Discord, &[400, 401, 403, 404])]
    {
        for status in statuses {
            let outcome = decided_at(provider, "trcker", &answer(*status));
            assert!(
                matches!(outcome, Outcome::Failed { reason: FailureReason::Permanent, .. }),
                "{provider} {status}"
            );
            let elsewhere = decided_at(Provider::Zapier, "trcker", &answer(*status));
            assert_eq!(elsewhere, retry(seconds(1), Cause::Status(*status)));
        }
    }
}
