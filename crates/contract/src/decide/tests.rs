mod contracts;

use bytes::Bytes;

use super::*;
use crate::attempt::{BodyExtent, FailureClass, Header};
use crate::egress::WebhookUrl;
use crate::ids::WebhookId;
use crate::profile::{Profile, StatusSet, builtin_profile};
use contracts::{CONTRACTS, Contract};

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

#[test]
fn any_2xx_is_a_success_on_every_try_even_if_its_body_is_cut_off() {
    for Contract { profile, .. } in CONTRACTS {
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
fn a_postbacks_own_successes_replace_its_profiles() {
    let profile = builtin_profile(&"standard".parse().expect("a name")).expect("built in");
    let url = WebhookUrl::from_stored("https://partner.example/pb").expect("a URL");
    let tenant = "acme".parse().expect("an id");
    let mut postback = Webhook::new(tenant, WebhookId::from_u128(1), url, NOW);
    postback.postback.success =
        Some(SuccessRule { statuses: StatusSet::parse(["302", "410"]).expect("a set"), body_contains: None });
    for (kind, arrives) in [(WebhookKind::Postback, true), (WebhookKind::Webhook, false)] {
        postback.kind = kind;
        let rules = DeliveryRules::of(&profile, &postback);
        let decided = |status| decide(&answer(status), AttemptNumber::FIRST, &rules, NOW, Jitter::NONE);
        for status in [302, 410] {
            assert_eq!(decided(status) == Outcome::Delivered, arrives, "{status} of a {}", kind.as_str());
        }
        assert_eq!(decided(200) == Outcome::Delivered, !arrives, "a {}", kind.as_str());
        assert_eq!(disables(&answer(410), &rules), !arrives, "what has arrived disables nothing");
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
        for Contract { profile, waits, .. } in CONTRACTS {
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
        for Contract { profile, .. } in CONTRACTS {
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
