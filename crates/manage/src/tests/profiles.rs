//! Profiles of an installation's own: who may write them, what they must be, and whom a change concerns.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::Request;
use postrider_contract::ports::{ConfigKey, ConfigKind, ConfigStore, ConfigWrite, Expected};
use postrider_contract::profile::Profile;
use serde_json::{Value, json};

use super::fixture::{ADMIN, Answer, Api, text};
use crate::put_at_start;

const TOML: &str = r#"
description = "Acme's own"

[envelope]
body = '{"kind":${event.type},"data":${event.data}}'

[signature]
header = "X-Acme-Signature"
header_configurable = true
signs = "${body}"
encoding = "hex"

[secret]
origin = "optional"

[retry]
waits = ["1s", "2m"]
"#;

fn form() -> Value {
    json!({
        "description": "Acme's own",
        "envelope": {"body": "{\"kind\":${event.type},\"data\":${event.data}}"},
        "signature": {"header": "X-Acme-Signature", "header_configurable": true, "signs": "${body}", "encoding": "hex"},
        "secret": {"origin": "optional"},
        "retry": {"waits": ["1s", "2m"]},
    })
}

/// The form with these members on top.
fn form_with(more: Value) -> Value {
    let mut form = form();
    form.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    form
}

async fn put(api: &Api, name: &str, form: Value) -> Answer {
    api.call(ADMIN, "PUT", &format!("/v1/profiles/{name}"), Some(form)).await
}

async fn put_toml(api: &Api, name: &str, form: &str) -> Answer {
    let request = Request::put(format!("/v1/profiles/{name}"))
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("content-type", "application/toml");
    api.send(request.body(Body::from(form.to_owned())).expect("a request")).await
}

async fn if_match(api: &Api, method: &str, name: &str, revision: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/profiles/{name}"))
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("content-type", "application/json")
        .header("if-match", format!("\"{revision}\""));
    let body = if method == "PUT" { form_with(json!({"version": 9})).to_string() } else { String::new() };
    api.send(request.body(Body::from(body)).expect("a request")).await
}

#[tokio::test]
async fn a_profile_is_written_in_json_or_toml_and_read_back_whole() {
    let api = Api::start().await;
    let made = put(&api, "acme", form()).await;
    assert_eq!(made.headers["etag"], "\"1\"");
    let made = made.expect(201);
    assert_eq!(
        (text(&made, "name"), &made["object"], &made["builtin"], &made["revision"]),
        ("acme", &json!("profile"), &json!(false), &json!(1))
    );
    assert_eq!(
        made["request"]["user_agent"], "Postrider/${postrider.version}",
        "what is left out is filled in"
    );
    // The same in the other form costs no revision.
    assert_eq!(put_toml(&api, "acme", TOML).await.expect(200), made);
    assert_eq!(api.revision().await, 1);
    let read = api.call(ADMIN, "GET", "/v1/profiles/acme", None).await;
    assert_eq!(read.headers["etag"], "\"1\"");
    assert_eq!(read.expect(200), made);
    let listed = api.call(ADMIN, "GET", "/v1/profiles?limit=1", None).await.expect(200);
    assert_eq!(listed["data"], json!([made]));
    let changed = put(&api, "acme", form_with(json!({"name": "acme", "version": 2}))).await.expect(200);
    assert_eq!((&changed["version"], &changed["revision"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn only_the_admin_key_writes_profiles() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    for (method, body) in [("PUT", Some(form())), ("DELETE", None)] {
        api.call(&key, method, "/v1/profiles/own", body.clone()).await.expect(403);
        api.call("pk_unknown", method, "/v1/profiles/own", body).await.expect(401);
    }
    put(&api, "own", form()).await.expect(201);
    api.call(&key, "GET", "/v1/profiles/own", None).await.expect(200);
}

#[tokio::test]
async fn a_built_in_profile_is_never_changed_and_never_deleted() {
    let api = Api::start().await;
    for profile in postrider_contract::profile::builtin_profiles() {
        let name = profile.name().as_str();
        let refused = put(&api, name, form()).await.expect(409);
        assert!(text(&refused, "detail").contains("copy it"), "{refused}");
        api.call(ADMIN, "DELETE", &format!("/v1/profiles/{name}"), None).await.expect(409);
        let copy = serde_json::to_value(profile.definition()).expect("JSON");
        let mut copy = copy.as_object().cloned().expect("an object");
        copy.remove("name");
        put(&api, &format!("{name}-copy"), Value::Object(copy)).await.expect(201);
    }
}

#[tokio::test]
async fn a_wrong_form_is_refused_by_its_place_and_leaves_nothing() {
    let api = Api::start().await;
    for (form, pointer) in [
        (form_with(json!({"nmae": 1})), "/nmae"),
        (form_with(json!({"name": "other"})), "/name"),
        (form_with(json!({"name": "No Name"})), "/name"),
        (form_with(json!({"retry": {"waits": ["25h"]}})), "/retry/waits"),
        (form_with(json!({"retry": {"waits": ["1s", 5]}})), "/retry/waits/1"),
        (form_with(json!({"envelope": {"body": "{${event.data}"}})), "/envelope/body"),
        (form_with(json!({"secret": null})), "/secret"),
        (form_with(json!({"catalogue": "nothing"})), "/catalogue"),
        (
            form_with(json!({"request": {"headers": [{"name": "Host", "value": "x"}]}})),
            "/request/headers/0/name",
        ),
        (json!({}), ""),
        (json!([]), ""),
    ] {
        let answer = put(&api, "own", form.clone()).await;
        assert_eq!(answer.status.as_u16(), 422, "{form}: {}", answer.text);
        assert_eq!(answer.pointers(), [pointer], "{form}: {}", answer.text);
    }
    let toml = put_toml(&api, "own", &TOML.replace("encoding = \"hex\"", "encoding = \"hexx\"")).await;
    assert_eq!(toml.pointers(), ["/signature/encoding"]);
    assert!(toml.text.contains("line 11, column 12"), "{}", toml.text);
    put_toml(&api, "own", "name = ").await.expect(422);
    for name in ["Own", "0wn", "a_b", &"x".repeat(65)] {
        put(&api, name, form()).await.expect(404);
    }
    assert_eq!(api.revision().await, 0);
}

#[tokio::test]
async fn a_precondition_holds_for_change_and_deletion() {
    let api = Api::start().await;
    if_match(&api, "PUT", "own", &json!(1)).await.expect(412);
    let made = put(&api, "own", form()).await.expect(201);
    for method in ["PUT", "DELETE"] {
        if_match(&api, method, "own", &json!(99)).await.expect(412);
    }
    let changed = if_match(&api, "PUT", "own", &made["revision"]).await.expect(200);
    if_match(&api, "DELETE", "own", &made["revision"]).await.expect(412);
    if_match(&api, "DELETE", "own", &changed["revision"]).await.expect(204);
    if_match(&api, "PUT", "own", &changed["revision"]).await.expect(412);
}

#[tokio::test]
async fn a_profile_in_use_is_not_deleted_and_one_that_was_may_come_again() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    let path = "/v1/profiles/own";
    let key = api.tenant_with_key("acme", "own").await;
    let used = api.call(ADMIN, "DELETE", path, None).await.expect(409);
    assert!(text(&used, "detail").contains("tenant acme"), "{used}");
    let webhook = api.webhook(&key, json!({"profile": "own"})).await;
    let other = json!({"profile": "standard"});
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(other.clone())).await.expect(200);
    let used = api.call(ADMIN, "DELETE", path, None).await.expect(409);
    assert!(text(&used, "detail").contains(text(&webhook, "id")), "{used}");
    let webhook = format!("/v1/webhooks/{}", text(&webhook, "id"));
    api.call(&key, "DELETE", &webhook, None).await.expect(204);
    api.call(ADMIN, "DELETE", path, None).await.expect(204);

    api.call(ADMIN, "GET", path, None).await.expect(404);
    api.call(ADMIN, "DELETE", path, None).await.expect(404);
    let listed = api.call(ADMIN, "GET", "/v1/profiles", None).await.expect(200);
    assert!(listed["data"].as_array().expect("a list").iter().all(|one| text(one, "name") != "own"));
    let answer = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "own"}))).await;
    assert_eq!(answer.pointers(), ["/profile"]);
    put(&api, "own", form()).await.expect(201);
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "own"}))).await.expect(200);
}

#[tokio::test]
async fn whoever_chose_a_profile_in_the_moment_of_its_deletion_goes_on_with_it() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    let key = api.tenant_with_key("acme", "own").await;
    let id = text(&api.webhook(&key, json!({})).await, "id").to_owned();
    // As another process leaves it that has not seen the tenant's choice.
    let form = serde_json::from_value(form_with(json!({"name": "own"}))).expect("a form");
    let gone = postrider_service::config_object::StoredProfile::Withdrawn { withdrawn: form };
    let key_of = postrider_service::config_object::ConfigObject::key(&gone);
    let before = postrider_contract::ports::ConfigStore::read(&*api.store, &key_of).await.expect("answers");
    let expected = postrider_contract::ports::Expected::At(before.expect("a profile").revision);
    let write = postrider_service::config_object::ConfigObject::write(&gone, expected);
    postrider_contract::ports::ConfigStore::write(&*api.store, vec![write]).await.expect("written");
    api.directory.refresh().await.expect("answers");

    api.call(ADMIN, "GET", "/v1/profiles/own", None).await.expect(404);
    let entry = api.directory.webhook(id.parse().expect("an id")).known().expect("still known");
    assert_eq!(entry.profile.profile.name().as_str(), "own");
    let change = json!({"description": "still mine"});
    api.call(&key, "PATCH", &format!("/v1/webhooks/{id}"), Some(change)).await.expect(200);
}

#[tokio::test]
async fn a_change_that_a_webhook_would_not_fit_is_refused_by_its_name() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    let key = api.tenant_with_key("acme", "own").await;
    let by_tenant = api.webhook(&key, json!({"headers": {"X-Team": "blue"}})).await;
    let other = api.tenant_with_key("other", "standard").await;
    let by_choice =
        api.webhook(&other, json!({"profile": "own", "signature_header": "X-Signed", "secret": "s"}));
    let by_choice = by_choice.await;
    api.webhook(&other, json!({"headers": {"X-Fine": "1"}, "signature_header": null})).await;

    let header = |name: &str| json!({"request": {"headers": [{"name": name, "value": "${event.type}"}]}});
    for (more, webhook) in [
        (header("x-team"), &by_tenant),
        (header("X-Signed"), &by_choice),
        (json!({"secret": {"origin": "required"}}), &by_tenant),
    ] {
        let before = api.revision().await;
        let answer = put(&api, "own", form_with(more.clone())).await;
        assert_eq!(answer.status.as_u16(), 422, "{more}: {}", answer.text);
        assert!(answer.text.contains(text(webhook, "id")), "{more}: {}", answer.text);
        assert_eq!(api.revision().await, before);
    }
    put(&api, "own", form_with(header("X-Fine"))).await.expect(200);
}

#[tokio::test]
async fn a_tenant_and_a_webhook_choose_a_profile_of_ones_own_with_what_they_want_differently() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    put(
        &api,
        "strict",
        form_with(json!({"signature": {"header": "X-S", "signs": "${body}", "encoding": "hex"}})),
    )
    .await
    .expect(201);
    let key = api.tenant_with_key("acme", "standard").await;
    let overrides = json!({
        "profile": "own", "signature_header": "X-Signed", "timeout_ms": 2500, "retry": {"waits": ["1s"]}, "secret": "s",
    });
    let made = api.webhook(&key, overrides).await;
    assert_eq!((text(&made, "profile"), text(&made, "signature_header")), ("own", "X-Signed"));
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let refused = api.call(&key, "PATCH", &path, Some(json!({"profile": "strict"}))).await;
    assert_eq!(refused.pointers(), ["/signature_header"]);
    let moved = json!({"profile": "strict", "signature_header": null});
    api.call(&key, "PATCH", &path, Some(moved)).await.expect(200);
    api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "own"}))).await.expect(200);
    let cleared = api.call(&key, "PATCH", &path, Some(json!({"profile": null}))).await.expect(200);
    assert!(cleared["profile"].is_null());
}

#[tokio::test]
async fn a_put_that_loses_a_race_is_made_again_and_gives_up_in_the_end() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    api.store.races.store(2, Ordering::SeqCst);
    put(&api, "own", form_with(json!({"version": 2}))).await.expect(200);
    api.store.races.store(1_000, Ordering::SeqCst);
    put(&api, "own", form_with(json!({"version": 3}))).await.expect(409);
    api.call(ADMIN, "DELETE", "/v1/profiles/own", None).await.expect(409);
    api.store.races.store(0, Ordering::SeqCst);
    let read = api.call(ADMIN, "GET", "/v1/profiles/own", None).await.expect(200);
    assert_eq!(read["version"], 2);
}

#[tokio::test]
async fn while_the_store_is_away_no_profile_changes() {
    let api = Api::start().await;
    put(&api, "own", form()).await.expect(201);
    api.outage.begin("the disk is full");
    put(&api, "own", form_with(json!({"version": 2}))).await.expect(503);
    api.call(ADMIN, "DELETE", "/v1/profiles/own", None).await.expect(503);
    api.outage.end();
    assert_eq!(api.call(ADMIN, "GET", "/v1/profiles/own", None).await.expect(200)["version"], 1);
}

/// Their documents stay, in every process's memory: whoever may write profiles could fill it with names.
#[tokio::test]
async fn profiles_that_were_deleted_count_among_those_there_may_be() {
    let api = Api::start().await;
    put(&api, "first", form()).await.expect(201);
    api.call(ADMIN, "DELETE", "/v1/profiles/first", None).await.expect(204);
    let key = |name: &str| ConfigKey { kind: ConfigKind::Profile, tenant: None, id: name.to_owned() };
    let withdrawn = api.store.read(&key("first")).await.expect("answers").expect("it stays").document;
    let others = (1..1_000).map(|number| ConfigWrite {
        key: key(&format!("old-{number}")),
        expected: Expected::Absent,
        document: withdrawn.clone(),
    });
    api.store.write(others.collect()).await.expect("nobody else writes");
    let refused = put(&api, "one-more", form()).await.expect(409);
    assert!(text(&refused, "detail").contains("those counted that were deleted"), "{refused}");
    put(&api, "first", form()).await.expect(201);
    put(&api, "first", form_with(json!({"version": 2}))).await.expect(200);
}

#[tokio::test]
async fn a_profile_that_is_put_at_a_start_wins_over_what_was_put_since_and_is_checked_as_any() {
    let api = Api::start().await;
    let named = |text: &str| Profile::from_toml(&format!("name = \"acme\"\n{text}")).expect("a profile");
    put_at_start(&api.state, named(TOML)).await.expect("it is put");
    put(&api, "acme", form_with(json!({"version": 2}))).await.expect(200);
    put_at_start(&api.state, named(TOML)).await.expect("it is put");
    let read = api.call(ADMIN, "GET", "/v1/profiles/acme", None).await.expect(200);
    assert_eq!((&read["version"], &read["revision"]), (&json!(1), &json!(3)));
    put_at_start(&api.state, named(TOML)).await.expect("it is put");
    assert_eq!(api.revision().await, 3, "what is there already is not written again");

    let key = api.tenant_with_key("acme", "acme").await;
    api.webhook(&key, json!({"headers": {"X-Mine": "1"}})).await;
    let owning =
        TOML.replace("[secret]", "[request]\nheaders = [{ name = \"X-Mine\", value = \"2\" }]\n[secret]");
    let refused = put_at_start(&api.state, named(&owning)).await.expect_err("a webhook would not fit");
    assert!(refused.detail().contains("would not fit it"), "{refused}");
    let builtin = Profile::from_toml(&format!("name = \"standard\"\n{TOML}")).expect("a profile");
    assert!(put_at_start(&api.state, builtin).await.is_err());
}
