//! Webhooks with a form of their own: templates, chat services, postbacks. The captured requests are written out here as
//! the documentation of each form says; only chat messages are made.

use postrider_contract::profile::builtin_profile;
use postrider_contract::provider::Provider;
use postrider_contract::submission::Submission;
use postrider_manage::{DescribedWebhook, read_described};
use postrider_service::master_key::MasterKey;
use postrider_service::secret_box::SecretBox;
use serde_json::Value;

use super::*;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const JSON: Option<&str> = Some("application/json");

pub(super) fn described(profile: &CompiledProfile, document: &Value) -> DescribedWebhook {
    let secret_box = SecretBox::new(&MasterKey::generate(&SystemEntropy));
    let document = document.to_string();
    let read = read_described(document.as_bytes(), profile, &secret_box, &SystemEntropy);
    read.unwrap_or_else(|problem| panic!("{document}: {problem}"))
}

/// What is compared with for a webhook as it would be registered.
fn expected(profile: &Arc<CompiledProfile>, document: &Value) -> Expected {
    let DescribedWebhook { webhook, names_url, .. } = described(profile, document);
    Expected {
        profile: Arc::clone(profile),
        overrides: ProfileOverride::default(),
        keys: Vec::new(),
        url: names_url.then(|| webhook.url.clone()),
        own_headers: Vec::new(),
        webhook,
        brand: Brand::default(),
    }
}

fn trakkr() -> Arc<CompiledProfile> {
    builtin_profile(&"trakkr".parse().expect("a name")).expect("built in")
}

/// As the profile sends it unsigned: with no headers of its own but these.
fn sent(method: &str, url: &str, content_type: Option<&str>, body: &str) -> CapturedRequest {
    let user_agent = concat!("Postrider/", env!("CARGO_PKG_VERSION"));
    let length = (method != "GET").then(|| body.len().to_string());
    let headers = [
        ("Host", Some("partner.example")),
        ("Content-Type", content_type),
        ("User-Agent", Some(user_agent)),
        ("Content-Length", length.as_deref()),
    ];
    let headers: Vec<Value> =
        headers.into_iter().filter_map(|(name, value)| Some(json!([name, value?]))).collect();
    let request = json!({"method": method, "url": url, "headers": headers, "body": body, "event": order()});
    let mut requests = read_requests(request.to_string().as_bytes(), "a file").expect("a capture");
    requests.remove(0)
}

fn order() -> Value {
    json!({"type": "order.paid", "id": "evt_1", "timestamp": "2026-11-21T09:30:00Z",
        "data": {"click_id": "a b&c", "payout": 1.5, "order": {"id": 42}}})
}

#[test]
fn a_postback_is_compared_with_its_macros_filled_in() {
    let webhook = json!({"kind": "postback",
        "url": "https://partner.example/pb?cid={click_id}&payout={payout}&t={event.unix_timestamp}&sub={none}"});
    let expected = expected(&trakkr(), &webhook);
    let url = "https://partner.example/pb?cid=a%20b%26c&payout=1.5&t=1795253400&sub=";
    let compared = expected.compare(&sent("GET", url, None, ""));
    assert_eq!(compared.differences, []);
    for (from, to) in [("%20", "+"), ("=1.5&", "=1.50&"), ("/pb?", "/pb/?")] {
        let compared = expected.compare(&sent("GET", &url.replace(from, to), None, ""));
        assert_eq!(places(&compared), ["url"], "{from}");
        assert_eq!(compared.differences[0].ours.as_deref(), Some(url), "what Postrider would send is shown");
    }
    let found = places(&expected.compare(&sent("POST", url, FORM, "a=1")));
    assert!(["method", "body"].iter().all(|place| found.iter().any(|found| found == place)), "{found:?}");
}

#[test]
fn a_postback_with_a_form_is_compared_by_it() {
    let webhook = json!({"kind": "postback", "method": "POST", "url": "https://partner.example/pb?v=1",
        "form": "id={order.id}&cid={click_id}"});
    let expected = expected(&trakkr(), &webhook);
    let compare = |content_type: Option<&str>, body: &str| {
        places(&expected.compare(&sent("POST", "https://partner.example/pb?v=1", content_type, body)))
    };
    assert_eq!(compare(FORM, "id=42&cid=a%20b%26c"), [""; 0]);
    assert_eq!(compare(FORM, "id=42&cid=a+b%26c"), ["body"]);
    assert_eq!(compare(JSON, "id=42&cid=a%20b%26c"), ["header:Content-Type"]);
}

#[test]
fn a_postback_that_would_be_too_long_is_said_to_be_sent_nowhere() {
    let webhook = json!({"kind": "postback", "url": "https://partner.example/pb?c={click_id}"});
    let long = "x".repeat(7_000);
    let mut request = sent("GET", &format!("https://partner.example/pb?c={long}"), None, "");
    let event = json!({"type": "order.paid", "data": {"click_id": long}});
    request.event = Some(Bytes::from(event.to_string()));
    let compared = expected(&trakkr(), &webhook).compare(&request);
    assert_eq!(places(&compared), ["url"]);
    assert!(compared.differences[0].detail.contains("too long"), "{:?}", compared.differences[0].detail);
}

#[test]
fn a_template_is_compared_with_its_variables_filled_in() {
    let template =
        r#"{"text":"{{brand.name}}: {{event.type}}", "id":"{{event.data.order.id}}","when":"{{timestamp}}"}"#;
    let webhook = json!({"template": template, "template_typed": true});
    let brand = Brand { name: Some("Acme".to_owned()), ..Brand::default() };
    let expected = Expected { brand, ..expected(&trakkr(), &webhook) };
    let body = r#"{"text":"Acme: order.paid","id":42,"when":"2026-11-21T09:30:00.000Z"}"#;
    let request = |body: &str| sent("POST", "https://partner.example/hook", JSON, body);
    assert_eq!(expected.compare(&request(body)).differences, []);
    let as_text = expected.compare(&request(&body.replace("42", "\"42\"")));
    assert_eq!(places(&as_text), ["body:/id"]);
    assert_eq!(as_text.differences[0].ours.as_deref(), Some("42"));
    let nameless = Expected { brand: Brand::default(), ..expected.clone() };
    assert_eq!(places(&nameless.compare(&request(body))), ["body:/text"]);
}

#[test]
fn a_chat_message_is_compared_whether_its_service_is_named_or_told_by_the_url() {
    let profile = trakkr();
    let sender = OldSender::of(&profile);
    let submission = Submission::parse(&Bytes::from(order().to_string())).expect("an event");
    let event = Event {
        id: "evt_1".parse().expect("an id"),
        event_type: submission.event_type,
        timestamp: "2026-11-21T09:30:00Z".parse().expect("a time"),
        data: submission.data,
        summary: None,
        workflow: None,
        schema_version: SchemaVersion::FIRST,
        ..sender.event.clone()
    };
    let accent = profile.definition().accent_colour;
    let message = |provider: Provider| {
        let body = provider.message(&event, &sender.tenant, accent).expect("it has a form of its own");
        String::from_utf8(body.to_vec()).expect("text")
    };
    let Tenant { id, name, website, .. } = sender.tenant.clone();
    let brand = Brand { id: Some(id), name: Some(name), website };
    for provider in [Provider::Slack, Provider::Discord, Provider::TeamsWebhook] {
        let named = json!({"provider": provider.to_string()});
        let expected = Expected { brand: brand.clone(), ..expected(&profile, &named) };
        let body = message(provider);
        let request = |body: &str| sent("POST", "https://partner.example/hook", JSON, body);
        assert_eq!(expected.compare(&request(&body)).differences, [], "{provider}");
        let changed = body.replace("order.paid", "order.sold");
        assert!(!expected.compare(&request(&changed)).differences.is_empty(), "{provider}");
    }
    let by_url = Expected { brand, ..expected(&profile, &json!({})) };
    let mut request =
        sent("POST", "https://hooks.slack.com/services/T0/B0/x", JSON, &message(Provider::Slack));
    request.headers[0].value = Bytes::from_static(b"hooks.slack.com");
    assert_eq!(by_url.compare(&request).differences, []);
}

#[test]
fn a_form_of_its_own_needs_its_event_beside_it_and_the_rest_is_compared_without() {
    let postback = json!({"kind": "postback", "url": "https://partner.example/pb?c={click_id}"});
    for (webhook, method, content_type, place) in [
        (json!({"template": {"a": "{{event.id}}"}}), "POST", JSON, "body"),
        (json!({"provider": "discord"}), "POST", JSON, "body"),
        (postback, "GET", None, "url"),
    ] {
        let expected = expected(&trakkr(), &webhook);
        let mut request = sent(method, "https://partner.example/pb?c=1", content_type, "");
        request.event = None;
        let compared = expected.compare(&request);
        let found = compared.differences.iter().find(|found| found.place.to_string() == place);
        let found = found.unwrap_or_else(|| panic!("{webhook}: {compared:?}"));
        assert!(found.detail.contains("put it beside the request"), "{found:?}");
        let others = compared.differences.iter().filter(|one| !matches!(one.place, Place::Body | Place::Url));
        assert_eq!(others.count(), 0, "{compared:?}");
        request.headers.remove(0);
        assert!(places(&expected.compare(&request)).contains(&"header:Host".to_owned()), "{webhook}");
    }
}
