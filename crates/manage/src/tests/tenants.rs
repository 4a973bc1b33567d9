//! Tenants, as the admin key keeps them.

use serde_json::json;

use super::fixture::{ADMIN, Api, NOW, text};

#[tokio::test]
async fn a_tenant_is_made_with_its_own_id_or_one_of_ours() {
    let api = Api::start().await;
    let own =
        api.call(ADMIN, "POST", "/v1/tenants", Some(json!({"id": "acme", "name": "Acme"}))).await.expect(201);
    assert_eq!(
        own,
        json!({
            "id": "acme", "object": "tenant", "name": "Acme", "website": null, "profile": "standard",
            "schema_check": "off", "revision": 1, "created_at": NOW, "updated_at": NOW,
        })
    );
    let body = json!({"name": "B", "profile": "trcker", "website": "https://b.example"});
    let made = api.call(ADMIN, "POST", "/v1/tenants", Some(body)).await.expect(201);
    assert!(text(&made, "id").starts_with("tnt_"));
    let read = api.call(ADMIN, "GET", &format!("/v1/tenants/{}", text(&made, "id")), None).await.expect(200);
    assert_eq!(read, made);
    let list = api.call(ADMIN, "GET", "/v1/tenants", None).await.expect(200);
    assert_eq!(list["data"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn a_wrong_tenant_is_refused_by_its_field_and_leaves_nothing() {
    let api = Api::start().await;
    for (body, pointer) in [
        (json!({"name": ""}), "/name"),
        (json!({"name": 7}), "/name"),
        (json!({}), ""),
        (json!({"name": "A", "id": "operator"}), "/id"),
        (json!({"name": "A", "id": "a.b"}), "/id"),
        (json!({"name": "A", "profile": "nowhere"}), "/profile"),
        (json!({"name": "A", "profile": "No Name"}), "/profile"),
        (json!({"name": "A", "website": "javascript:alert(1)"}), "/website"),
        (json!({"name": "A", "nmae": "B"}), "/nmae"),
    ] {
        let answer = api.call(ADMIN, "POST", "/v1/tenants", Some(body.clone())).await;
        assert_eq!(answer.status.as_u16(), 422, "{body}: {}", answer.text);
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    assert_eq!(api.revision().await, 0);
}

#[tokio::test]
async fn an_id_is_given_once_even_if_its_tenant_is_deleted() {
    let api = Api::start().await;
    api.tenant("acme", "standard").await;
    api.call(ADMIN, "POST", "/v1/tenants", Some(json!({"id": "acme", "name": "x"}))).await.expect(409);
    api.call(ADMIN, "DELETE", "/v1/tenants/acme", None).await.expect(204);
    api.call(ADMIN, "GET", "/v1/tenants/acme", None).await.expect(404);
    api.call(ADMIN, "DELETE", "/v1/tenants/acme", None).await.expect(404);
    api.call(ADMIN, "POST", "/v1/tenants", Some(json!({"id": "acme", "name": "x"}))).await.expect(409);
}

#[tokio::test]
async fn a_deleted_tenants_keys_stop_at_once() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    api.call(&key, "GET", "/v1/webhooks", None).await.expect(200);
    api.call(ADMIN, "DELETE", "/v1/tenants/acme", None).await.expect(204);
    api.call(&key, "GET", "/v1/webhooks", None).await.expect(401);
}

#[tokio::test]
async fn a_change_merges_and_costs_a_revision_only_if_it_is_one() {
    let api = Api::start().await;
    let before = api.tenant("acme", "standard").await;
    let same = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({}))).await.expect(200);
    assert_eq!(same, before);
    let body = json!({"website": "https://acme.example", "profile": "trcker"});
    let after = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(body)).await.expect(200);
    assert_eq!((text(&after, "name"), text(&after, "profile")), ("acme", "trcker"));
    let after =
        api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"website": null}))).await.expect(200);
    assert!(after["website"].is_null());
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"name": null}))).await.expect(422);
}

#[tokio::test]
async fn a_tenant_moves_to_a_profile_only_if_its_webhooks_fit_it() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let unsigned = text(&api.webhook(&key, json!({})).await, "id").to_owned();
    let change = json!({"profile": "standard"});
    let answer = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(change.clone())).await;
    assert_eq!(answer.pointers(), ["/profile"]);
    assert!(answer.text.contains(&unsigned), "{}", answer.text);
    let own = json!({"profile": "trcker"});
    api.call(&key, "PATCH", &format!("/v1/webhooks/{unsigned}"), Some(own)).await.expect(200);
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(change)).await.expect(200);
}
