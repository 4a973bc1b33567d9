//! `postrider event-types`: schemas checked without a server, and put as they were written.

use super::profiles::Written;
use super::*;

const SCHEMA: &str = r#"{"properties": {"total":{"type":"number", "maximum": 1.50}}}"#;

#[tokio::test]
async fn a_schema_and_data_are_checked_without_a_server() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let schema = Written::new("schema.json", SCHEMA);
    let (printed, result) = run(&api, &["event-types", "check", &schema.0]).await;
    result.expect("it is well");
    assert!(printed.ends_with("is well\n"), "{printed}");
    run(&api, &["event-types", "check", &schema.0, "--data", r#"{"total":1.5}"#])
        .await
        .1
        .expect("as it says");
    let data = Written::new("data.json", r#"{"total":1.51}"#);
    let file = format!("@{}", data.0);
    let (printed, result) = run(&api, &["event-types", "check", &schema.0, "--data", &file]).await;
    let (code, _) = super::super::error::verdict(&result.expect_err("it is not").into());
    assert_eq!(code, std::process::ExitCode::from(1));
    assert_eq!(printed, "/total: must be at most 1.50\n");
    let broken = Written::new("broken.json", r#"{"properties":{"total":{"type":"numbr"}}}"#);
    let (_, result) = run(&api, &["event-types", "check", &broken.0]).await;
    let said = result.expect_err("it cannot work").to_string();
    assert!(said.contains("/properties/total/type"), "{said}");
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn a_type_is_put_with_its_schema_as_it_was_written() {
    let api = FakeApi::answering(&[(201, r#"{"type":"order.paid"}"#)]).await;
    let schema = Written::new("put-schema.json", &format!("\n{SCHEMA}\n"));
    let words =
        ["event-types", "put", "order.paid", "--schema", &schema.0, "--example", r#"{"total": 1.50}"#];
    let more = ["--version", "2.1", "--description", "paid \"in full\"", "--if-match", "6"];
    let (printed, result) = run(&api, &[&words[..], &more].concat()).await;
    result.expect("put");
    assert_eq!(printed, "order.paid is described in 2.1\n");
    let asked = api.asked();
    assert_eq!(asked[0].line, "PUT /v1/event-types/order.paid");
    assert_eq!(asked[0].headers["if-match"], "\"6\"");
    assert_eq!(asked[0].headers["postrider-tenant"], "acme");
    let body = format!(
        r#"{{"version":"2.1","description":"paid \"in full\"","schema":{SCHEMA},"example":{{"total": 1.50}}}}"#
    );
    assert_eq!(asked[0].body, body.as_bytes());
    let (_, result) = run(&api, &["event-types", "put", "order.paid", "--example", "{"]).await;
    assert!(matches!(result, Err(ClientError::Usage(_))), "{result:?}");
    assert!(api.asked().is_empty());
}
