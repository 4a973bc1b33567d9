//! The options that make postbacks and filters.

use serde_json::{Value, json};

use super::*;

const ANSWER: (u16, &str) = (200, r#"{"id":"wh_1","status":"active","kind":"postback","method":"GET"}"#);

/// What the server was sent.
async fn sent(words: &[&str]) -> Value {
    let api = FakeApi::answering(&[ANSWER]).await;
    run(&api, words).await.1.expect("done");
    serde_json::from_slice(&api.asked()[0].body).expect("JSON")
}

#[tokio::test]
async fn a_postback_is_made_of_its_options() {
    let url = "https://partner.example/pb?cid={click_id}";
    for command in ["register", "create"] {
        let words = ["webhooks", command, "--postback", "--on", "conversion.approved", "--url", url];
        let expected = json!({"kind": "postback", "url": url, "events": ["conversion.approved"]});
        assert_eq!(sent(&words).await, expected);
    }
    let changes = [
        "webhooks",
        "update",
        "wh_1",
        "--method",
        "post",
        "--form",
        "cid={click_id}",
        "--success-status",
        "200",
        "--success-status",
        "3xx",
        "--success-body",
        "OK",
    ];
    let success = json!({"statuses": ["200", "3xx"], "body_contains": "OK"});
    let expected = json!({"method": "POST", "form": "cid={click_id}", "success": success});
    assert_eq!(sent(&changes).await, expected);
    let removals = ["webhooks", "update", "wh_1", "--form", "null", "--success-status", "null"];
    assert_eq!(sent(&removals).await, json!({"form": null, "success": null}));
}

#[tokio::test]
async fn deliveries_are_listed_by_kind() {
    let api = FakeApi::answering(&[(200, r#"{"data":[],"next_cursor":null}"#)]).await;
    run(&api, &["deliveries", "list", "--kind", "postback"]).await.1.expect("done");
    assert!(api.asked()[0].line.contains("kind=postback"));
    assert!(CommandLine::try_parse_from(["postrider", "deliveries", "list", "--kind", "pixel"]).is_err());
}

#[test]
fn a_text_that_an_answer_must_hold_needs_its_statuses() {
    let words = ["postrider", "webhooks", "update", "wh_1", "--success-body", "OK"];
    let said = CommandLine::try_parse_from(words).err().map(|error| error.to_string()).expect("refused");
    assert!(said.contains("--success-status"), "{said}");
}

/// As a string: as JSON its numbers would be rounded on the way.
#[tokio::test]
async fn a_filter_is_sent_as_it_was_written_or_removed() {
    let filter = r#"{"field": "id", "equals": 12345678901234567890123}"#;
    assert_eq!(sent(&["webhooks", "update", "wh_1", "--filter", filter]).await, json!({"filter": filter}));
    assert_eq!(sent(&["webhooks", "update", "wh_1", "--filter", "null"]).await, json!({"filter": null}));
}
