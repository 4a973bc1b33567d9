//! A postback's query and form are filled from the event, digit for digit, and every try sends the same.

use anyhow::{Result, ensure};
use bytes::Bytes;
use postrider_tests::harness::Behaviour;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery};
use serde_json::json;

on_both_engines!(
    a_get_is_tried_until_its_answer_says_so,
    a_form_is_posted,
    one_that_is_too_long_fails_with_its_reason
);

const DATA: &str = r#"{"click_id":"a b&c=d/ü","payout":12345678901234567890123.10,"sub":null}"#;
const QUERY: &str = "cid=a%20b%26c%3Dd%2F%C3%BC&payout=12345678901234567890123.10&sub=&e=evt-1";

async fn publish(stage: &Stage, id: &str, data: &str) -> Result<String> {
    let body = format!(r#"{{"type":"conversion.created","id":"{id}","data":{data}}}"#);
    let accepted = stage.api.post_with("/v1/events", &[], body).await?.require(202)?.json()?;
    only_delivery(&accepted)
}

async fn a_get_is_tried_until_its_answer_says_so(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let says = |text: &'static str| Behaviour::Respond {
        status: 200,
        headers: Vec::new(),
        body: Bytes::from_static(text.as_bytes()),
    };
    stage.receiver.script("/pb", Behaviour::InTurn { first: vec![says("busy")], then: Box::new(says("OK")) });
    let fields = json!({
        "kind": "postback", "url": format!("{}?cid={{click_id}}&payout={{payout}}&sub={{data.sub}}&e={{event.id}}", stage.receiver.url("/pb")),
        "success": {"statuses": ["200"], "body_contains": "OK"}, "retry": {"waits": ["700ms"]},
    });
    stage.webhook("/pb", "*", fields).await?;
    let id = publish(&stage, "evt-1", DATA).await?;
    let delivery = stage.wait_for_status(&id, "delivered").await?;
    let seen = stage.receiver.wait_for_requests("/pb", 2, SOON).await?;
    for request in &seen {
        ensure!(
            (request.method.as_str(), request.target.as_str()) == ("GET", format!("/pb?{QUERY}").as_str()),
            "{request:?}"
        );
        ensure!(request.body.is_empty() && request.header("content-type").is_none(), "{request:?}");
    }
    ensure!(delivery["postback"] == json!({"query": QUERY, "missing_macros": ["data.sub"]}), "{delivery}");
    ensure!(delivery["tries"][0]["outcome_reason"] == "status 200", "{delivery}");
    let list = stage.api.get("/v1/deliveries?kind=postback").await?.require(200)?.json()?;
    ensure!(list["data"][0]["id"] == id.as_str() && list["data"][0]["kind"] == "postback", "{list}");
    let others = stage.api.get("/v1/deliveries?kind=webhook").await?.require(200)?.json()?;
    ensure!(others["data"] == json!([]), "{others}");
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 1, "{ledger}");
    Ok(())
}

async fn a_form_is_posted(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let fields = json!({
        "kind": "postback", "method": "POST", "form": "id={event.id}&n={payout}&c={click_id}",
        "auth_type": "bearer", "auth_token": "of-the-partner",
    });
    stage.webhook("/form", "*", fields).await?;
    let id = publish(&stage, "evt-2", DATA).await?;
    stage.wait_for_status(&id, "delivered").await?;
    let request = stage.receiver.wait_for_requests("/form", 1, SOON).await?.remove(0);
    ensure!((request.method.as_str(), request.target.as_str()) == ("POST", "/form"), "{request:?}");
    ensure!(request.body == "id=evt-2&n=12345678901234567890123.10&c=a%20b%26c%3Dd%2F%C3%BC", "{request:?}");
    ensure!(request.header("content-type") == Some("application/x-www-form-urlencoded"), "{request:?}");
    ensure!(request.header("authorization") == Some("Bearer of-the-partner"), "{request:?}");
    Ok(())
}

async fn one_that_is_too_long_fails_with_its_reason(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let url = format!("{}?v={{v}}", stage.receiver.url("/pb"));
    stage.webhook("/pb", "*", json!({"kind": "postback", "url": url})).await?;
    let id = publish(&stage, "evt-3", &format!(r#"{{"v":"{}"}}"#, "x".repeat(7_000))).await?;
    let delivery = stage.wait_for_status(&id, "failed").await?;
    let detail = delivery["tries"][0]["error"]["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("query is longer than 6000 bytes"), "{delivery}");
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["failed"] == 1 && ledger["balanced"] == true, "{ledger}");
    ensure!(stage.receiver.count() == 0, "it was sent");
    Ok(())
}
