//! What a newer version wrote, while versions are replaced one process at a time.

use postrider_contract::ports::{ConfigStore, Expected};
use postrider_contract::profile::{Profile, builtin_profiles};
use postrider_service::config_object::{ConfigObject, StoredProfile};
use serde_json::{Value, json};

use super::fixture::{ADMIN, Api};

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
