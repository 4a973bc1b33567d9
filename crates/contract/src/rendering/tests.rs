use proptest::prelude::*;

use super::*;
use crate::event::SchemaVersion;
use crate::pattern::{InvalidPattern, MAX_PATTERN};
use crate::profile::{Profile, builtin_profile};
use crate::samples::{self, event, object};

const ODD_DATA: &str = r#"{ "n": 12345678901234567890123, "a":1, "a": 2, "s":"\ud800" }"#;
const WEBHOOK: WebhookId = WebhookId::from_u128(7);

fn tenant() -> Tenant {
    Tenant { website: Some("https://brand.example".to_owned()), ..samples::tenant("A \"brand\" é") }
}

fn rendered(profile: &str, event: &Event) -> Result<String, RenderError> {
    let profile = builtin_profile(&profile.parse().expect("a name")).expect("built in");
    let body = render(&profile, event, &tenant(), WEBHOOK)?;
    Ok(String::from_utf8(body.to_vec()).expect("UTF-8"))
}

#[test]
fn every_profile_has_its_envelope_and_data_stays_byte_for_byte() {
    let odd = event(ODD_DATA);
    for (profile, expected) in [
        (
            "standard",
            format!(
                r#"{{"type":"conversion.created","timestamp":"2026-11-21T09:30:00.123Z","data":{ODD_DATA}}}"#
            ),
        ),
        (
            "trcker",
            format!(
                r#"{{"id":"evt_1","event":"conversion.created","createdAt":"2026-11-21T09:30:00.123Z","brandId":"tnt_1","data":{ODD_DATA}}}"#
            ),
        ),
        ("trackdesk", ODD_DATA.to_owned()),
        (
            "trakkr",
            format!(
                r#"{{"event":{{"type":"conversion.created","timestamp":"2026-11-21T09:30:00.123Z","data":{ODD_DATA}}},"brand":{{"id":"tnt_1","name":"A \"brand\" é","website":"https://brand.example"}},"workflow":null,"summary":null,"meta":{{"source":"trakkr","version":"2.1","event_id":"evt_1"}}}}"#
            ),
        ),
        (
            "track360",
            format!(
                r#"{{"event_type":"conversion.created","event_id":"evt_1","schema_version":"2.1","timestamp":"2026-11-21T09:30:00.123Z","data":{ODD_DATA}}}"#
            ),
        ),
        (
            "tracktile",
            format!(
                r#"{{"id":"evt_1","kind":"conversion.created","time":"2026-11-21T09:30:00.123Z",{}}}"#,
                r#""n": 12345678901234567890123, "a":1, "a": 2, "s":"\ud800""#
            ),
        ),
        (
            "cloudevents",
            format!(
                r#"{{"specversion":"1.0","id":"evt_1","source":"/tenants/tnt_1","type":"conversion.created","time":"2026-11-21T09:30:00.123Z","datacontenttype":"application/json","data":{ODD_DATA}}}"#
            ),
        ),
        ("cloudevents-binary", ODD_DATA.to_owned()),
    ] {
        assert_eq!(rendered(profile, &odd).expect("renders"), expected, "{profile}");
    }
}

#[test]
fn a_summary_and_a_workflow_are_shown_where_the_profile_has_a_place_for_them() {
    let workflow = Some(object(r#"{"name": "w"}"#));
    let event = Event { summary: Some("it \"rose\"".to_owned()), workflow, ..event("{}") };
    let body = rendered("trakkr", &event).expect("renders");
    assert!(body.contains(r#","workflow":{"name": "w"},"summary":"it \"rose\"","#), "{body}");
}

#[test]
fn members_beside_the_envelopes_own_leave_no_comma_behind() {
    let body = rendered("tracktile", &event("{ }")).expect("renders");
    assert_eq!(body, r#"{"id":"evt_1","kind":"conversion.created","time":"2026-11-21T09:30:00.123Z"}"#);
}

#[test]
fn a_member_that_the_envelope_has_itself_is_refused_however_it_is_written() {
    for (data, pointer) in [
        (r#"{"id":1}"#, "/data/id"),
        (r#"{"orderId":1,"kind":null}"#, "/data/kind"),
        (r#"{"\ud800":1,"\u0074ime":{}}"#, "/data/time"),
        (r#"{"a":"\ud800","\u0069d":{}}"#, "/data/id"),
    ] {
        let refused = rendered("tracktile", &event(data)).expect_err(data);
        assert_eq!(refused.pointer, pointer, "{data}");
        assert!(rendered("standard", &event(data)).is_ok());
    }
    assert!(rendered("tracktile", &event(r#"{"a":{"id":1},"ID":2,"ids":3}"#)).is_ok());
}

/// Ids as long as they may be, data of a mebibyte, texts that are written longer than they are.
fn largest() -> (Event, Tenant) {
    let (id, text) = ("x".repeat(128), "\u{1}".repeat(2_000));
    let data = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024));
    let event = Event {
        id: id.parse().expect("an id"),
        event_type: id.parse().expect("a type"),
        schema_version: SchemaVersion { major: u16::MAX, minor: u16::MAX },
        summary: Some(text),
        workflow: Some(object(&format!(r#"{{"name":"{}"}}"#, "x".repeat(8 * 1024)))),
        ..event(&data)
    };
    let (name, website) = ("\u{1f600}".repeat(200), Some(format!("https://{}", "\"".repeat(2_040))));
    (event, Tenant { id: id[..64].parse().expect("an id"), website, ..samples::tenant(&name) })
}

/// Of data and texts one copy each, of everything else as much as fits into a pattern.
#[test]
fn no_envelope_makes_a_body_that_is_too_long_to_be_sent() {
    let (event, tenant) = largest();
    let (once, often): (Vec<_>, Vec<_>) =
        EnvelopeVariable::all().into_iter().partition(EnvelopeVariable::stands_once);
    let once: String = once.into_iter().map(|variable| format!("${{{}}}", variable.name())).collect();
    for variable in often {
        let repeated = format!("${{{}}}", variable.name());
        let text = once.clone() + &repeated.repeat((MAX_PATTERN - once.len()) / repeated.len());
        let pattern = Pattern::parse(&text).expect("a pattern");
        let mut body = Vec::new();
        fill(&pattern, &Subject { event: &event, tenant: &tenant, webhook: WEBHOOK }, &mut body);
        assert!(body.len() <= MAX_BODY, "{variable:?}: {}", body.len());
    }
}

#[test]
fn an_envelope_that_repeats_what_may_be_long_is_refused_with_the_place() {
    for name in [
        "event.data",
        "event.data.members",
        "event.summary",
        "event.workflow",
        "tenant.name",
        "tenant.website",
    ] {
        let text = format!("[${{{name}}},${{{name}}}]");
        let refused = Pattern::<EnvelopeVariable>::parse(&text).expect_err(&text);
        let position = text.rfind('$').expect("there is one");
        assert_eq!(refused, InvalidPattern::Repeated { position, name: name.to_owned() });
        let form = format!("name = 'own'\n[retry]\nwaits = []\n[envelope]\nbody = '{text}'");
        let refused = Profile::from_toml(&form).expect_err(&form);
        assert_eq!(refused.pointer(), "/envelope/body");
        assert!(
            refused.detail.contains(&format!("before position {position} already")),
            "{}",
            refused.detail
        );
    }
}

#[test]
fn webhooks_share_a_body_unless_the_envelope_names_them() {
    let own = |body: &str| {
        let text = format!("name = 'own'\n[envelope]\nbody = '{body}'\n[retry]\nwaits = []");
        Profile::from_toml(&text).and_then(Profile::compile).expect("a profile")
    };
    assert!(!own("${event.data}").body_depends_on_webhook());
    let profile = own(r#"{"w":${webhook.id},"k":${delivery.duplicate_key}}"#);
    assert!(profile.body_depends_on_webhook());
    let event = event("{}");
    let body = render(&profile, &event, &tenant(), WEBHOOK).expect("renders");
    assert_eq!(body, format!(r#"{{"w":"{WEBHOOK}","k":"wh_6hxffnmt2adybhcz9aw1a5v65g"}}"#));
    assert_ne!(body, render(&profile, &event, &tenant(), WebhookId::from_u128(8)).expect("renders"));
}

#[test]
fn the_time_of_acceptance_and_the_tenant_can_be_shown_too() {
    let text = "name = 'own'\n[retry]\nwaits = []\n[envelope]\nbody = '[${event.accepted_at},${tenant.name},${tenant.website}]'";
    let profile = Profile::from_toml(text).and_then(Profile::compile).expect("a profile");
    let tenant = Tenant { website: None, ..tenant() };
    let body = render(&profile, &event("{}"), &tenant, WEBHOOK).expect("renders");
    assert_eq!(body, r#"["2026-11-21T09:30:01.000Z","A \"brand\" é",null]"#);
}

proptest! {
    #[test]
    fn every_body_is_json_that_holds_the_data_as_it_came(
        names in prop::collection::btree_set("[a-zA-Zé\"\\\\\n]{1,8}", 0..5),
        text in any::<String>(),
    ) {
        let mut data = serde_json::Map::new();
        for name in names {
            data.insert(format!("x{name}"), serde_json::Value::String(text.clone()));
        }
        let data = serde_json::to_string(&data).expect("serialises");
        let event = Event { summary: Some(text), ..event(&data) };
        for profile in crate::profile::builtin_profiles() {
            let body = render(profile, &event, &tenant(), WEBHOOK).expect("renders");
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
            let held = &data[1..data.len() - 1];
            prop_assert!(std::str::from_utf8(&body).expect("UTF-8").contains(held));
        }
    }
}
