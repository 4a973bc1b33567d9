//! The routes as their callers see them.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http_body_util::BodyExt;
use postrider_contract::delivery::Delivery;
use postrider_contract::event::Event;
use postrider_contract::ids::{DeliveryId, KeyId};
use postrider_contract::json::RawObject;
use postrider_contract::key::{ApiKey, KeyHash, Scope};
use postrider_contract::outcome::Outcome;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use postrider_service::authentication::AdminKeySource;
use postrider_service::config_object::ConfigObject;
use postrider_service::key_text::{KeyHolder, draw_key};
use postrider_service::system::SystemEntropy;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::tests::fixture::{
    OVERDUE_AFTER, Office, QUICK, accepted, attempted, template, tenant, tenant_id, webhook,
};

const ADMIN: &str = "pra_admin";

struct Site {
    office: Office,
    router: Router,
    key: String,
}

impl Site {
    async fn open() -> Self {
        let office = Office::open().await;
        office.put(&webhook(1)).await;
        let admin = AdminKeySource::Configured(KeyHash::of(ADMIN));
        let state = StatusState {
            queries: Arc::new(office.log.clone()),
            journal: Arc::new(office.queue.clone()),
            authenticator: Authenticator::new(Arc::clone(&office.directory), office.clock.clone(), admin),
            rerendering: Arc::clone(&office.parts.rerendering),
            clock: office.clock.clone(),
            healing: office.parts.healing,
        };
        let (router, _) = routes(state).split_for_parts();
        let mut site = Site { office, router, key: String::new() };
        site.key = site.make_key("a", Scope::Read).await;
        site
    }

    async fn make_key(&self, tenant: &str, scope: Scope) -> String {
        let text = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
        let key = ApiKey {
            id: KeyId::draw(Timestamp::EPOCH, &SystemEntropy),
            tenant: tenant_id(tenant),
            name: "key".to_owned(),
            scopes: BTreeSet::from([scope]),
            expires_at: None,
            hash: KeyHash::of(&text),
            hint: String::new(),
            created_at: Timestamp::EPOCH,
        };
        self.office.put(&key).await;
        text
    }

    async fn send(&self, request: http::request::Builder) -> (u16, Value) {
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get_as(&self, key: &str, path: &str) -> (u16, Value) {
        self.send(Request::get(path).header(AUTHORIZATION, format!("Bearer {key}"))).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.get_as(&self.key, path).await
    }

    async fn get_200(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// An event with one delivery, delivered or still pending.
    async fn event(&self, id: &str, is_delivered: bool) -> Delivery {
        let (event, delivery) = self.office.delivery(id, 1);
        let mut records = vec![accepted(event, &delivery, None)];
        if is_delivered {
            records.push(attempted(&delivery, 200, QUICK, Outcome::Delivered));
        }
        self.office.log(records).await;
        delivery
    }

    /// Every id of a list, in the order of its pages.
    async fn walk(&self, path: &str) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let page = self.get_200(&format!("{path}{cursor}")).await;
            let rows = page["data"].as_array().unwrap();
            ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return ids };
            cursor = format!("&cursor={next}");
        }
        panic!("{path} never ends");
    }
}

#[tokio::test]
async fn a_list_is_walked_newest_first_without_gaps_or_repeats_while_more_comes() {
    let site = Site::open().await;
    let mut expected = Vec::new();
    for number in 0..11 {
        expected.push(site.event(&format!("e{number}"), number % 2 == 0).await.reference);
        // Some are accepted in the same millisecond.
        site.office.clock.advance(Duration::from_millis(number % 3));
    }
    expected.sort_by_key(|reference| reference.id);
    expected.reverse();
    let deliveries: Vec<String> = expected.iter().map(|reference| reference.id.to_string()).collect();
    for limit in [1, 3, 11, 12] {
        assert_eq!(site.walk(&format!("/v1/deliveries?limit={limit}")).await, deliveries);
        let events = site.walk(&format!("/v1/events?limit={limit}")).await;
        assert_eq!(events.iter().collect::<HashSet<_>>().len(), 11);
        assert_eq!(events.len(), 11);
    }
    let first = site.get_200("/v1/deliveries?limit=5").await;
    site.office.clock.advance(Duration::from_secs(1));
    site.event("newer", false).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = site.get_200(&format!("/v1/deliveries?limit=200&cursor={cursor}")).await;
    let second: Vec<_> = second["data"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(second, deliveries[5..]);
    let webhook = webhook(1).id;
    for alias in ["deliveries", "executions"] {
        let path = format!("/v1/webhooks/{webhook}/{alias}?limit=4&status=delivered");
        assert_eq!(site.walk(&path).await.len(), 6);
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_or_tenant_is_refused() {
    let site = Site::open().await;
    site.office.put(&tenant("b")).await;
    let other = site.make_key("b", Scope::Read).await;
    for number in 0..3 {
        site.event(&format!("e{number}"), false).await;
    }
    let events = site.get_200("/v1/events?limit=1").await;
    let events = events["next_cursor"].as_str().unwrap();
    let deliveries = site.get_200("/v1/deliveries?limit=1").await;
    let deliveries = deliveries["next_cursor"].as_str().unwrap();
    for (key, list, cursor) in [
        (&site.key, "deliveries", events),
        (&site.key, "events", deliveries),
        (&other, "deliveries", deliveries),
        (&site.key, "deliveries", "x"),
    ] {
        let (status, body) = site.get_as(key, &format!("/v1/{list}?cursor={cursor}")).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid_query")), "{list} {cursor}");
    }
}

#[tokio::test]
async fn a_window_that_ends_before_it_begins_and_an_unknown_filter_are_refused() {
    let site = Site::open().await;
    let webhook = webhook(1).id;
    let lists =
        ["/v1/events".to_owned(), "/v1/deliveries".to_owned(), format!("/v1/webhooks/{webhook}/deliveries")];
    for path in lists.iter().map(String::as_str).chain(["/v1/ledger"]) {
        for query in [
            "since=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
            "since=yesterday",
            "colour=red",
        ] {
            let (status, body) = site.get(&format!("{path}?{query}")).await;
            assert_eq!((status, &body["code"]), (400, &json!("invalid_query")), "{path}?{query}");
        }
        let (status, _) =
            site.get(&format!("{path}?since=2026-01-01T00:00:00Z&until=2026-01-01T00:00:00.001Z")).await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn unknown_foreign_deleted_and_malformed_ids_answer_alike() {
    let site = Site::open().await;
    let delivery = site.event("e", false).await;
    site.office.put(&tenant("b")).await;
    let other = site.make_key("b", Scope::Read).await;
    let mut foreign_webhook = webhook(2);
    foreign_webhook.tenant = tenant_id("b");
    site.office.put(&foreign_webhook).await;
    site.office.put(&webhook(3)).await;
    site.office.delete(webhook(3).key()).await;
    let (id, hook) = (delivery.reference.id, webhook(1).id);
    let mut answers = HashSet::new();
    for (key, path) in [
        (&site.key, "/v1/events/nothing".to_owned()),
        (&site.key, "/v1/events/a.b".to_owned()),
        (&other, "/v1/events/e".to_owned()),
        (&site.key, format!("/v1/deliveries/{}", DeliveryId::from_u128(1))),
        (&site.key, "/v1/deliveries/7".to_owned()),
        (&other, format!("/v1/deliveries/{id}")),
        (&other, format!("/v1/webhooks/{hook}/deliveries")),
        (&site.key, format!("/v1/webhooks/{}/executions", foreign_webhook.id)),
        (&site.key, format!("/v1/webhooks/{}/deliveries", webhook(3).id)),
        (&site.key, "/v1/webhooks/wh_x/deliveries".to_owned()),
    ] {
        let (status, body) = site.get_as(key, &path).await;
        assert_eq!(status, 404, "{path}");
        answers.insert(body.to_string());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn only_a_key_that_may_read_reads_and_the_admin_names_a_tenant() {
    let site = Site::open().await;
    let publisher = site.make_key("a", Scope::Publish).await;
    for path in ["/v1/events", "/v1/deliveries", "/v1/ledger", "/v1/events/e"] {
        assert_eq!(site.get_as("prk_nonsense", path).await.0, 401, "{path}");
        assert_eq!(site.get_as(&publisher, path).await.0, 403, "{path}");
    }
    assert_eq!(site.get_as(ADMIN, "/v1/events").await.0, 400);
    let acting = |tenant: &'static str| {
        let request = Request::get("/v1/events").header(AUTHORIZATION, format!("Bearer {ADMIN}"));
        request.header("Postrider-Tenant", tenant)
    };
    assert_eq!(site.send(acting("a")).await.0, 200);
    assert_eq!(site.send(acting("nobody")).await.0, 404);
}

#[tokio::test]
async fn the_ledger_counts_one_tenant_or_for_the_admin_all_and_says_what_is_overdue() {
    let site = Site::open().await;
    site.office.put(&tenant("b")).await;
    let other = site.make_key("b", Scope::Read).await;
    site.event("one", true).await;
    site.event("two", false).await;
    let ledger = site.get_200("/v1/ledger").await;
    assert_eq!(ledger["events"], json!({"accepted": 2, "matched": 2, "unmatched": 0, "in_doubt": 0}));
    let deliveries = &ledger["deliveries"];
    assert_eq!((&deliveries["expected"], &deliveries["delivered"]), (&json!(2), &json!(1)));
    assert_eq!((&deliveries["pending"], &ledger["balanced"]), (&json!(1), &json!(true)));
    let (_, foreign) = site.get_as(&other, "/v1/ledger").await;
    assert_eq!(foreign["events"]["accepted"], 0);
    let (_, all) = site.get_as(ADMIN, "/v1/ledger").await;
    assert_eq!(all["events"]["accepted"], 2);
    let of_webhook = |number| format!("/v1/ledger?webhook_id={}", webhook(number).id);
    assert_eq!(site.get_200(&of_webhook(1)).await["deliveries"]["expected"], 2);
    for (key, path) in
        [(&site.key, of_webhook(2)), (&other, of_webhook(1)), (&ADMIN.to_owned(), of_webhook(2))]
    {
        assert_eq!(site.get_as(key, &path).await.0, 404, "{path}");
    }
    site.office.delete(webhook(1).key()).await;
    assert_eq!(site.get_200(&of_webhook(1)).await["deliveries"]["expected"], 2, "its log outlives it");
    assert_eq!(site.get_as(&other, &of_webhook(1)).await.0, 404);
    site.office.clock.advance(OVERDUE_AFTER + Duration::from_millis(1));
    let late = site.get_200("/v1/ledger").await;
    assert_eq!((&late["deliveries"]["overdue"], &late["balanced"]), (&json!(1), &json!(false)));
}

#[tokio::test]
async fn the_ledger_says_that_it_is_settling_only_for_what_may_still_come() {
    let site = Site::open().await;
    let now = site.office.clock.now();
    let later = now.plus(Duration::from_secs(3_600));
    let future = format!("/v1/ledger?until={later}");
    for path in ["/v1/ledger", future.as_str()] {
        assert_eq!(site.get_200(path).await["settling"], false, "{path}");
    }
    let (event, delivery) = site.office.delivery("e", 1);
    site.office.journal(vec![accepted(event, &delivery, None)]).await;
    site.office.clock.advance(Duration::from_secs(1));
    for path in ["/v1/ledger", future.as_str()] {
        let ledger = site.get_200(path).await;
        assert_eq!((&ledger["settling"], &ledger["settling_since"]), (&json!(true), &json!(now.to_string())));
    }
    assert_eq!(site.get_200(&format!("/v1/ledger?until={now}")).await["settling"], false);
}

#[tokio::test]
async fn a_delivery_shows_its_tries_with_the_body_that_was_sent_or_says_that_it_is_another() {
    let site = Site::open().await;
    let sent = site.event("e", true).await;
    site.office.put(&Tenant { name: "Another".to_owned(), ..tenant("a") }).await;
    let (event, mut altered) = site.office.delivery("altered", 1);
    let record = accepted(event, &altered, None);
    altered.body = "{}".into();
    site.office.log([record, attempted(&altered, 500, QUICK, Outcome::Delivered)]).await;
    for (delivery, matches) in [(&sent, true), (&altered, false)] {
        let page = site.get_200(&format!("/v1/deliveries/{}", delivery.reference.id)).await;
        assert_eq!(page["tries"].as_array().unwrap().len(), 1);
        let request = &page["tries"][0]["request"];
        assert_eq!(request["body_matches"], matches);
        let shown = request["body"].as_str().unwrap();
        assert_eq!(shown.as_bytes() == delivery.body, matches, "{shown}");
    }
    // The list of the event's deliveries and the event's own data are as they were sent, byte for byte.
    let (status, event) = site.get("/v1/events/e").await;
    assert_eq!((status, event["deliveries"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn an_event_is_shown_with_its_workflow() {
    let site = Site::open().await;
    let (event, delivery) = site.office.delivery("e", 1);
    let workflow = RawObject::parse(Bytes::from_static(br#"{"name":"spring"}"#)).ok();
    site.office.log([accepted(Event { workflow, ..event }, &delivery, None)]).await;
    assert_eq!(site.get_200("/v1/events/e").await["workflow"], json!({"name": "spring"}));
    let list = site.get_200("/v1/events").await;
    assert_eq!(list["data"][0].get("workflow"), None, "as with its data");
}

#[tokio::test]
async fn a_try_tells_which_fields_its_template_did_not_find() {
    let site = Site::open().await;
    let text = r#"["{{event.data.n}}","{{event.data.lost}}","{{event.data.a.b}} {{event.data.lost}}"]"#;
    site.office.put(&Webhook { template: Some(template(text)), ..webhook(1) }).await;
    let sent = site.event("e", true).await;
    let page = site.get_200(&format!("/v1/deliveries/{}", sent.reference.id)).await;
    let request = &page["tries"][0]["request"];
    assert_eq!(
        (&request["body"], &request["body_matches"]),
        (&json!(r#"[12345678901234567890,null," "]"#), &json!(true))
    );
    let missing = |variable: &str| json!({"variable": variable, "reason": "missing"});
    assert_eq!(request["template_gaps"], json!([missing("event.data.lost"), missing("event.data.a.b")]));
    // Of a body that was not this one, nothing is said.
    let (event, mut other) = site.office.delivery("other", 1);
    let record = accepted(event, &other, None);
    other.body = "{}".into();
    site.office.log([record, attempted(&other, 500, QUICK, Outcome::Delivered)]).await;
    let page = site.get_200(&format!("/v1/deliveries/{}", other.reference.id)).await;
    assert_eq!(page["tries"][0]["request"].get("template_gaps"), None);
}

#[tokio::test]
async fn a_postback_shows_its_filled_query_and_the_macros_without_a_value() {
    let site = Site::open().await;
    let (_, event, delivery) =
        site.office.postback("e={event.id}&x={nowhere}&y={data.n.m}", b"e=e&x=&y=").await;
    site.office
        .log([accepted(event, &delivery, None), attempted(&delivery, 200, QUICK, Outcome::Delivered)])
        .await;
    let page = site.get_200(&format!("/v1/deliveries/{}", delivery.reference.id)).await;
    let shown = json!({"query": "e=e&x=&y=", "missing_macros": ["nowhere", "data.n.m"]});
    assert_eq!((&page["kind"], &page["postback"]), (&json!("postback"), &shown));
    assert_eq!(page["tries"][0]["request"]["body_matches"], true);
    site.office.put(&webhook(1)).await;
    let other = site.event("other", true).await;
    assert!(site.get_200(&format!("/v1/deliveries/{}", other.reference.id)).await.get("postback").is_none());
    for (kind, count) in [("postback", 1), ("webhook", 1)] {
        let list = site.get_200(&format!("/v1/deliveries?kind={kind}")).await;
        assert_eq!(list["data"].as_array().unwrap().len(), count, "{kind}");
        assert_eq!(list["data"][0]["kind"], kind);
    }
}

#[tokio::test]
async fn while_the_log_is_away_every_route_says_when_to_come_back() {
    let site = Site::open().await;
    let delivery = site.event("e", true).await;
    site.office.log_outage.begin("gone");
    let one = format!("/v1/deliveries/{}", delivery.reference.id);
    for path in ["/v1/events", "/v1/events/e", "/v1/deliveries", "/v1/ledger", one.as_str()] {
        let (status, body) = site.get(path).await;
        assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_id_is_not_there_and_a_code_has_bounds() {
    let site = Site::open().await;
    let (_, unknown) = site.get("/v1/deliveries/dlv_00000000000000000000000001").await;
    for path in ["/v1/deliveries/%ff", "/v1/deliveries/x", "/v1/events/%ff", "/v1/webhooks/%ff/deliveries"] {
        assert_eq!(site.get(path).await, (404, unknown.clone()), "{path}");
    }
    for code in ["99", "600", "-1", "abc", "99999999999", ""] {
        let (status, body) = site.get(&format!("/v1/deliveries?code={code}")).await;
        let expected = json!("code: must be a status code from 100 to 599");
        assert_eq!((status, &body["detail"]), (400, &expected), "{code}");
    }
    site.get_200("/v1/deliveries?code=599").await;
}
