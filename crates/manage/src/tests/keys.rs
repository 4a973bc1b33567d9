//! Keys: made once, shown once, and gone when they are revoked.

use std::time::Duration;

use serde_json::json;

use super::fixture::{ADMIN, Api, text};
use crate::ManageLimits;

#[tokio::test]
async fn a_keys_text_is_shown_once_and_never_stored() {
    let api = Api::start().await;
    api.tenant("acme", "standard").await;
    let body = json!({"name": "ci", "scopes": ["read"], "expires_at": "2027-01-01T00:00:00Z"});
    let answer = api.call(ADMIN, "POST", "/v1/tenants/acme/keys", Some(body)).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let made = answer.expect(201);
    let key = text(&made, "key").to_owned();
    assert!(key.starts_with(text(&made, "hint").trim_end_matches('…')));
    assert_eq!(made["scopes"], json!(["read"]));
    let list = api.call(ADMIN, "GET", "/v1/tenants/acme/keys", None).await;
    assert!(!list.text.contains(&key));
    assert!(!list.text.contains("hash"));
    let listed = &list.expect(200)["data"][0];
    assert_eq!(text(listed, "id"), text(&made, "id"));
    assert_eq!(text(listed, "expires_at"), "2027-01-01T00:00:00.000Z");
    for record in api.records().await {
        let document = record.document.unwrap_or_default();
        assert!(!String::from_utf8_lossy(&document).contains(&key));
    }
}

#[tokio::test]
async fn a_revoked_or_expired_key_is_refused_at_once() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let id = text(&api.call(ADMIN, "GET", "/v1/tenants/acme/keys", None).await.expect(200)["data"][0], "id")
        .to_owned();
    api.call(&key, "GET", "/v1/webhooks", None).await.expect(200);
    api.call(ADMIN, "DELETE", &format!("/v1/tenants/acme/keys/{id}"), None).await.expect(204);
    api.call(&key, "GET", "/v1/webhooks", None).await.expect(401);
    api.call(ADMIN, "DELETE", &format!("/v1/tenants/acme/keys/{id}"), None).await.expect(404);

    let body = json!({"name": "short", "scopes": ["read"], "expires_at": "2026-11-21T10:30:00Z"});
    let made = api.call(ADMIN, "POST", "/v1/tenants/acme/keys", Some(body)).await.expect(201);
    api.call(text(&made, "key"), "GET", "/v1/webhooks", None).await.expect(200);
    api.clock.advance(Duration::from_secs(3600));
    api.call(text(&made, "key"), "GET", "/v1/webhooks", None).await.expect(401);
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_its_field() {
    let api = Api::start().await;
    api.tenant("acme", "standard").await;
    for (body, pointer) in [
        (json!({"name": "k", "scopes": []}), "/scopes"),
        (json!({"name": "k", "scopes": ["admin"]}), "/scopes/0"),
        (json!({"name": " ", "scopes": ["read"]}), "/name"),
        (json!({"name": "k", "scopes": ["read"], "expires_at": "soon"}), "/expires_at"),
        (json!({"name": "k", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}), "/expires_at"),
        (json!({"name": "k", "scopes": ["read"], "key": "prk_mine"}), "/key"),
    ] {
        let answer = api.call(ADMIN, "POST", "/v1/tenants/acme/keys", Some(body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec![pointer.to_owned()]), "{body}");
    }
    let body = json!({"name": "k", "scopes": ["read"]});
    api.call(ADMIN, "POST", "/v1/tenants/nobody/keys", Some(body)).await.expect(404);
}

#[tokio::test]
async fn a_tenant_has_at_most_so_many_keys() {
    let api = Api::start_with(ManageLimits { keys_per_tenant: 2, ..ManageLimits::default() }).await;
    api.tenant_with_key("acme", "standard").await;
    api.key("acme", &["read"]).await;
    let body = json!({"name": "k", "scopes": ["read"]});
    api.call(ADMIN, "POST", "/v1/tenants/acme/keys", Some(body)).await.expect(409);
}
