//! What webhooks keep secret: by whose rule it comes, when it is shown, how it is rotated, how it is stored.

use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::ids::TenantId;
use postrider_contract::webhook::{Authentication, Webhook};
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};
use serde_json::{Value, json};

use super::fixture::{Api, text, webhook_body};

const GIVEN: &str = "a-secret-of-the-subscribers-own-making";

fn stored(api: &Api, shown: &Value) -> Webhook {
    let id = text(shown, "id").parse().expect("an id");
    api.directory.webhook(id).known().expect("known").webhook.clone()
}

/// What would sign now, newest first.
fn signing(api: &Api, shown: &Value) -> Vec<String> {
    let webhook = stored(api, shown);
    let tenant: TenantId = webhook.tenant.clone();
    let secrets = WebhookSecrets::new(&api.secret_box, &tenant, webhook.id);
    let open = |sealed| secrets.open(SecretPlace::Signing, sealed).expect("opens").reveal().to_owned();
    webhook.secrets.active(api.clock.now()).map(open).collect()
}

#[tokio::test]
async fn a_generated_secret_is_shown_in_the_answer_that_made_it_and_never_again() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let answer = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({})))).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let made = answer.expect(201);
    let secret = text(&made, "secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    assert!(secret.ends_with(text(&made, "secret_hint")));
    assert_eq!(signing(&api, &made), [secret.as_str()]);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    for (method, path, body) in [
        ("GET", path.clone(), None),
        ("GET", "/v1/webhooks".to_owned(), None),
        ("PATCH", path.clone(), Some(json!({"description": "x"}))),
        ("PUT", path.clone(), Some(json!({"status": "paused"}))),
        ("POST", format!("{path}/pause"), None),
        ("POST", format!("{path}/resume"), None),
    ] {
        let answer = api.call(&key, method, &path, body).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
        assert!(!answer.text.contains(&secret), "{method} {path}");
    }
    for record in api.records().await {
        assert!(!String::from_utf8_lossy(&record.document.unwrap_or_default()).contains(&secret));
    }
}

#[tokio::test]
async fn each_profile_has_its_own_rule_for_an_absent_and_a_given_secret() {
    let api = Api::start().await;
    for (profile, is_made) in
        [("trcker", false), ("trackdesk", false), ("trakkr", false), ("track360", true), ("tracktile", true)]
    {
        let key = api.tenant_with_key(profile, profile).await;
        let absent = api.webhook(&key, json!({})).await;
        assert_eq!(absent.get("secret").is_some(), is_made, "{profile}");
        assert_eq!(signing(&api, &absent).len(), usize::from(is_made), "{profile}");
        let body = webhook_body(json!({"secret": ""}));
        assert_eq!(
            api.call(&key, "POST", "/v1/webhooks", Some(body)).await.pointers(),
            ["/secret"],
            "{profile}"
        );
    }
    let key = api.key("trcker", &["manage"]).await;
    let given = api.webhook(&key, json!({"signing_secret": GIVEN})).await;
    assert!(given.get("secret").is_none(), "what the subscriber knows is not told again");
    assert_eq!(signing(&api, &given), [GIVEN]);
    for (profile, secret) in [("track360", "short"), ("trcker", "")] {
        let key = api.key(profile, &["manage"]).await;
        let body = webhook_body(json!({"secret": secret}));
        assert_eq!(
            api.call(&key, "POST", "/v1/webhooks", Some(body)).await.pointers(),
            ["/secret"],
            "{profile}"
        );
    }
}

#[tokio::test]
async fn an_imported_standard_secret_is_canonical_base64() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(signing(&api, &api.webhook(&key, json!({"secret": good})).await), [good]);
    for bad in ["whsec_", "whsec_not base64!", "whsec_MfKQ", "whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", GIVEN]
    {
        let answer = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({"secret": bad})))).await;
        assert_eq!(answer.pointers(), ["/secret"], "{bad}");
        assert!(
            !answer.text.contains(bad.trim_start_matches("whsec_")) || bad == "whsec_",
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_secret_is_removed_only_where_requests_may_go_unsigned() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let webhook = api.webhook(&key, json!({"secret": GIVEN})).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let after = api.call(&key, "PATCH", &path, Some(json!({"secret": null}))).await.expect(200);
    assert!(after.get("secret_hint").is_none());
    assert!(signing(&api, &webhook).is_empty());
    let other = api.tenant_with_key("other", "standard").await;
    let webhook = api.webhook(&other, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let answer = api.call(&other, "PATCH", &path, Some(json!({"secret": null}))).await;
    assert_eq!(answer.pointers(), ["/secret"]);
}

#[tokio::test]
async fn a_rotation_ends_the_old_secret_at_once_or_after_the_overlap() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let webhook = api.webhook(&key, json!({})).await;
    let rotate = format!("/v1/webhooks/{}/rotate", text(&webhook, "id"));
    let first = text(&webhook, "secret").to_owned();

    let answer = api.call(&key, "POST", &rotate, Some(json!({"overlap_seconds": 60}))).await.expect(200);
    let second = text(&answer, "secret").to_owned();
    assert_eq!(signing(&api, &webhook), [second.clone(), first]);
    api.clock.advance(Duration::from_secs(60));
    assert_eq!(signing(&api, &webhook), [second.as_str()]);

    let answer = api.call(&key, "POST", &rotate, None).await.expect(200);
    assert_eq!(signing(&api, &webhook), [text(&answer, "secret")]);
    assert_ne!(text(&answer, "secret"), second);
}

#[tokio::test]
async fn no_more_than_three_secrets_sign_at_once() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let webhook = api.webhook(&key, json!({})).await;
    let rotate = format!("/v1/webhooks/{}/rotate", text(&webhook, "id"));
    let overlap = json!({"overlap_seconds": 600});
    for _ in 0..2 {
        api.call(&key, "POST", &rotate, Some(overlap.clone())).await.expect(200);
    }
    assert_eq!(signing(&api, &webhook).len(), 3);
    api.call(&key, "POST", &rotate, Some(overlap)).await.expect(409);
    api.call(&key, "POST", &rotate, Some(json!({}))).await.expect(200);
    assert_eq!(signing(&api, &webhook).len(), 1);
}

#[tokio::test]
async fn a_wrong_rotation_is_refused_and_changes_nothing() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "tracktile").await;
    let webhook = api.webhook(&key, json!({})).await;
    let before = signing(&api, &webhook);
    let rotate = format!("/v1/webhooks/{}/rotate", text(&webhook, "id"));
    for (body, pointer) in [
        (json!({"overlap_seconds": 60}), "/overlap_seconds"),
        (json!({"overlap_seconds": 604_801}), "/overlap_seconds"),
        (json!({"overlap_seconds": -1}), "/overlap_seconds"),
        (json!({"secret": ""}), "/secret"),
        (json!({"secret": 7}), "/secret"),
        (json!({"secrets": "x"}), "/secrets"),
    ] {
        let answer = api.call(&key, "POST", &rotate, Some(body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec![pointer.to_owned()]), "{body}");
    }
    assert_eq!(signing(&api, &webhook), before);
    let imported = api.call(&key, "POST", &rotate, Some(json!({"secret": GIVEN}))).await.expect(200);
    assert!(imported.get("secret").is_none());
    assert_eq!(signing(&api, &webhook), [GIVEN]);
}

#[tokio::test]
async fn credentials_are_sealed_kept_by_a_change_of_something_else_and_never_read_back() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let canary = "canary-7f3a";
    for (credentials, shown) in [
        (json!({"auth_type": "bearer", "auth_token": canary}), json!({"auth_type": "bearer"})),
        (
            json!({"auth_type": "basic", "auth_username": "jo", "auth_password": canary}),
            json!({"auth_type": "basic", "auth_username": "jo"}),
        ),
        (
            json!({"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": canary}),
            json!({"auth_type": "api_key", "api_key_header": "X-Key"}),
        ),
    ] {
        let webhook = api.webhook(&key, credentials).await;
        for (name, value) in shown.as_object().expect("an object") {
            assert_eq!(webhook[name], *value);
        }
        assert!(!webhook.to_string().contains(canary));
        let before = stored(&api, &webhook).authentication;
        let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
        let answer = api.call(&key, "PATCH", &path, Some(json!({"description": "x"}))).await;
        assert!(!answer.text.contains(canary));
        assert_eq!(stored(&api, &webhook).authentication, before);
        let none = api.call(&key, "PATCH", &path, Some(json!({"auth_type": "none"}))).await.expect(200);
        assert_eq!(text(&none, "auth_type"), "none");
        assert_eq!(stored(&api, &webhook).authentication, Authentication::None);
    }
    for record in api.records().await {
        assert!(!String::from_utf8_lossy(&record.document.unwrap_or_default()).contains(canary));
    }
}
