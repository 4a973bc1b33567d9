//! What a webhook may send of its own: every name and every character that could do harm is refused when it is saved.

use serde_json::{Value, json};

use super::fixture::{Api, webhook_body};

/// Hop by hop and framing, content, of a cloud's metadata service, of ours, of proxies, and what is no name.
const NAMES: [&str; 32] = [
    "Host",
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Expect",
    "HTTP2-Settings",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Anything",
    "Metadata",
    "Metadata-Flavor",
    "X-Metadata-Token",
    "X-aws-ec2-metadata-token",
    "X-Google-Metadata-Request",
    "X-aliyun-ecs-metadata-token",
    "webhook-id",
    "Webhook-Signature",
    "Postrider-Anything",
    "X-Forwarded-For",
    "Forwarded",
    "Via",
    "X A",
    "X:",
    "X\r\nHost",
    "\u{fc}",
    "",
];
/// Beside these: of the profile itself.
const OF_THE_PROFILE: [&str; 4] =
    ["User-Agent", "x-trcker-event", "X-TRCKER-WEBHOOK-ID", "X-Trcker-Signature"];

fn pointer(name: &str) -> String {
    format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"))
}

async fn refused(api: &Api, key: &str, body: Value) -> Vec<String> {
    let answer = api.call(key, "POST", "/v1/webhooks", Some(webhook_body(body.clone()))).await;
    assert_eq!(answer.status.as_u16(), 422, "{body}: {}", answer.text);
    answer.pointers()
}

#[tokio::test]
async fn every_header_that_is_not_a_webhooks_to_set_is_refused_by_its_name_in_any_case() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    for name in NAMES.into_iter().chain(OF_THE_PROFILE) {
        for name in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
            assert_eq!(refused(&api, &key, json!({"headers": {&name: "x"}})).await, [pointer(&name)]);
            let api_key = json!({"auth_type": "api_key", "api_key_header": &name, "api_key_value": "x"});
            assert_eq!(refused(&api, &key, api_key).await, ["/api_key_header"], "{name:?}");
        }
    }
    let twice = json!({"auth_type": "bearer", "auth_token": "x", "headers": {"authorization": "x"}});
    assert_eq!(refused(&api, &key, twice).await, ["/headers/authorization"]);
}

#[tokio::test]
async fn every_character_that_could_end_a_header_is_refused_in_every_credential() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let controls = (0_u8..0x20).chain([0x7f]).map(char::from);
    for character in controls {
        let text = format!("a{character}b");
        for (body, pointer) in [
            (json!({"headers": {"X-Own": &text}}), "/headers/X-Own"),
            (json!({"auth_type": "bearer", "auth_token": &text}), "/auth_token"),
            (json!({"auth_type": "basic", "auth_username": &text, "auth_password": "x"}), "/auth_username"),
            (json!({"auth_type": "basic", "auth_username": "x", "auth_password": &text}), "/auth_password"),
            (
                json!({"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": &text}),
                "/api_key_value",
            ),
            (
                json!({"auth_type": "api_key", "api_key_header": format!("X{text}"), "api_key_value": "x"}),
                "/api_key_header",
            ),
        ] {
            assert_eq!(refused(&api, &key, body).await, [pointer], "{:?}", character);
        }
        let name = format!("X{text}");
        assert_eq!(refused(&api, &key, json!({"headers": {&name: "x"}})).await, [pointer(&name)]);
    }
    // A colon would end the name, and another letter than ASCII's is one receiver's text and another's rubbish.
    let colon = json!({"auth_type": "basic", "auth_username": "a:b", "auth_password": "x"});
    assert_eq!(refused(&api, &key, colon).await, ["/auth_username"]);
    assert_eq!(refused(&api, &key, json!({"headers": {"X-Own": "\u{fc}"}})).await, ["/headers/X-Own"]);
}
