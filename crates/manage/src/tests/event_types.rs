//! Catalogues of one's own: who writes them, what they must be, and what lies on top of what.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::fixture::{ADMIN, Answer, Api, text};

fn paid() -> Value {
    json!({
        "description": "An order was paid in full",
        "version": "1.2",
        "schema": {"type": "object", "required": ["total"], "properties": {"total": {"type": "number", "minimum": 0}}},
        "example": {"total": 12.5},
    })
}

/// The form with these members on top.
fn paid_with(more: Value) -> Value {
    let mut form = paid();
    form.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    form
}

async fn put(api: &Api, key: &str, event_type: &str, form: Value) -> Answer {
    api.call(key, "PUT", &format!("/v1/event-types/{event_type}"), Some(form)).await
}

async fn get(api: &Api, key: &str, event_type: &str) -> Answer {
    api.call(key, "GET", &format!("/v1/event-types/{event_type}"), None).await
}

fn majors(view: &Value) -> Vec<(&str, &str)> {
    let majors = view["majors"].as_array().expect("a list");
    majors.iter().map(|one| (text(one, "version"), text(one, "source"))).collect()
}

#[tokio::test]
async fn a_type_of_ones_own_is_described_listed_changed_and_deleted() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let others = api.tenant_with_key("other", "trcker").await;
    let made = put(&api, &key, "order.paid", paid()).await;
    assert_eq!(made.headers["etag"], format!("\"{}\"", api.revision().await));
    let made = made.expect(201);
    assert_eq!((text(&made, "type"), text(&made, "source")), ("order.paid", "tenant"));
    for member in ["description", "version", "schema", "example"] {
        assert_eq!(made[member], paid()[member], "{member}");
    }
    assert_eq!(get(&api, &key, "order.paid").await.expect(200), made);
    let listed = api.call(&key, "GET", "/v1/event-types?limit=200", None).await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(9), "beside the eight of its profile");
    get(&api, &others, "order.paid").await.expect(404);

    let before = api.revision().await;
    put(&api, &key, "order.paid", paid()).await.expect(200);
    assert_eq!(api.revision().await, before, "the same again costs no revision");
    let changed = put(&api, &key, "order.paid", paid_with(json!({"version": "1.3"}))).await.expect(200);
    assert_eq!(majors(&changed), [("1.3", "tenant")]);

    api.call(&key, "DELETE", "/v1/event-types/order.paid", None).await.expect(204);
    get(&api, &key, "order.paid").await.expect(404);
    api.call(&key, "DELETE", "/v1/event-types/order.paid", None).await.expect(404);
    put(&api, &key, "order.paid", paid()).await.expect(201);
}

#[tokio::test]
async fn majors_stand_side_by_side_and_each_has_its_end() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    put(&api, &key, "order.paid", paid()).await.expect(201);
    let second = json!({"version": "2.0", "schema": {"required": ["amount"]}, "example": {"amount": "1"}});
    let both = put(&api, &key, "order.paid", second).await.expect(200);
    assert_eq!(majors(&both), [("1.2", "tenant"), ("2.0", "tenant")]);
    assert_eq!((text(&both, "version"), &both["example"]), ("2.0", &json!({"amount": "1"})));
    let sunset = paid_with(json!({"sunset_at": "2027-06-01T00:00:00Z"}));
    let ending = put(&api, &key, "order.paid", sunset).await.expect(200);
    assert_eq!(ending["majors"][0]["sunset_at"], "2027-06-01T00:00:00.000Z");
    assert!(ending.get("sunset_at").is_none(), "the newest has none: {ending}");
    for major in 3..=16 {
        put(&api, &key, "order.paid", json!({"version": format!("{major}.0")})).await.expect(200);
    }
    put(&api, &key, "order.paid", json!({"version": "17.0"})).await.expect(409);
}

#[tokio::test]
async fn the_tenants_own_description_lies_on_the_installations_and_that_on_the_built_in() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let other = api.tenant_with_key("other", "track360").await;
    let built_in = get(&api, &key, "conversion.created").await.expect(200);
    assert_eq!(majors(&built_in), [("1.0", "builtin")]);

    let of_all = json!({"version": "2.0", "description": "for all"});
    put(&api, ADMIN, "conversion.created", of_all).await.expect(201);
    for key in [&key, &other] {
        let view = get(&api, key, "conversion.created").await.expect(200);
        assert_eq!(majors(&view), [("1.0", "builtin"), ("2.0", "installation")]);
        assert_eq!(text(&view, "description"), "for all");
    }
    let own = json!({"version": "2.1", "description": "ours"});
    put(&api, &key, "conversion.created", own).await.expect(201);
    let view = get(&api, &key, "conversion.created").await.expect(200);
    assert_eq!(majors(&view), [("1.0", "builtin"), ("2.1", "tenant")]);
    let view = get(&api, &other, "conversion.created").await.expect(200);
    assert_eq!(majors(&view), [("1.0", "builtin"), ("2.0", "installation")]);

    let installation = api.call(ADMIN, "GET", "/v1/event-types", None).await.expect(200);
    assert_eq!(installation["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(majors(&installation["data"][0]), [("2.0", "installation")]);
    let as_tenant = get(&api, &format!("{ADMIN} acme"), "conversion.created").await.expect(200);
    assert_eq!(majors(&as_tenant), [("1.0", "builtin"), ("2.1", "tenant")]);

    api.call(&key, "DELETE", "/v1/event-types/conversion.created", None).await.expect(204);
    api.call(ADMIN, "DELETE", "/v1/event-types/conversion.created", None).await.expect(204);
    assert_eq!(get(&api, &key, "conversion.created").await.expect(200), built_in);
    api.call(&key, "DELETE", "/v1/event-types/conversion.created", None).await.expect(404);
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_its_place_and_nothing_is_stored() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let before = api.revision().await;
    for (more, pointers) in [
        (
            json!({"schema": {"properties": {"total": {"type": "numbr"}}}}),
            &["/schema/properties/total/type"][..],
        ),
        (json!({"schema": {"$ref": "https://example.com/order"}}), &["/schema/$ref"]),
        (json!({"schema": {"pattern": "(?=x)"}}), &["/schema/pattern"]),
        (json!({"schema": {"$ref": "#"}}), &["/schema"]),
        (json!({"schema": "text"}), &["/schema"]),
        (json!({"example": {"total": -1}}), &["/example/total"]),
        (json!({"example": [1]}), &["/example"]),
        (json!({"version": "1"}), &["/version"]),
        (json!({"version": 1}), &["/version"]),
        (json!({"sunset_at": "soon"}), &["/sunset_at"]),
        (json!({"description": "x".repeat(1_001)}), &["/description"]),
        (json!({"descripton": "x"}), &["/descripton"]),
    ] {
        let refused = put(&api, &key, "order.paid", paid_with(more.clone())).await;
        assert_eq!(refused.status.as_u16(), 422, "{more}: {}", refused.text);
        assert_eq!(refused.pointers(), pointers, "{more}: {}", refused.text);
    }
    let reserved = put(&api, &key, "postrider.webhook.disabled", json!({})).await;
    assert_eq!((reserved.status.as_u16(), reserved.pointers()), (422, vec!["/type".to_owned()]));
    assert_eq!(api.revision().await, before);
}

#[tokio::test]
async fn a_change_that_was_seen_at_another_revision_is_refused() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let with = |method: &str, tag: String, body: String| {
        let request = Request::builder()
            .method(method)
            .uri("/v1/event-types/order.paid")
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("if-match", tag);
        api.send(request.body(Body::from(body)).expect("a request"))
    };
    with("PUT", "\"1\"".to_owned(), paid().to_string()).await.expect(412);
    put(&api, &key, "order.paid", paid()).await.expect(201);
    let revision = api.revision().await;
    let stale = format!("\"{}\"", revision - 1);
    with("PUT", stale.clone(), json!({"version": "2.0"}).to_string()).await.expect(412);
    with("DELETE", stale, String::new()).await.expect(412);
    with("PUT", format!("\"{revision}\""), json!({"version": "2.0"}).to_string()).await.expect(200);
}

#[tokio::test]
async fn a_catalogue_has_an_end() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    for number in 0..500 {
        put(&api, &key, &format!("own.n{number}"), json!({})).await.expect(201);
    }
    put(&api, &key, "own.more", json!({})).await.expect(409);
    put(&api, &key, "own.n7", json!({"version": "1.1"})).await.expect(200);
    put(&api, ADMIN, "own.more", json!({})).await.expect(201);
}

#[tokio::test]
async fn a_tenant_chooses_what_becomes_of_events_that_are_not_as_described() {
    let api = Api::start().await;
    assert_eq!(api.tenant("acme", "standard").await["schema_check"], "off");
    let body = json!({"id": "strict", "name": "strict", "schema_check": "enforce"});
    let made = api.call(ADMIN, "POST", "/v1/tenants", Some(body)).await.expect(201);
    assert_eq!(made["schema_check"], "enforce");
    for (choice, expected) in [(json!("warn"), "warn"), (json!("enforce"), "enforce"), (Value::Null, "off")] {
        let body = json!({"schema_check": choice});
        let changed = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(body)).await.expect(200);
        assert_eq!(changed["schema_check"], expected);
    }
    let refused = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"schema_check": "loud"}))).await;
    assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec!["/schema_check".to_owned()]));
}

#[tokio::test]
async fn a_test_of_a_webhook_sends_the_example_that_its_catalogue_has() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    put(&api, &key, "order.paid", paid()).await.expect(201);
    let made = api.webhook(&key, json!({"events": ["order.*"]})).await;
    api.call(&key, "POST", &format!("/v1/webhooks/{}/pause", text(&made, "id")), Some(json!({})))
        .await
        .expect(200);
    api.call(&key, "POST", &format!("/v1/webhooks/{}/test", text(&made, "id")), None).await.expect(202);
    let sent = api.intake.0.lock().expect("not poisoned");
    let (_, submission, _) = sent.last().expect("one was sent");
    assert_eq!(submission.event_type.as_str(), "order.paid");
    assert_eq!(submission.schema_version.to_string(), "1.2");
    assert_eq!(submission.data.as_bytes().as_ref(), br#"{"total":12.5}"#);
}

#[tokio::test]
async fn a_webhook_is_pinned_to_a_major_and_moved() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let made = api.webhook(&key, json!({"schema_major": 1})).await;
    assert_eq!(made["schema_major"], 1);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    for (change, expected) in [(json!(2), json!(2)), (Value::Null, Value::Null)] {
        let changed = api.call(&key, "PATCH", &path, Some(json!({"schema_major": change}))).await.expect(200);
        assert_eq!(changed["schema_major"], expected);
    }
    for wrong in [json!(0), json!(-1), json!(65_536), json!("1"), json!(1.5)] {
        let refused = api.call(&key, "PATCH", &path, Some(json!({"schema_major": wrong}))).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec!["/schema_major".to_owned()]));
    }
    put(&api, &key, "conversion.created", paid()).await.expect(201);
    let second = json!({"version": "2.0", "example": {"amount": "1"}});
    put(&api, &key, "conversion.created", second).await.expect(200);
    for (pinned, version) in [(json!(1), "1.2"), (json!(2), "2.0"), (Value::Null, "2.0"), (json!(7), "7.0")] {
        let change = json!({"schema_major": pinned, "status": "paused"});
        api.call(&key, "PATCH", &path, Some(change)).await.expect(200);
        api.call(&key, "POST", &format!("{path}/test"), None).await.expect(202);
        let sent = api.intake.0.lock().expect("not poisoned");
        let (_, submission, _) = sent.last().expect("one was sent");
        assert_eq!(submission.schema_version.to_string(), version, "pinned to {pinned}");
    }
}

#[tokio::test]
async fn a_new_major_is_told_to_those_who_have_webhooks_pinned_below_it_and_to_nobody_else() {
    use postrider_contract::delivery::Origin;

    let api = Api::start().await;
    let mut keys = Vec::new();
    for tenant in ["acme", "other", "third"] {
        keys.push(api.tenant_with_key(tenant, "standard").await);
    }
    let take_told = || {
        let told = std::mem::take(&mut *api.intake.0.lock().expect("not poisoned"));
        let told = told.into_iter().map(|(tenant, submission, origin)| {
            assert_eq!(origin, Origin::Operator);
            assert_eq!(submission.event_type.as_str(), "postrider.event_type.changed");
            let data: Value = serde_json::from_slice(submission.data.as_bytes()).expect("JSON");
            (tenant.to_string(), data)
        });
        told.collect::<Vec<_>>()
    };
    put(&api, ADMIN, "conversion.created", paid()).await.expect(201);
    let mut pinned = Vec::new();
    for key in &keys[..2] {
        pinned.push(text(&api.webhook(key, json!({"schema_major": 1})).await, "id").to_owned());
        api.webhook(key, json!({"schema_major": 2})).await;
        api.webhook(key, json!({"schema_major": 1, "events": ["other.type"]})).await;
    }
    api.webhook(&keys[2], json!({})).await;

    put(&api, ADMIN, "conversion.created", paid_with(json!({"version": "1.4"}))).await.expect(200);
    assert_eq!(take_told(), [], "a minor is no new major");
    let sunset = paid_with(json!({"version": "1.4", "sunset_at": "2027-06-01T00:00:00Z"}));
    put(&api, ADMIN, "conversion.created", sunset).await.expect(200);
    assert_eq!(take_told(), []);

    let second = json!({"version": "2.0"});
    put(&api, ADMIN, "conversion.created", second.clone()).await.expect(200);
    let told = take_told();
    assert_eq!(told.len(), 2, "{told:?}");
    for ((tenant, data), (expected, webhook)) in told.iter().zip(["acme", "other"].into_iter().zip(&pinned)) {
        assert_eq!(tenant, expected);
        assert_eq!((text(data, "type"), text(data, "version")), ("conversion.created", "2.0"));
        assert_eq!((&data["pinned_webhooks"], &data["webhook_ids"]), (&json!(1), &json!([webhook])));
        assert_eq!(data["majors"][0], json!({"version": "1.4", "sunset_at": "2027-06-01T00:00:00.000Z"}));
    }
    put(&api, ADMIN, "conversion.created", second).await.expect(200);
    assert_eq!(take_told(), [], "the same again is nothing new");

    let third = json!({"version": "3.0"});
    put(&api, &keys[1], "conversion.created", third).await.expect(201);
    let told = take_told();
    assert_eq!((told.len(), told[0].0.as_str(), &told[0].1["pinned_webhooks"]), (1, "other", &json!(2)));
}
