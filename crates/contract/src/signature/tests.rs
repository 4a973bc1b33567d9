mod schemes;
mod vectors;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::delivery::AttemptNumber;
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::profile::{CompiledProfile, ProfileOverride, builtin_profile};
use crate::profile::{Profile, SecretRule};

/// Owns what a [`RequestContext`] borrows.
pub(super) struct Try {
    event_id: EventId,
    event_type: EventType,
    tenant: TenantId,
    started_at: Timestamp,
}

impl Try {
    pub(super) fn at(seconds: i64, event_id: &str) -> Self {
        Try {
            event_id: event_id.parse().expect("an id"),
            event_type: "conversion.created".parse().expect("a type"),
            tenant: "tnt_1".parse().expect("an id"),
            started_at: Timestamp::from_millis(seconds * 1000 + 999),
        }
    }

    pub(super) fn context(&self) -> RequestContext<'_> {
        RequestContext {
            event_id: &self.event_id,
            event_type: &self.event_type,
            event_timestamp: Timestamp::EPOCH,
            schema_version: SchemaVersion::FIRST,
            tenant: &self.tenant,
            webhook: WebhookId::from_u128(7),
            delivery: DeliveryId::from_u128(9),
            attempt: AttemptNumber::FIRST,
            started_at: self.started_at,
        }
    }
}

pub(super) fn none() -> ProfileOverride {
    ProfileOverride::default()
}

fn built_in(name: &str) -> std::sync::Arc<CompiledProfile> {
    builtin_profile(&name.parse().expect("a name")).expect("built in")
}

fn key(profile: &CompiledProfile, text: &str) -> SigningKey {
    SigningKey::parse(text, secret_rule(profile)).expect("a secret")
}

pub(super) fn known(keys: &[SigningKey]) -> Vec<VerifyingKey> {
    keys.iter().map(SigningKey::verifying).collect()
}

/// Of a request without a query.
pub(super) fn request_headers(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    context: &RequestContext<'_>,
    body: &[u8],
    keys: &[SigningKey],
) -> Vec<Header> {
    let signed = signed_request(profile, overrides, context, Covered { query: "", body }, keys);
    assert_eq!(signed.query_parameter, None);
    signed.headers
}

fn secret_rule(profile: &CompiledProfile) -> &SecretRule {
    profile.definition().secret.as_ref().expect("it signs")
}

fn lines(headers: &[Header]) -> Vec<String> {
    let line = |header: &Header| format!("{}: {}", header.name, String::from_utf8_lossy(&header.value));
    headers.iter().map(line).collect()
}

/// `ODD_DATA` of the rendering tests in the two envelopes; the signatures were computed by another program.
const STANDARD_BODY: &str = r#"{"type":"conversion.created","timestamp":"2026-11-21T09:30:00.123Z","data":{ "n": 12345678901234567890123, "a":1, "a": 2, "s":"\ud800" }}"#;
const TRCKER_BODY: &str = r#"{"id":"evt_1","event":"conversion.created","createdAt":"2026-11-21T09:30:00.123Z","brandId":"tnt_1","data":{ "n": 12345678901234567890123, "a":1, "a": 2, "s":"\ud800" }}"#;
const SECRET: &str = "whsec_TU3gpccnE+9foKSIzj0/SX6IE+YR3CtlPtr71R3QATQ=";
const SENT_AT: i64 = 1_795_253_405;

fn user_agent() -> String {
    format!("User-Agent: Postrider/{}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn a_standard_request_carries_these_headers_and_no_others() {
    let profile = built_in("standard");
    let sent = Try::at(SENT_AT, "evt_1");
    let headers = request_headers(
        &profile,
        &none(),
        &sent.context(),
        STANDARD_BODY.as_bytes(),
        &[key(&profile, SECRET)],
    );
    let expected = [
        "Content-Type: application/json",
        &user_agent(),
        "webhook-id: evt_1",
        "webhook-timestamp: 1795253405",
        "webhook-signature: v1,KTZljojhsh9dCsyiSzIe05gRYZhyTOuhdYVmyxiH8D8=",
    ];
    assert_eq!(lines(&headers), expected);
}

#[test]
fn a_trcker_request_carries_these_headers_and_both_signatures_while_secrets_overlap() {
    let profile = built_in("trcker");
    let sent = Try::at(SENT_AT, "evt_1");
    let keys = [key(&profile, "whsec_mine"), key(&profile, "whsec_old")];
    let headers = request_headers(&profile, &none(), &sent.context(), TRCKER_BODY.as_bytes(), &keys);
    let expected = [
        "Content-Type: application/json",
        &user_agent(),
        "X-Trcker-Event: conversion.created",
        "X-Trcker-Webhook-Id: wh_6hxffnmt2adybhcz9aw1a5v65g",
        "X-Trcker-Signature: t=1795253405,v1=1d03ceb3de6d36ab4d85af4678622d6f4cbd959bb52d51542a708c56cf001e93,v1=02fb26d51f60c26d423b2c9b7166ea18a90c704e205c52365cccaa744b4cbeb6",
    ];
    assert_eq!(lines(&headers), expected);
    for one in &keys {
        let request = ReceivedRequest { headers: &headers, query: "", body: TRCKER_BODY.as_bytes() };
        let now = Timestamp::from_millis(SENT_AT * 1000);
        assert_eq!(verify(&profile, &none(), request, &[one.verifying()], now), Ok(()));
    }
}

/// What the HTTP binding of CloudEvents 1.0.2 (3.1.3.2) makes of a value.
fn percent_encoded(value: &str) -> String {
    let is_plain = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'"' && byte != b'%';
    let encoded =
        |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encoded).collect()
}

#[test]
fn a_cloud_event_in_binary_mode_has_its_attributes_in_headers_that_need_no_encoding() {
    let profile = built_in("cloudevents-binary");
    let every_character = "azAZ09-_:";
    let sent = Try::at(SENT_AT, every_character);
    let headers = request_headers(&profile, &none(), &sent.context(), b"{}", &[]);
    let expected = [
        "Content-Type: application/json",
        &user_agent(),
        "ce-specversion: 1.0",
        "ce-id: azAZ09-_:",
        "ce-source: /tenants/tnt_1",
        "ce-type: conversion.created",
        "ce-time: 1970-01-01T00:00:00.000Z",
        "webhook-id: azAZ09-_:",
        "webhook-timestamp: 1795253405",
    ];
    assert_eq!(lines(&headers), expected);
    for header in &headers[2..7] {
        let value = String::from_utf8(header.value.to_vec()).expect("text");
        assert_eq!(percent_encoded(&value), value);
    }
}

#[test]
fn a_cloud_event_in_structured_mode_says_so_in_its_media_type_alone() {
    let profile = built_in("cloudevents");
    let sent = Try::at(SENT_AT, "evt_1");
    let headers = request_headers(&profile, &none(), &sent.context(), b"{}", &[key(&profile, SECRET)]);
    assert_eq!(lines(&headers)[0], "Content-Type: application/cloudevents+json; charset=utf-8");
    assert!(headers.iter().all(|header| !header.name.starts_with("ce-")));
    // Libraries for Standard Webhooks verify it.
    let request = ReceivedRequest { headers: &headers, query: "", body: b"{}" };
    let standard = built_in("standard");
    let now = Timestamp::from_millis(SENT_AT * 1000);
    assert_eq!(verify(&standard, &none(), request, &known(&[key(&standard, SECRET)]), now), Ok(()));
}

#[test]
fn without_a_secret_a_request_goes_unsigned() {
    for name in ["trcker", "trackdesk", "trakkr"] {
        let profile = built_in(name);
        let headers = request_headers(&profile, &none(), &Try::at(5, "evt_1").context(), b"{}", &[]);
        let signature = profile.definition().signature.as_ref().and_then(|rule| rule.header.clone());
        let signature = signature.expect("it can sign");
        assert!(headers.iter().all(|header| !signature.is(&header.name)), "{name}");
    }
}

#[test]
fn a_profile_of_one_signature_signs_with_the_newest_secret_alone() {
    for name in ["trakkr", "track360", "tracktile"] {
        let profile = built_in(name);
        let (new, old) = (key(&profile, &"n".repeat(32)), key(&profile, &"o".repeat(32)));
        let context = Try::at(5, "evt_1");
        let both = request_headers(&profile, &none(), &context.context(), b"{}", &[new.clone(), old]);
        assert_eq!(both, request_headers(&profile, &none(), &context.context(), b"{}", &[new]), "{name}");
        assert!(!profile.signs_with_several());
    }
}

#[test]
fn a_webhook_may_name_the_signatures_header_where_its_profile_lets_it() {
    let overrides = ProfileOverride { signature_header: Some("X-Own".parse().expect("a name")), ..none() };
    for (name, header) in [("track360", "X-Own"), ("trakkr", "X-Trakkr-Signature")] {
        let profile = built_in(name);
        let keys = [key(&profile, &"k".repeat(32))];
        let headers = request_headers(&profile, &overrides, &Try::at(5, "evt_1").context(), b"{}", &keys);
        let signed = headers.into_iter().next_back().expect("signed");
        assert_eq!(signed.name, header);
        let request = ReceivedRequest { headers: std::slice::from_ref(&signed), query: "", body: b"{}" };
        assert_eq!(verify(&profile, &overrides, request, &known(&keys), Timestamp::EPOCH), Ok(()));
    }
}

#[test]
fn a_receiver_refuses_what_is_missing_malformed_late_or_changed() {
    let profile = built_in("trcker");
    let keys = [key(&profile, "mine")];
    let sent = Try::at(SENT_AT, "evt_1");
    let headers = request_headers(&profile, &none(), &sent.context(), b"{}", &keys);
    let check = |headers: &[Header], body: &[u8], seconds: i64| {
        let now = Timestamp::from_millis(seconds * 1000 + 500);
        verify(&profile, &none(), ReceivedRequest { headers, query: "", body }, &known(&keys), now)
    };
    assert_eq!(check(&headers, b"{}", SENT_AT + 300), Ok(()));
    assert_eq!(check(&headers, b"{}", SENT_AT - 300), Ok(()));
    for (seconds, past) in [(SENT_AT + 301, true), (SENT_AT - 301, false)] {
        let refused = check(&headers, b"{}", seconds).expect_err("outside");
        assert!(matches!(refused, VerifyFailure::OutsideReplayWindow { is_past, .. } if is_past == past));
    }
    assert_eq!(check(&headers, b"{ }", SENT_AT), Err(VerifyFailure::NoMatch));
    let name = "X-Trcker-Signature".to_owned();
    assert_eq!(check(&[], b"{}", SENT_AT), Err(VerifyFailure::MissingHeader { name: name.clone() }));
    for value in
        ["", "t=,v1=a", "v1=a,t=1", "t=1", "t=-1,v1=a", "t=99999999999999999999,v1=a", "t=1.5,v1=a", "\u{e9}"]
    {
        let header =
            Header { name: name.to_lowercase().into(), value: Bytes::copy_from_slice(value.as_bytes()) };
        let refused = check(&[header], b"{}", SENT_AT).expect_err(value);
        assert!(matches!(refused, VerifyFailure::MalformedHeader { .. }), "{value}: {refused:?}");
    }
    let not_text = Header { name: name.as_str().into(), value: Bytes::from_static(b"\xff") };
    assert_eq!(check(&[not_text], b"{}", SENT_AT), Err(VerifyFailure::MalformedHeader { name }));
}

#[test]
fn a_profile_without_a_signature_has_nothing_to_verify() {
    let text = "name = 'own'\n[envelope]\nbody = '${event.data}'\n[retry]\nwaits = []";
    let profile = Profile::from_toml(text).and_then(Profile::compile).expect("a profile");
    let request = ReceivedRequest { headers: &[], query: "", body: b"" };
    assert_eq!(verify(&profile, &none(), request, &[], Timestamp::EPOCH), Err(VerifyFailure::Unsigned));
}

#[test]
fn a_key_is_what_its_profile_says_and_never_shows_itself() {
    let (standard, trcker, track360) = (built_in("standard"), built_in("trcker"), built_in("track360"));
    assert_eq!(key(&trcker, SECRET).bytes(), SECRET.as_bytes());
    assert_eq!(key(&standard, SECRET).bytes().len(), 32);
    assert_eq!(key(&standard, &SECRET["whsec_".len()..]), key(&standard, SECRET));
    assert_eq!(format!("{:?}", key(&standard, SECRET)), "SigningKey(***)");
    for profile in [&standard, &trcker, &track360] {
        assert_eq!(SigningKey::parse("", secret_rule(profile)), Err(InvalidSecret::Empty));
    }
    let short = SigningKey::parse(&"x".repeat(31), secret_rule(&track360));
    assert_eq!(short, Err(InvalidSecret::TooShort { minimum: 32 }));
    assert_eq!(
        SigningKey::parse(&"x".repeat(1025), secret_rule(&trcker)),
        Err(InvalidSecret::TooLong { maximum: 1024 })
    );
    for text in [
        "whsec_",
        "whsec_TU3gpccnE-9foKSIzj0_SX6IE-YR3CtlPtr71R3QATQ=",
        "whsec_TU3gpccnE+9foKSIzj0/SX6IE+YR3CtlPtr71R3QATQ",
        " whsec_TU3gpccnE+9foKSIzj0/SX6IE+YR3CtlPtr71R3QATQ=",
        "WHSEC_TU3gpccnE+9foKSIzj0/SX6IE+YR3CtlPtr71R3QATQ=",
        "whsec_whsec_TU3gpccnE+9foKSIzj0/SX6IE+YR3CtlPtr71R3QATQ=",
    ] {
        assert!(SigningKey::parse(text, secret_rule(&standard)).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not(
        body in prop::collection::vec(any::<u8>(), 0..200),
        seconds in 0_i64..100_000_000_000,
        secret in "[ -~]{32,64}",
        event_id in "[a-zA-Z0-9_:-]{1,40}",
        flipped in any::<prop::sample::Index>(),
    ) {
        let takes_text = |profile: &&std::sync::Arc<CompiledProfile>| secret_rule(profile).form == crate::profile::SecretForm::Text;
        for profile in crate::profile::builtin_profiles().iter().filter(takes_text) {
            let keys = [key(profile, &secret)];
            let sent = Try::at(seconds, &event_id);
            let headers = request_headers(profile, &none(), &sent.context(), &body, &keys);
            let now = Timestamp::from_millis(seconds * 1000);
            let check = |body: &[u8], keys: &[SigningKey]| {
                let request = ReceivedRequest { headers: &headers, query: "", body };
                verify(profile, &none(), request, &known(keys), now)
            };
            prop_assert_eq!(check(&body, &keys), Ok(()));
            let mut changed = body.clone();
            changed.push(b' ');
            let index = flipped.index(changed.len());
            changed[index] ^= 1;
            prop_assert_eq!(check(&changed, &keys), Err(VerifyFailure::NoMatch));
            prop_assert_eq!(check(&body, &[key(profile, &format!("{secret}x"))]), Err(VerifyFailure::NoMatch));
        }
    }

    #[test]
    fn no_header_makes_verification_panic(value in ".{0,80}", name in "(webhook-(id|timestamp|signature)|X-Trcker-Signature)") {
        let header = Header { name: name.into(), value: Bytes::from(value) };
        for profile in crate::profile::builtin_profiles() {
            let keys = [SigningKey::from_bytes(vec![1; 32])];
            let request = ReceivedRequest { headers: std::slice::from_ref(&header), query: "", body: b"{}" };
            prop_assert!(verify(profile, &none(), request, &known(&keys), Timestamp::EPOCH).is_err());
        }
    }
}
