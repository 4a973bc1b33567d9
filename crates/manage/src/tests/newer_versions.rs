//! What a newer version wrote, while versions are replaced one process at a time.

use postrider_contract::ports::{ConfigKey, ConfigStore, ConfigWrite, Expected};
use postrider_contract::profile::{Profile, builtin_profiles};
use postrider_service::config_object::{ConfigObject, StoredProfile, tenant_key, webhook_key};
use serde_json::{Value, json};

use super::fixture::{ADMIN, Api, text};

async fn document(api: &Api, key: &ConfigKey) -> String {
    let record = api.store.read(key).await.expect("answers").expect("a document");
    String::from_utf8(record.document.expect("not deleted").to_vec()).expect("UTF-8")
}

/// Stores the document as `change` makes it.
async fn write(api: &Api, key: &ConfigKey, change: impl FnOnce(String) -> String) {
    let revision = api.store.read(key).await.expect("answers").expect("a document").revision;
    let document = Some(change(document(api, key).await).into());
    let write = ConfigWrite { key: key.clone(), expected: Expected::At(revision), document };
    api.store.write(vec![write]).await.expect("nobody else writes");
    api.directory.refresh().await.expect("answers");
}

#[tokio::test]
async fn a_change_keeps_what_a_newer_version_wrote_and_this_one_does_not_know() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let made = api.webhook(&key, json!({"timeout_ms": 2000, "metadata": {"team": "blue"}})).await;
    let tenant = "acme".parse().expect("an id");
    let of_webhook = webhook_key(&tenant, text(&made, "id").parse().expect("an id"));
    write(&api, &of_webhook, |before| {
        let inner = before.replacen(r#""overrides":{"#, r#""overrides":{"newer_limit":1e400,"#, 1);
        inner.replacen('{', r#"{"newer":[12345678901234567890123.50],"#, 1)
    })
    .await;
    let of_tenant = tenant_key(&tenant);
    write(&api, &of_tenant, |before| before.replacen('{', r#"{"newer":{"a":1},"#, 1)).await;

    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let change = json!({"description": "changed", "timeout_ms": 3000, "metadata": {}});
    api.call(&key, "PATCH", &path, Some(change)).await.expect(200);
    let rotated = api.call(&key, "POST", &format!("{path}/rotate"), None).await.expect(200);
    assert!(rotated["secret"].is_string());
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"name": "Acme & Co"}))).await.expect(200);

    let after = document(&api, &of_webhook).await;
    assert!(after.contains(r#""newer":[12345678901234567890123.50]"#), "{after}");
    assert!(after.contains(r#""newer_limit":1e400"#), "{after}");
    assert!(after.contains("changed") && !after.contains("blue"), "{after}");
    let after = document(&api, &of_tenant).await;
    assert!(after.contains(r#""newer":{"a":1}"#) && after.contains("Acme & Co"), "{after}");
}

/// An operator had the name before there was a built-in profile of it.
#[tokio::test]
async fn a_profile_that_had_its_name_before_a_built_in_one_came_stays_the_operators_until_it_is_deleted() {
    let api = Api::start().await;
    let name = builtin_profiles().last().expect("some").name().as_str();
    let form = json!({
        "name": name, "description": "ours", "envelope": {"body": "{\"own\":${event.data}}"},
        "retry": {"waits": ["7s"]},
    });
    let profile: Profile = serde_json::from_value(form.clone()).expect("a form");
    let stored = StoredProfile::Offered(profile);
    api.store.write(vec![stored.write(Expected::Absent)]).await.expect("nobody else writes");
    api.directory.refresh().await.expect("answers");

    let path = format!("/v1/profiles/{name}");
    let shown = api.call(ADMIN, "GET", &path, None).await.expect(200);
    assert_eq!((&shown["description"], &shown["builtin"]), (&json!("ours"), &json!(false)));
    let key = api.tenant_with_key("acme", name).await;
    api.webhook(&key, json!({})).await;
    let mut changed = form;
    changed["retry"] = json!({"waits": ["8s"]});
    api.call(ADMIN, "PUT", &path, Some(changed)).await.expect(200);
    api.call(ADMIN, "DELETE", &path, None).await.expect(409);
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "trakkr"}))).await.expect(200);
    api.call(ADMIN, "DELETE", &path, None).await.expect(204);

    let shown: Value = api.call(ADMIN, "GET", &path, None).await.expect(200);
    assert_eq!((&shown["builtin"], &shown["revision"]), (&json!(true), &json!(0)));
    api.call(ADMIN, "DELETE", &path, None).await.expect(409);
}
