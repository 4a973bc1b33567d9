//! An old sender that speaks a built-in profile, captured in both forms, and then one thing about it changed.

mod in_the_query;

use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::pattern::Variable;
use postrider_contract::profile::{SecretOrigin, builtin_profiles};
use postrider_contract::rendering::{EnvelopeVariable, render};
use postrider_contract::signature::TextVariable;
use postrider_contract::tenant::Tenant;
use postrider_service::system::SystemEntropy;
use serde_json::json;

use super::json_spans::{Shape, Span};
use super::*;
use crate::capture::{read_requests, write_line};

mod own_forms;

const URL: &str = "https://partner.example/hook?token=a%2fb";
const ODD_DATA: &str =
    r#"{ "n": 12345678901234567890123,  "a":1, "a": 2 , "e":1e400,"s":"\ud800","o":{"z":[ ]} }"#;

/// Speaks a profile, as Postrider would for the same event but for what is of the moment.
struct OldSender {
    profile: Arc<CompiledProfile>,
    key: SigningKey,
    event: Event,
    tenant: Tenant,
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_795_253_400_123)
}

impl OldSender {
    fn of(profile: &Arc<CompiledProfile>) -> Self {
        let rule = profile.definition().secret.as_ref().expect("every built-in profile can sign");
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let tenant = Tenant {
            id: "acme".parse().expect("an id"),
            name: "A \"brand\" é".to_owned(),
            website: Some("https://acme.example".to_owned()),
            profile: profile.name().clone(),
            schema_check: SchemaCheck::Off,
            created_at: at(),
            updated_at: at(),
        };
        let event = Event {
            id: "evt_of_old".parse().expect("an id"),
            tenant: tenant.id.clone(),
            event_type: "conversion.created".parse().expect("a type"),
            schema_version: SchemaVersion { major: 2, minor: 1 },
            timestamp: at(),
            accepted_at: at(),
            data: RawObject::parse(text(ODD_DATA)).expect("an object"),
            summary: Some("it \"rose\"".to_owned()),
            workflow: Some(RawObject::parse(text(r#"{ "name":"W" }"#)).expect("an object")),
        };
        let key = SigningKey::parse(rule.generate(&SystemEntropy).reveal(), rule).expect("a key");
        OldSender { profile: Arc::clone(profile), key, event, tenant }
    }

    /// A request; what is done to its body is done before it is signed.
    fn sends(&self, change_body: impl Fn(String) -> String) -> CapturedRequest {
        let webhook = WebhookId::from_u128(77);
        let body = render(&self.profile, &self.event, &self.tenant, webhook).expect("a body");
        let body = change_body(String::from_utf8(body.to_vec()).expect("text"));
        let context = RequestContext {
            delivery: DeliveryId::derive(at(), &self.event.id, webhook, 3),
            ..RequestContext::of_event(&self.event, &self.tenant.id, webhook, at())
        };
        let overrides = ProfileOverride::default();
        let keys = [self.key.clone()];
        let (before, query) = URL.split_once('?').expect("a query");
        let covered = Covered { query, body: body.as_bytes() };
        let made = signed_request(&self.profile, &overrides, &context, covered, &keys);
        let query = made.query_parameter.map_or_else(|| query.to_owned(), |pair| with_pair(query, &pair));
        let header =
            |name: &str, value: &str| Header { name: name.into(), value: Bytes::from(value.to_owned()) };
        let mut headers = vec![header("Host", "partner.example")];
        headers.extend(made.headers);
        headers.push(header("Content-Length", &body.len().to_string()));
        CapturedRequest {
            number: 1,
            at: Some(at()),
            method: self.profile.definition().request.method.as_str().to_owned(),
            url: format!("{before}?{query}"),
            headers,
            names: HeaderNames::AsSent,
            body: Bytes::from(body),
            event: None,
        }
    }

    fn expected(&self) -> Expected {
        Expected {
            profile: Arc::clone(&self.profile),
            overrides: ProfileOverride::default(),
            keys: vec![self.key.clone()],
            url: None,
            own_headers: Vec::new(),
            webhook: own_forms::described(&self.profile, &json!({})).webhook,
            brand: Brand::default(),
        }
    }

    fn signature_header(&self) -> String {
        self.profile
            .definition()
            .signature
            .as_ref()
            .expect("it signs")
            .header
            .as_ref()
            .expect("in one")
            .to_string()
    }
}

fn as_is(body: String) -> String {
    body
}

/// Through a file, in each of the forms.
fn captured_in_both_forms(request: &CapturedRequest) -> [CapturedRequest; 2] {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let headers =
        request.headers.iter().map(|header| json!({"name": &*header.name, "value": text(&header.value)}));
    let har = json!({"log": {"version": "1.2", "entries": [{
        "startedDateTime": request.at, "request": {
            "method": request.method, "url": request.url, "httpVersion": "HTTP/1.1",
            "headers": headers.collect::<Vec<_>>(), "bodySize": request.body.len(),
            "postData": {"mimeType": "application/json", "text": text(&request.body)},
        },
    }]}});
    let own = write_line(request).expect("written");
    [har.to_string(), own].map(|file| {
        let mut requests = read_requests(file.as_bytes(), "a file").expect("a capture");
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    })
}

fn places(compared: &Compared) -> Vec<String> {
    compared.differences.iter().map(|difference| difference.place.to_string()).collect()
}

#[test]
fn a_sender_that_speaks_the_profile_does_not_differ_in_a_byte() {
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        for request in captured_in_both_forms(&sender.sends(as_is)) {
            let compared = sender.expected().compare(&request);
            assert_eq!(compared.differences, [], "{}", profile.name());
            assert_eq!(compared.signature, SignatureFound::Verified, "{}", profile.name());
            assert_eq!(compared.notes, [""; 0]);
        }
    }
}

#[test]
fn a_difference_in_any_aspect_is_found_where_it_is() {
    type Change = fn(&mut CapturedRequest);
    let changes: [(&str, Change); 10] = [
        ("method", |request| request.method = "PUT".to_owned()),
        ("url", |request| request.url = "https://partner.example/a/../hook".to_owned()),
        ("header:Content-Type", |request| request.headers[1].name = "content-type".into()),
        ("header:User-Agent", |request| request.headers[2].value = Bytes::from_static(b"Old/1.0")),
        ("header:User-Agent", |request| drop(request.headers.remove(2))),
        ("header:X-Old", |request| {
            request.headers.push(Header { name: "X-Old".into(), value: Bytes::from_static(b"1") });
        }),
        ("header:Content-Type", |request| {
            let twice = request.headers[1].clone();
            request.headers.push(Header { name: "CONTENT-TYPE".into(), ..twice });
        }),
        ("header-order", |request| request.headers.swap(1, 2)),
        ("header:Host", |request| request.headers[0].value = Bytes::from_static(b"other.example")),
        ("header:Content-Length", |request| {
            let last = request.headers.last_mut().expect("it is there");
            last.value = Bytes::from_static(b"1");
        }),
    ];
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        for (place, change) in changes {
            let mut request = sender.sends(as_is);
            change(&mut request);
            for request in captured_in_both_forms(&request) {
                let compared = sender.expected().compare(&request);
                let found = places(&compared);
                let found: Vec<&str> = found.iter().map(String::as_str).collect();
                assert!(
                    found.iter().all(|found| found.eq_ignore_ascii_case(place)) && !found.is_empty(),
                    "{} {place}: {found:?}",
                    profile.name()
                );
            }
        }
    }
}

#[test]
fn every_header_of_the_profile_is_compared() {
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        let own = profile.definition().request.headers.iter().map(|header| header.name.to_string());
        for name in own.chain([sender.signature_header()]) {
            let mut request = sender.sends(as_is);
            request.headers.retain(|header| header.name != name);
            let found = places(&sender.expected().compare(&request));
            assert!(
                found.contains(&format!("header:{name}")),
                "{} without {name}: {found:?}",
                profile.name()
            );
        }
    }
}

#[test]
fn a_difference_in_the_body_is_found_though_it_is_signed() {
    let mut with_a_time = 0;
    let mut with_members = 0;
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        let compare = |change: &dyn Fn(String) -> String| {
            let [one, other] = captured_in_both_forms(&sender.sends(change))
                .map(|request| sender.expected().compare(&request));
            assert_eq!(one.differences, other.differences);
            assert_eq!(one.signature, SignatureFound::Verified, "what was sent is what was signed");
            one
        };
        assert_eq!(places(&compare(&|body| body + "\n")), ["body"], "{}", profile.name());
        if sender.sends(as_is).body.windows(6).any(|six| six == b".123Z\"") {
            with_a_time += 1;
            let finer = compare(&|body| body.replace(".123Z\"", ".123456Z\""));
            let [found] = &finer.differences[..] else { panic!("{}: {finer:?}", profile.name()) };
            assert!(matches!(found.place, Place::BodyAt(_)), "{found:?}");
            assert!(found.captured.as_deref().is_some_and(|text| text.contains(".123456Z")), "{found:?}");
            assert!(found.ours.as_deref().is_some_and(|text| text.contains(".123Z")), "{found:?}");
            let moved = compare(&first_member_last);
            assert_eq!(places(&moved), ["body"], "{}", profile.name());
            assert!(moved.differences[0].detail.contains("another order"), "{moved:?}");
        }
        let envelope = &profile.definition().envelope;
        if !envelope.body.uses(EnvelopeVariable::EventDataMembers)
            && envelope.body.literals().next().is_some()
        {
            with_members += 1;
            let more = compare(&|body| body.replacen('{', "{\"old\":1,", 1));
            assert_eq!(places(&more), ["body:/old"], "{}", profile.name());
        }
    }
    assert!(with_a_time >= 6 && with_members >= 5, "{with_a_time} {with_members}");
}

fn first_member_last(body: String) -> String {
    let root = Span::parse(&body).expect("JSON");
    let Shape::Object(members) = &root.shape else { panic!("not an object") };
    let first = &body[members[0].at..members[1].at];
    let rest = &body[members[1].at..body.len() - 1];
    format!("{{{rest},{}}}", first.trim_end_matches(','))
}

#[test]
fn another_secret_and_a_changed_body_are_told_from_a_right_signature() {
    for profile in builtin_profiles() {
        let (sender, other) = (OldSender::of(profile), OldSender::of(profile));
        let request = sender.sends(as_is);
        let name = format!("header:{}", sender.signature_header());
        let compared = other.expected().compare(&request);
        assert_eq!(places(&compared), [name.as_str()], "{}", profile.name());
        assert!(compared.differences[0].detail.contains("no signature matches"), "{compared:?}");
        let mut changed = request.clone();
        changed.body = Bytes::from([&request.body[..], b" "].concat());
        let compared = sender.expected().compare(&changed);
        assert!(places(&compared).contains(&name), "{compared:?}");
    }
}

#[test]
fn a_header_that_the_profile_lets_nobody_choose_is_not_looked_for() {
    let profile = builtin_profiles().iter().find(|profile| !is_configurable(profile)).expect("one of them");
    let sender = OldSender::of(profile);
    let mut expected = sender.expected();
    expected.overrides.signature_header = Some("X-Chosen".parse().expect("a name"));
    let compared = expected.compare(&sender.sends(as_is));
    assert_eq!((places(&compared), compared.signature), (vec![], SignatureFound::Verified));
}

fn is_configurable(profile: &CompiledProfile) -> bool {
    profile.definition().signature.as_ref().is_some_and(|rule| rule.header_configurable)
}

#[test]
fn without_the_secret_a_signature_is_compared_by_its_form() {
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        let expected = Expected { keys: Vec::new(), ..sender.expected() };
        let name = sender.signature_header();
        let mut request = sender.sends(as_is);
        let compared = expected.compare(&request);
        assert_eq!((compared.differences.len(), &compared.signature), (0, &SignatureFound::FormAlone));
        let signature = request.headers.iter_mut().find(|header| header.name == name).expect("signed");
        let mut value = signature.value.to_vec();
        value.truncate(value.len() - 4);
        signature.value = Bytes::from(value);
        let compared = expected.compare(&request);
        assert_eq!(places(&compared), [format!("header:{name}")], "{}", profile.name());
        request.headers.retain(|header| header.name != name);
        let compared = expected.compare(&request);
        let rule = profile.definition().secret.as_ref().expect("a rule");
        match rule.origin {
            SecretOrigin::Optional => {
                assert_eq!((compared.differences.len(), &compared.signature), (0, &SignatureFound::Absent));
            }
            SecretOrigin::Generated | SecretOrigin::Required => {
                assert_eq!(places(&compared), [format!("header:{name}")]);
            }
        }
    }
}

#[test]
fn what_is_of_the_moment_is_named_and_must_have_our_form() {
    let key = TextVariable::DeliveryDuplicateKey;
    let of_key = builtin_profiles()
        .iter()
        .find(|profile| profile.definition().request.headers.iter().any(|header| header.value.uses(key)));
    let sender = OldSender::of(of_key.expect("one of them has it"));
    let mut request = sender.sends(as_is);
    let taken = sender.expected().compare(&request).taken;
    let variables: Vec<&str> = taken.iter().map(|taken| taken.variable).collect();
    assert_eq!(variables, [TextVariable::Timestamp.name(), key.name()]);
    assert_eq!(taken[0].text, "1795253400");
    let carrier = &taken[1].place;
    let Place::Header(name) = carrier else { panic!("{carrier:?}") };
    let header = request.headers.iter_mut().find(|header| header.name == *name).expect("there");
    header.value = Bytes::from_static(b"7f6d5c4b-0000-4000-8000-000000000000");
    let compared = sender.expected().compare(&request);
    assert_eq!(places(&compared), [carrier.to_string()]);
    assert!(compared.differences[0].detail.contains("cannot be such an id here"), "{compared:?}");
}

#[test]
fn an_event_that_stands_beside_the_request_takes_the_place_of_the_one_read_out_of_it() {
    for profile in builtin_profiles() {
        let sender = OldSender::of(profile);
        let mut request = sender.sends(as_is);
        let event = |data: &str| {
            let workflow = r#"{ "name":"W" }"#;
            Bytes::from(format!(
                r#"{{"type":"conversion.created","data":{data},"schema_version":"2.1","summary":"it \"rose\"","workflow":{workflow}}}"#
            ))
        };
        request.event = Some(event(ODD_DATA));
        assert_eq!(sender.expected().compare(&request).differences, [], "{}", profile.name());
        request.event = Some(event(&ODD_DATA.replace("1e400", "1e401")));
        let compared = sender.expected().compare(&request);
        let [found] = &compared.differences[..] else { panic!("not one: {compared:?}") };
        assert_eq!(found.ours.as_deref(), Some("1e401"), "{}: {found:?}", profile.name());
        request.event = Some(Bytes::from_static(b"{}"));
        let found = sender.expected().compare(&request).differences;
        assert!(found.iter().any(|found| found.detail.contains("would be refused")), "{found:?}");
    }
}

#[test]
fn what_postrider_cannot_write_is_said_with_the_reason() {
    let standard = OldSender::of(&builtin_profiles()[0]);
    for (from, to, words) in [
        ("\"conversion.created\"", "\"conversion created\"", "cannot be an event's type here"),
        ("\"2026-11-21T09:30:00.123Z\"", "\"21/11/2026\"", "cannot be an event's time here"),
        (ODD_DATA, "[1]", "must be a JSON object"),
    ] {
        let request = standard.sends(|body| body.replace(from, to));
        let compared = standard.expected().compare(&request);
        assert!(
            compared.differences.iter().any(|found| found.detail.contains(words)),
            "{words}: {compared:?}"
        );
    }
    let mut request = standard.sends(as_is);
    let timestamp = request.headers.iter_mut().find(|header| header.value == "1795253400").expect("there");
    timestamp.value = Bytes::from_static(b"1795253400123");
    let compared = standard.expected().compare(&request);
    assert!(
        compared.differences.iter().any(|found| found.detail.contains("not a time in seconds")),
        "{compared:?}"
    );
}

#[test]
fn a_capture_over_http2_is_compared_without_what_http2_has_otherwise() {
    let sender = OldSender::of(&builtin_profiles()[0]);
    let mut request = sender.sends(as_is);
    request.headers.retain(|header| header.name != "Host" && header.name != "Content-Length");
    for header in &mut request.headers {
        header.name = header.name.to_ascii_lowercase().into();
    }
    request.names = HeaderNames::OfHttp2;
    let compared = sender.expected().compare(&request);
    assert_eq!(compared.differences, []);
    assert!(compared.notes.iter().any(|note| note.contains("HTTP/2")));
}

#[test]
fn a_webhooks_own_headers_and_url_are_part_of_what_is_compared() {
    let sender = OldSender::of(&builtin_profiles()[0]);
    let mut request = sender.sends(as_is);
    let place = request.headers.len() - 1;
    let own = Header { name: "X-Api-Key".into(), value: Bytes::from_static(b"k") };
    request.headers.insert(place, own.clone());
    let url = WebhookUrl::from_stored(URL).expect("a URL");
    let expected = Expected { own_headers: vec![own], url: Some(url), ..sender.expected() };
    assert_eq!(expected.compare(&request).differences, []);
    assert_eq!(places(&sender.expected().compare(&request)), ["header:X-Api-Key"]);
    let elsewhere = WebhookUrl::from_stored("https://other.example/hook").expect("a URL");
    let expected = Expected { url: Some(elsewhere), ..expected };
    assert_eq!(places(&expected.compare(&request)), ["url", "header:Host"]);
}
