//! Who may call what: every route against every kind of key, and every id against another tenant's key.

use std::collections::BTreeSet;

use serde_json::json;

use super::fixture::{ADMIN, Api, text};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Needs {
    Admin,
    Read,
    /// Read, or the admin key without a tenant.
    ReadOrAdmin,
    Manage,
    /// Manage, or the admin key without a tenant.
    ManageOrAdmin,
}

const ROUTES: &[(&str, &str, Needs)] = &[
    ("POST", "/v1/tenants", Needs::Admin),
    ("GET", "/v1/tenants", Needs::Admin),
    ("GET", "/v1/tenants/{id}", Needs::Admin),
    ("PATCH", "/v1/tenants/{id}", Needs::Admin),
    ("DELETE", "/v1/tenants/{id}", Needs::Admin),
    ("POST", "/v1/tenants/{id}/keys", Needs::Admin),
    ("GET", "/v1/tenants/{id}/keys", Needs::Admin),
    ("DELETE", "/v1/tenants/{id}/keys/{key}", Needs::Admin),
    ("POST", "/v1/webhooks", Needs::Manage),
    ("GET", "/v1/webhooks", Needs::Read),
    ("GET", "/v1/webhooks/{id}", Needs::Read),
    ("PATCH", "/v1/webhooks/{id}", Needs::Manage),
    ("PUT", "/v1/webhooks/{id}", Needs::Manage),
    ("DELETE", "/v1/webhooks/{id}", Needs::Manage),
    ("POST", "/v1/webhooks/{id}/rotate", Needs::Manage),
    ("POST", "/v1/webhooks/{id}/pause", Needs::Manage),
    ("POST", "/v1/webhooks/{id}/resume", Needs::Manage),
    ("POST", "/v1/webhooks/{id}/test", Needs::Manage),
    ("GET", "/v1/profiles", Needs::ReadOrAdmin),
    ("GET", "/v1/profiles/{name}", Needs::ReadOrAdmin),
    ("PUT", "/v1/profiles/{name}", Needs::Admin),
    ("DELETE", "/v1/profiles/{name}", Needs::Admin),
    ("GET", "/v1/event-types", Needs::ReadOrAdmin),
    ("GET", "/v1/event-types/{type}", Needs::ReadOrAdmin),
    ("PUT", "/v1/event-types/{type}", Needs::ManageOrAdmin),
    ("DELETE", "/v1/event-types/{type}", Needs::ManageOrAdmin),
    ("GET", "/v1/egress", Needs::ReadOrAdmin),
];

#[tokio::test]
async fn every_described_route_has_an_entry_here() {
    let api = Api::start().await;
    let openapi: serde_json::Value = serde_json::from_str(&api.openapi).expect("JSON");
    let mut described = BTreeSet::new();
    for (path, item) in openapi["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("an item").keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let listed: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, listed);
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say_and_nothing_else() {
    let api = Api::start().await;
    api.tenant("acme", "trcker").await;
    for (scope, key) in [
        ("publish", api.key("acme", &["publish"]).await),
        ("read", api.key("acme", &["read"]).await),
        ("manage", api.key("acme", &["manage"]).await),
    ] {
        for (method, path, needs) in ROUTES {
            let may = match needs {
                Needs::Admin => false,
                Needs::Read | Needs::ReadOrAdmin => scope == "read",
                Needs::Manage | Needs::ManageOrAdmin => scope == "manage",
            };
            // A body that is refused: no call of this test changes anything.
            let body = (*method != "GET").then(|| json!({"no_such_member": 1}));
            let answer = api.call(&key, method, &unknown_ids(path), body).await;
            assert_eq!(answer.status.as_u16() == 403, !may, "{scope} {method} {path}: {}", answer.text);
            assert_ne!(answer.status.as_u16(), 401, "{scope} {method} {path}");
        }
    }
}

#[tokio::test]
async fn without_a_valid_key_no_route_answers_and_all_of_them_answer_alike() {
    let api = Api::start().await;
    let mut bodies = BTreeSet::new();
    for (method, path, _) in ROUTES {
        for key in ["", "nonsense", "prk_000000000000000000000000000000000000000000000000ffffffff"] {
            let answer = api.call(key, method, &unknown_ids(path), Some(json!({"no_such_member": 1}))).await;
            assert_eq!(answer.status.as_u16(), 401, "{method} {path}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            bodies.insert(answer.text);
        }
    }
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn the_admin_key_acts_for_the_tenant_it_names() {
    let api = Api::start().await;
    api.tenant("acme", "standard").await;
    for (method, path, needs) in ROUTES {
        let path = unknown_ids(path);
        let body = (*method != "GET").then(|| json!({"no_such_member": 1}));
        let alone = api.call(ADMIN, method, &path, body.clone()).await;
        let needs_tenant = matches!(needs, Needs::Read | Needs::Manage);
        assert_eq!(alone.status.as_u16() == 400, needs_tenant, "{method} {path}: {}", alone.text);
        let named = api.call(&format!("{ADMIN} acme"), method, &path, body.clone()).await;
        assert!(![400, 401, 403].contains(&named.status.as_u16()), "{method} {path}: {}", named.text);
        if needs_tenant {
            let foreign = api.call(&format!("{ADMIN} nobody"), method, &path, body).await;
            assert_eq!(foreign.status.as_u16(), 404, "{method} {path}: {}", foreign.text);
        }
    }
}

#[tokio::test]
async fn unknown_foreign_and_deleted_ids_answer_alike_and_nothing_changes() {
    let api = Api::start().await;
    let ours = api.tenant_with_key("ours", "standard").await;
    let theirs = api.tenant_with_key("theirs", "standard").await;
    let foreign = text(&api.webhook(&theirs, json!({})).await, "id").to_owned();
    let deleted = text(&api.webhook(&ours, json!({})).await, "id").to_owned();
    api.call(&ours, "DELETE", &format!("/v1/webhooks/{deleted}"), None).await.expect(204);
    let before = api.records().await;
    let mut bodies = BTreeSet::new();
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| path.starts_with("/v1/webhooks/{id}")) {
        for id in [foreign.as_str(), &deleted, "wh_00000000000000000000000000", "wh_1", "..%2F..", "%ff"] {
            let body = (*method != "GET" && *method != "DELETE").then(|| json!({}));
            let answer = api.call(&ours, method, &path.replace("{id}", id), body).await;
            assert_eq!(answer.status.as_u16(), 404, "{method} {path} {id}: {}", answer.text);
            bodies.insert(answer.text);
        }
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(api.records().await, before);
    assert!(api.intake.0.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_list_shows_its_own_tenants_things_and_takes_no_other_lists_cursor() {
    let api = Api::start().await;
    let ours = api.tenant_with_key("ours", "standard").await;
    let theirs = api.tenant_with_key("theirs", "standard").await;
    for number in 0..3 {
        api.clock.advance(std::time::Duration::from_millis(5));
        api.webhook(&ours, json!({"name": format!("ours {number}")})).await;
        api.webhook(&theirs, json!({"name": "theirs"})).await;
    }
    let first = api.call(&ours, "GET", "/v1/webhooks?limit=2", None).await.expect(200);
    let names: Vec<_> =
        first["data"].as_array().expect("a list").iter().map(|one| text(one, "name")).collect();
    assert_eq!(names, ["ours 2", "ours 1"]);
    let cursor = text(&first, "next_cursor");
    let rest =
        api.call(&ours, "GET", &format!("/v1/webhooks?limit=2&cursor={cursor}"), None).await.expect(200);
    assert_eq!(rest["data"].as_array().expect("a list").len(), 1);
    assert!(rest["next_cursor"].is_null());
    api.call(&theirs, "GET", &format!("/v1/webhooks?cursor={cursor}"), None).await.expect(400);
    api.call(&ours, "GET", &format!("/v1/event-types?cursor={cursor}"), None).await.expect(400);
}

fn unknown_ids(path: &str) -> String {
    let id = if path.starts_with("/v1/webhooks") { "wh_00000000000000000000000000" } else { "nobody" };
    path.replace("{id}", id)
        .replace("{key}", "key_00000000000000000000000000")
        .replace("{name}", "no-such-profile")
        .replace("{type}", "no.such.type")
}
