//! Key pairs in place of secrets, signatures in the query, and old signatures that are called weak.

use std::time::Duration;

use postrider_contract::profile::{ProfileName, builtin_profile};
use postrider_contract::signature::SigningKey;
use serde_json::{Value, json};

use super::fixture::{ADMIN, Api, text};

const PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

#[tokio::test]
async fn of_a_key_pair_the_public_half_is_shown_at_any_time_and_the_private_half_never() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let webhook = api.webhook(&key, json!({})).await;
    assert!(webhook.get("public_keys").is_none());
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let rotate = format!("{path}/rotate");
    let moved = json!({"secret_type": "ed25519", "overlap_seconds": 60});
    let answer = api.call(&key, "POST", &rotate, Some(moved)).await.expect(200);
    assert!(answer.get("secret").is_none(), "nobody else needs the private half");
    let made = text(&json!({"key": answer["public_keys"][0]}), "key").to_owned();
    assert!(made.starts_with("whpk_"), "{made}");
    assert_eq!(answer["public_keys"], json!([made]));

    let imported = json!({"secret": PRIVATE, "overlap_seconds": 30});
    let answer = api.call(&key, "POST", &rotate, Some(imported)).await.expect(200);
    assert_eq!(answer["public_keys"], json!([PUBLIC, made]), "newest first");
    api.clock.advance(Duration::from_secs(30));
    let read = api.call(&key, "GET", &path, None).await;
    assert!(!read.text.contains("whsk_") && !read.text.contains(&PRIVATE[5..]), "{}", read.text);
    assert_eq!(read.expect(200)["public_keys"], json!([PUBLIC]), "what signs no more is not shown");
    for record in api.records().await {
        assert!(!String::from_utf8_lossy(&record.document.unwrap_or_default()).contains(&PRIVATE[5..]));
    }
    let back = api.call(&key, "POST", &rotate, Some(json!({"secret_type": "shared"}))).await.expect(200);
    assert!(back.get("public_keys").is_none() && text(&back, "secret").starts_with("whsec_"));
}

#[tokio::test]
async fn a_key_pair_is_refused_where_receivers_know_none_and_when_it_is_none() {
    let api = Api::start().await;
    let trcker = api.tenant_with_key("trcker", "trcker").await;
    let webhook = api.webhook(&trcker, json!({"secret": "a secret of the subscriber"})).await;
    let rotate = format!("/v1/webhooks/{}/rotate", text(&webhook, "id"));
    let answer = api.call(&trcker, "POST", &rotate, Some(json!({"secret_type": "ed25519"}))).await;
    assert_eq!(answer.pointers(), ["/secret_type"]);
    let standard = api.tenant_with_key("standard", "standard").await;
    let webhook = api.webhook(&standard, json!({"secret": PRIVATE})).await;
    assert_eq!(webhook["public_keys"], json!([PUBLIC]));
    let rotate = format!("/v1/webhooks/{}/rotate", text(&webhook, "id"));
    for (body, pointer) in [
        (json!({"secret_type": "rsa"}), "/secret_type"),
        (json!({"secret_type": "ed25519", "secret": PRIVATE}), "/secret_type"),
        (json!({"secret": PUBLIC}), "/secret"),
        (json!({"secret": "whsk_AAAA"}), "/secret"),
    ] {
        let answer = api.call(&standard, "POST", &rotate, Some(body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec![pointer.to_owned()]), "{body}");
    }
}

#[tokio::test]
async fn what_is_shown_as_public_is_the_half_of_what_signs() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let webhook = api.webhook(&key, json!({"secret": PRIVATE})).await;
    let standard = builtin_profile(&ProfileName::standard()).expect("built in");
    let rule = standard.definition().secret.as_ref().expect("it signs");
    let signing = SigningKey::parse(PRIVATE, rule).expect("a key");
    assert_eq!(webhook["public_keys"][0].as_str(), signing.public_text(rule).as_deref());
}

/// One whose receivers know shared secrets and key pairs.
fn of_both_kinds() -> Value {
    json!({
        "envelope": {"body": "${event.data}"},
        "signature": {
            "header": "X-Sig", "signs": "${body}", "encoding": "base64",
            "each": "v1,${signature}", "each_ed25519": "v1a,${signature}", "separator": " ",
        },
        "secret": {
            "origin": "generated", "form": "base64", "prefix": "whsec_",
            "key_pair_prefix": "whsk_", "public_key_prefix": "whpk_",
        },
        "retry": {"waits": ["1s"]},
    })
}

#[tokio::test]
async fn no_move_to_another_profile_makes_a_secret_one_of_another_kind() {
    let api = Api::start().await;
    api.call(ADMIN, "PUT", "/v1/profiles/own", Some(of_both_kinds())).await.expect(201);
    let key = api.tenant_with_key("acme", "own").await;
    let webhook = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&webhook, "id"));
    let pair = Some(json!({"secret_type": "ed25519"}));
    let rotated = api.call(&key, "POST", &format!("{path}/rotate"), pair).await.expect(200);
    assert!(rotated["public_keys"].is_array(), "{rotated}");

    // Any text is a secret there: the private half, which no receiver has, would sign as one.
    let answer = api.call(&key, "PATCH", &path, Some(json!({"profile": "trcker"}))).await;
    assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/secret".to_owned()]));
    let answer = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "trcker"}))).await;
    assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/profile".to_owned()]));
    let mut of_texts = of_both_kinds();
    of_texts["secret"] = json!({"origin": "required"});
    of_texts["signature"].as_object_mut().expect("a rule").remove("each_ed25519");
    let answer = api.call(ADMIN, "PUT", "/v1/profiles/own", Some(of_texts)).await;
    assert!(answer.status.as_u16() == 422 && answer.text.contains("would not fit"), "{}", answer.text);

    let with_secret = |profile: &str, secret: &str| Some(json!({"profile": profile, "secret": secret}));
    let shared = with_secret("trcker", "a secret of the subscriber");
    let moved = api.call(&key, "PATCH", &path, shared).await.expect(200);
    assert!(moved.get("public_keys").is_none(), "{moved}");
    // The other way round: what was a text there would be a key pair here, and nobody have been told its public half.
    api.call(&key, "PATCH", &path, with_secret("trcker", PRIVATE)).await.expect(200);
    let answer = api.call(&key, "PATCH", &path, Some(json!({"profile": "own"}))).await;
    assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/secret".to_owned()]));
    let back = api.call(&key, "PATCH", &path, with_secret("own", PRIVATE)).await.expect(200);
    assert_eq!(back["public_keys"], json!([PUBLIC]));
}

fn over_fields() -> Value {
    json!({
        "envelope": {"body": "${event.data}"},
        "signature": {
            "query_parameter": "sig", "algorithm": "md5", "signs": "${query.click_id}${secret}", "encoding": "hex",
        },
        "secret": {"origin": "optional"},
        "retry": {"waits": ["1s"]},
    })
}

#[tokio::test]
async fn a_weak_signature_is_called_weak_wherever_its_profile_is_shown() {
    let api = Api::start().await;
    let made = api.call(ADMIN, "PUT", "/v1/profiles/old", Some(over_fields())).await.expect(201);
    let weaknesses = made["weaknesses"].as_array().expect("weaknesses");
    assert_eq!(weaknesses.len(), 3, "{made}");
    assert!(
        weaknesses.iter().all(|text| text.as_str().is_some_and(|text| text.starts_with("weak signature: ")))
    );
    let read = api.call(ADMIN, "GET", "/v1/profiles/old", None).await.expect(200);
    assert_eq!(read["weaknesses"], made["weaknesses"]);
    let listed = api.call(ADMIN, "GET", "/v1/profiles", None).await.expect(200);
    for profile in listed["data"].as_array().expect("profiles") {
        assert_eq!(profile.get("weaknesses").is_some(), profile["name"] == "old", "{profile}");
    }
}

#[tokio::test]
async fn a_url_must_have_what_is_signed_of_it_and_leave_room_for_the_signature() {
    let api = Api::start().await;
    api.call(ADMIN, "PUT", "/v1/profiles/old", Some(over_fields())).await.expect(201);
    let key = api.tenant_with_key("acme", "old").await;
    let url = |query: &str| json!({"url": format!("https://example.com/hook{query}"), "events": ["*"]});
    for query in ["", "?click=1", "?click_id=1&click_id=2", "?click_id=1&sig=x", "?click_id=1&s%69g"] {
        let answer = api.call(&key, "POST", "/v1/webhooks", Some(url(query))).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/url".to_owned()]), "{query}");
    }
    let made = api.call(&key, "POST", "/v1/webhooks", Some(url("?click_id=1&x=y"))).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let answer = api.call(&key, "PATCH", &path, Some(json!({"url": "https://example.com/other"}))).await;
    assert_eq!(answer.pointers(), ["/url"]);
    // A change of the profile that the webhook would not fit is refused too.
    let mut changed = over_fields();
    changed["signature"]["query_parameter"] = json!("x");
    let refused = api.call(ADMIN, "PUT", "/v1/profiles/old", Some(changed)).await.expect(422);
    assert!(
        text(&refused, "detail").contains("would not fit") || refused.to_string().contains("would not fit"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_postback_leaves_room_for_its_signature_whatever_its_macros_will_be() {
    let api = Api::start().await;
    api.call(ADMIN, "PUT", "/v1/profiles/old", Some(over_fields())).await.expect(201);
    let key = api.tenant_with_key("acme", "old").await;
    let postback = |query: &str| {
        let url = format!("https://partner.example/pb?{query}");
        json!({"kind": "postback", "url": url, "events": ["*"], "secret": "of the partner"})
    };
    for query in [
        "cid={click_id}",
        "click_id={a}&click_id={b}",
        "click_id={click_id}&sig={sig}",
        "click_id={click_id}&s%69g=1",
        "click_id={click_id}&sig",
        "click_id={click_id}&{sub}=1",
        "click_id={click_id}&s{sub}=1",
        "{sub}&click_id={click_id}",
    ] {
        let answer = api.call(&key, "POST", "/v1/webhooks", Some(postback(query))).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/url".to_owned()]), "{query}");
    }
    let fitting = postback("click_id={click_id}&x={sig}&%7Bsig%7D=y");
    let made = api.call(&key, "POST", "/v1/webhooks", Some(fitting)).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let change = json!({"url": "https://partner.example/pb?click_id={click_id}&sig={x}"});
    assert_eq!(api.call(&key, "PATCH", &path, Some(change)).await.pointers(), ["/url"]);

    // Under a profile that has nothing to do with the query its names are free; a move to one that has is judged.
    let other = api.tenant_with_key("other", "trcker").await;
    for query in ["click_id={click_id}&sig=1", "click_id={click_id}&{sub}=1"] {
        let made = api.call(&other, "POST", "/v1/webhooks", Some(postback(query))).await.expect(201);
        let path = format!("/v1/webhooks/{}", text(&made, "id"));
        let answer = api.call(&other, "PATCH", &path, Some(json!({"profile": "old"}))).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/url".to_owned()]), "{query}");
    }
    let moved = json!({"profile": "old"});
    let answer = api.call(ADMIN, "PATCH", "/v1/tenants/other", Some(moved)).await;
    assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec!["/profile".to_owned()]));
}
