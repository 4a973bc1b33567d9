//! An explanation tells of every webhook what it is sent, or why it is not, and changes nothing.

use std::num::NonZeroU16;

use postrider_contract::catalogue::{EventTypeDefinition, SchemaCheck, WrittenMajor};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::filter::Filter;
use postrider_contract::secret::Secret;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Authentication, CustomHeader, SigningSecrets, WebhookKind, WebhookState};
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

use super::*;
use crate::tests::fixture::{secret_box, tenant as tenant_in};

const EVENT: &str =
    r#"{"id":"evt-1","timestamp":"2026-11-21T09:30:00.000Z","type":"order.paid","data":{"n":1.10}}"#;
const PATH: &str = "/v1/events/explain";

/// With a key that may read, and, unless it is taken away, publish.
async fn site() -> Site {
    let mut site = Site::open(Door::open().await).await;
    let key = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
    let scopes = BTreeSet::from([Scope::Read, Scope::Publish]);
    site.door.put(&ApiKey { scopes, ..api_key(2, &key, Scope::Read) }).await;
    site.key = key;
    site
}

async fn explain(site: &Site, query: &str, body: &str) -> Value {
    let answer = site.send(site.request(&format!("{PATH}{query}")), body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn of_profile(number: u128, profile: &str) -> Webhook {
    Webhook { profile: Some(profile.parse().unwrap()), ..webhook(number) }
}

/// With a signing secret, a token and a header of its own.
fn with_secrets(webhook: Webhook) -> Webhook {
    let (secret_box, tenant) = (secret_box(), webhook.tenant.clone());
    let places = WebhookSecrets::new(&secret_box, &tenant, webhook.id);
    let seal = |place, text: &str| places.seal(place, &Secret::new(text.to_owned()), &SystemEntropy);
    let name = "X-Own".to_owned();
    Webhook {
        secrets: SigningSecrets {
            current: Some(seal(SecretPlace::Signing, "s3cret")),
            ..SigningSecrets::default()
        },
        authentication: Authentication::Bearer { token: seal(SecretPlace::BearerToken, "t0ken") },
        headers: vec![CustomHeader { value: seal(SecretPlace::Header(&name), "own value"), name }],
        ..webhook
    }
}

fn postback(number: u128, query: &str) -> Webhook {
    let url = WebhookUrl::from_stored(&format!("https://partner.example/pb?{query}")).unwrap();
    Webhook { kind: WebhookKind::Postback, url, ..of_profile(number, "trcker") }
}

fn header<'a>(webhook: &'a Value, name: &str) -> Option<&'a str> {
    let headers = webhook["request"]["headers"].as_array().unwrap();
    headers.iter().find(|header| header["name"] == name).and_then(|header| header["value"].as_str())
}

#[tokio::test]
async fn what_is_explained_is_what_is_published_and_nothing_is_before() {
    let site = site().await;
    site.door.put(&of_profile(1, "trcker")).await;
    site.door.put(&of_profile(2, "track360")).await;
    site.door.put(&postback(3, "n={n}&e={event.id}")).await;
    site.door.put(&Webhook { state: paused(), ..of_profile(4, "trakkr") }).await;
    let explained = explain(&site, "", EVENT).await;
    site.door.assert_nothing_happened().await;
    assert_eq!((&explained["matched"], &explained["left_off"]), (&json!(4), &json!(0)));
    assert_eq!(explained["webhooks"][3]["held"], "paused");

    assert_eq!(site.publish(EVENT).await.status, 202);
    let (accepted, holds) = site.door.accepted().await;
    let deliveries =
        [site.door.deliveries().await, holds.into_iter().map(|held| held.delivery).collect()].concat();
    assert_eq!(deliveries.len(), 4);
    for (delivery, webhook) in deliveries.iter().zip(explained["webhooks"].as_array().unwrap()) {
        assert_eq!(webhook["delivery_id"], delivery.reference.id.to_string());
        assert_eq!(webhook["request"]["body"].as_str().unwrap().as_bytes(), delivery.body);
    }
    assert_eq!(explained["webhooks"][2]["request"]["target"], "/pb?n=1.10&e=evt-1");
    assert_eq!(explained["event"]["accepted_at"], accepted.event.accepted_at.to_string());
}

#[tokio::test]
async fn whoever_does_not_get_it_is_told_with_every_reason() {
    let site = site().await;
    let filter = r#"{"and":[{"field":"n","equals":1.1},{"field":"status","in":["paid"]}]}"#;
    let filter = Some(Filter::parse(filter).unwrap());
    let others = vec!["cap.*".parse().unwrap(), "a.b".parse().unwrap()];
    let disabled = WebhookState::Disabled { since: NOW, reason: "it answered 410".to_owned() };
    site.door.put(&Webhook { filter: filter.clone(), ..webhook(1) }).await;
    site.door.put(&Webhook { events: others, filter, ..webhook(2) }).await;
    site.door.put(&Webhook { state: disabled, ..webhook(3) }).await;
    site.door.put(&Webhook { state: paused(), ..of_profile(4, "tracktile") }).await;
    site.door.put(&webhook(5)).await;
    let explained = explain(&site, "", EVENT).await;
    assert_eq!(explained["matched"], 1);
    let told = explained["webhooks"].as_array().unwrap();
    assert_eq!(told[0]["webhook_id"], webhook(5).id.to_string(), "who gets it comes first");
    let codes = |webhook: &Value| -> Vec<String> {
        let reasons = webhook["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes(&told[1]), ["filter"]);
    let term = json!({"pointer": "/and/1", "field": "status", "detail": "is not there"});
    assert_eq!(told[1]["reasons"][0]["terms"], json!([term]));
    assert_eq!(codes(&told[2]), ["other_type", "filter"]);
    let detail = "it subscribes to cap.*, a.b, not to order.paid";
    assert_eq!(told[2]["reasons"][0]["detail"], detail);
    assert_eq!(codes(&told[3]), ["disabled"]);
    assert!(told[3]["reasons"][0]["detail"].as_str().unwrap().ends_with(": it answered 410"), "{}", told[3]);
    assert_eq!(codes(&told[4]), ["paused"]);
    assert!(told[1..].iter().all(|webhook| webhook.get("request").is_none() && webhook["matches"] == false));

    let named = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}"]}}"#, webhook(2).id);
    let explained = explain(&site, "", &named).await;
    assert_eq!(
        (&explained["matched"], codes(&explained["webhooks"][4])),
        (&json!(0), vec!["not_named".to_owned()])
    );
    let unknown = named.replace(&webhook(2).id.to_string(), &webhook(9).id.to_string());
    let refused = site.send(site.request(PATH), &unknown).await;
    assert_eq!((refused.status, refused.pointer()), (422, "/webhook_ids/0"));
}

#[tokio::test]
async fn what_is_of_the_moment_is_named_with_its_cause() {
    let site = site().await;
    site.door.put(&with_secrets(of_profile(1, "trcker"))).await;
    site.door.put(&postback(2, "n={n}&e={event.id}&t={timestamp}")).await;
    let without_id = explain(&site, "", r#"{"type":"order.paid","data":{"n":1}}"#).await;
    let (webhook, postback) = (&without_id["webhooks"][0], &without_id["webhooks"][1]);
    let signature = "X-Trcker-Signature";
    let expected = json!([
        {"cause": "event_id", "headers": ["X-Trcker-Webhook-Id", signature], "body": true},
        {"cause": "accepted_at", "headers": [signature], "body": true},
        {"cause": "tried_at", "headers": [signature]},
    ]);
    assert_eq!(webhook["of_the_moment"], expected);
    let expected = json!([
        {"cause": "event_id", "headers": ["X-Trcker-Webhook-Id"], "query": true},
        {"cause": "accepted_at", "query": true},
    ]);
    assert_eq!(postback["of_the_moment"], expected);
    let given = explain(&site, "", EVENT).await;
    let expected = json!([{"cause": "tried_at", "headers": [signature]}]);
    assert_eq!(given["webhooks"][0]["of_the_moment"], expected);
    assert_eq!(given["webhooks"][1].get("of_the_moment"), None);
    // The same moment gives the same bytes.
    let query = "?at=2026-11-21T10:00:00.000Z&accepted_at=2026-11-21T09:59:59.000Z";
    let at = explain(&site, query, EVENT).await;
    assert_eq!(at, explain(&site, query, EVENT).await);
    assert!(header(&at["webhooks"][0], signature).unwrap().starts_with("t=1795255200,v1="), "{at}");
    assert_eq!(at["event"]["accepted_at"], "2026-11-21T09:59:59.000Z");
}

#[tokio::test]
async fn credentials_are_masked_and_signatures_withheld_from_a_key_that_may_not_publish() {
    let mut site = site().await;
    site.door.put(&with_secrets(of_profile(1, "trcker"))).await;
    let signed = explain(&site, "", EVENT).await;
    let webhook = &signed["webhooks"][0];
    assert_eq!((&signed["signed"], header(webhook, "Authorization")), (&json!(true), Some("Bearer ***")));
    assert_eq!(header(webhook, "X-Own"), Some("own value"), "as the webhook itself is shown");
    assert!(header(webhook, "X-Trcker-Signature").is_some());
    let reader = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
    site.door.put(&api_key(3, &reader, Scope::Read)).await;
    site.key = reader;
    let unsigned = explain(&site, "", EVENT).await;
    assert_eq!(
        (&unsigned["signed"], header(&unsigned["webhooks"][0], "X-Trcker-Signature")),
        (&json!(false), None)
    );
    for answer in [&signed, &unsigned] {
        assert!(!answer.to_string().contains("t0ken") && !answer.to_string().contains("s3cret"), "{answer}");
    }
    let publisher = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
    site.door.put(&api_key(4, &publisher, Scope::Publish)).await;
    site.key = publisher;
    assert_eq!(site.send(site.request(PATH), EVENT).await.status, 403);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_with_its_reason() {
    let site = site().await;
    site.door.put(&of_profile(1, "tracktile")).await;
    site.door.put(&postback(2, "long={n}")).await;
    let mut sealed_elsewhere = with_secrets(of_profile(3, "trcker"));
    sealed_elsewhere.secrets = with_secrets(of_profile(4, "trcker")).secrets;
    site.door.put(&sealed_elsewhere).await;
    let body = format!(r#"{{"type":"order.paid","data":{{"id":1,"n":"{}"}}}}"#, "x".repeat(7_000));
    let explained = explain(&site, "", &body).await;
    assert_eq!(explained["webhooks"][0]["refused"]["pointer"], "/data/id");
    let problem = |index: usize| explained["webhooks"][index]["problem"].as_str().unwrap_or_default();
    assert!(problem(1).contains("too long") && problem(2).contains("does not open"), "{explained}");
    assert!((0..3).all(|index| explained["webhooks"][index].get("request").is_none()), "{explained}");
}

#[tokio::test]
async fn the_times_of_the_retries_are_those_of_the_schedule() {
    let site = site().await;
    site.door.put(&of_profile(1, "trcker")).await;
    let explained = explain(&site, "?at=2026-11-21T09:00:00.000Z", EVENT).await;
    let times = ["09:00:00", "09:00:01", "09:00:06", "09:00:36", "09:05:36", "09:35:36", "11:35:36"];
    let expected: Vec<String> = times.iter().map(|time| format!("2026-11-21T{time}.000Z")).collect();
    assert_eq!(explained["webhooks"][0]["tries"], json!(expected));
}

#[tokio::test]
async fn at_most_two_hundred_webhooks_are_told_of() {
    let site = site().await;
    for number in 1..=201 {
        site.door.put_unseen(&webhook(number)).await;
    }
    site.door.put(&webhook(202)).await;
    let explained = explain(&site, "", EVENT).await;
    assert_eq!((explained["webhooks"].as_array().unwrap().len(), &explained["left_off"]), (200, &json!(2)));
    assert_eq!(explained["matched"], 202);
}

#[tokio::test]
async fn each_webhook_is_explained_with_the_major_it_gets_and_told_if_its_own_is_not_there() {
    let site = site().await;
    let pinned = |number, major| Webhook {
        schema_major: NonZeroU16::new(major),
        filter: Some(Filter::parse(r#"{"field":"n","at_least":2}"#).unwrap()),
        ..of_profile(number, "trackdesk")
    };
    site.door.put(&pinned(1, 1)).await;
    site.door.put(&pinned(2, 2)).await;
    site.door.put(&pinned(3, 3)).await;
    let both = r#"{"id":"evt-1","timestamp":"2026-11-21T09:30:00.000Z","type":"order.paid",
        "versions":{"2.1":{ "n" : 1 },"1":{"n":2.50}}}"#;
    let postback = Webhook { schema_major: NonZeroU16::new(1), ..postback(4, "n={n}") };
    site.door.put(&postback).await;
    site.door.put(&of_profile(5, "trackdesk")).await;
    let explained = explain(&site, "", both).await;
    assert_eq!(explained["event"].get("schema_version"), None);
    let told = explained["webhooks"].as_array().unwrap();
    let seen = |number: u128| {
        let id = json!(webhook(number).id);
        let one = told.iter().find(|one| one["webhook_id"] == id).unwrap();
        (one["schema_version"].as_str(), one["request"]["body"].as_str(), one["reasons"][0]["code"].as_str())
    };
    assert_eq!(seen(1), (Some("1.0"), Some(r#"{"n":2.50}"#), None));
    assert_eq!(seen(2), (None, None, Some("filter")), "its own version has too little");
    assert_eq!(seen(3), (None, None, Some("other_major")));
    assert_eq!(seen(5), (Some("2.1"), Some(r#"{ "n" : 1 }"#), None));
    let filled = told.iter().find(|one| one["kind"] == "postback").unwrap();
    assert_eq!(filled["request"]["target"], "/pb?n=2.50");
    let reasons = &told.iter().find(|one| one["reasons"][0]["code"] == "other_major").unwrap()["reasons"];
    assert_eq!(
        reasons.as_array().unwrap().len(),
        1,
        "a version that is not there fails no filter: {reasons}"
    );
    assert_eq!(reasons[0]["detail"], "it is pinned to a major that is not there: 3");

    assert_eq!(site.publish(both).await.status, 202);
    let sent = site.door.deliveries().await;
    let matched = told.iter().filter(|one| one["matches"] == true).collect::<Vec<_>>();
    assert_eq!(sent.len(), matched.len());
    for (delivery, one) in sent.iter().zip(matched) {
        assert_eq!(one["schema_version"], delivery.schema_version.to_string());
        assert_eq!(one["delivery_id"], delivery.reference.id.to_string());
        assert_eq!(one["request"]["body"].as_str().unwrap().as_bytes(), delivery.body);
    }
}

#[tokio::test]
async fn what_is_not_as_described_is_told_with_whether_the_event_is_refused_for_it() {
    let site = site().await;
    let written = WrittenMajor {
        version: "1.0".parse().unwrap(),
        description: String::new(),
        schema: serde_json::from_str(r#"{"properties":{"n":{"type":"string"}}}"#).unwrap(),
        example: None,
        sunset_at: None,
    };
    let (tenant, event_type) = (Some(tenant_id("a")), "order.paid".parse().unwrap());
    site.door.put(&EventTypeDefinition { tenant, event_type, majors: vec![written] }).await;
    for (schema_check, warned, refused) in [
        (SchemaCheck::Off, None, None),
        (SchemaCheck::Warn, Some("/data/n"), None),
        (SchemaCheck::Enforce, Some("/data/n"), Some(true)),
    ] {
        site.door.put(&Tenant { schema_check, ..tenant_in("a", "standard") }).await;
        let told = explain(&site, "", EVENT).await;
        assert_eq!(told["schema_warnings"][0]["pointer"].as_str(), warned, "{told}");
        assert_eq!(told["refused_by_schema"].as_bool(), refused, "{told}");
        let status = site.publish(&EVENT.replace("evt-1", &format!("{schema_check:?}"))).await.status;
        assert_eq!(status, if refused.is_some() { 422 } else { 202 }, "as it is published");
    }
}
