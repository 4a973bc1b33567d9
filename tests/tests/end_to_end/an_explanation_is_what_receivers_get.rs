//! What `POST /v1/events/explain` shows for the moment of a try is, to the byte, what the receiver got in it: for every
//! built-in profile, a template, and postbacks.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::Received;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};

on_both_engines!(every_request_is_explained_to_the_byte);

const PROFILES: [&str; 8] = [
    "standard",
    "trcker",
    "trackdesk",
    "trakkr",
    "track360",
    "tracktile",
    "cloudevents",
    "cloudevents-binary",
];
const EVENT: &str = r#"{"type":"order.paid","id":"evt-1","summary":"paid",
    "data":{ "n": 12345678901234567890123, "click":"a b&c", "s":"\ud800" }}"#;

async fn make_webhooks(stage: &Stage) -> Result<usize> {
    for profile in PROFILES {
        let mut fields = json!({"profile": profile, "headers": {"X-Own-Header": "of its own"}});
        // Where one is made, nobody has to give one.
        if ["trcker", "trakkr"].contains(&profile) {
            fields["secret"] = json!("a-secret-of-the-subscriber");
        }
        if profile == "trcker" {
            fields["auth_type"] = json!("bearer");
            fields["auth_token"] = json!("t0ken");
        }
        stage.webhook(&format!("/{profile}"), "order.*", fields).await?;
    }
    let template =
        json!({"profile": "standard", "template": {"id": "{{event.id}}", "n": "{{event.data.n}}"}});
    stage.webhook("/template", "order.*", template).await?;
    let get = json!({"kind": "postback", "url": format!("{}?n={{n}}&c={{click}}&e={{event.id}}", stage.receiver.url("/get"))});
    stage.webhook("/get", "order.*", get).await?;
    let post = json!({"kind": "postback", "method": "POST", "form": "n={n}&c={click}", "auth_type": "api_key",
        "api_key_header": "X-Key", "api_key_value": "k3y"});
    stage.webhook("/post", "order.*", post).await?;
    stage.webhook("/empty", "order.*", json!({"kind": "postback", "method": "POST"})).await?;
    Ok(PROFILES.len() + 4)
}

async fn every_request_is_explained_to_the_byte(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let count = make_webhooks(&stage).await?;
    let accepted = stage.api.post_with("/v1/events", &[], EVENT.to_owned()).await?.require(202)?.json()?;
    let deliveries = accepted["deliveries"].as_array().cloned().unwrap_or_default();
    ensure!(deliveries.len() == count, "{accepted}");
    for accepted in deliveries {
        let delivery = stage.wait_for_status(&text(&accepted, "id")?, "delivered").await?;
        let at = text(&delivery["tries"][0], "started_at")?;
        let path = format!("/v1/events/explain?at={at}&accepted_at={}", text(&delivery, "accepted_at")?);
        let explained = stage.api.post_with(&path, &[], EVENT.to_owned()).await?.require(200)?.json()?;
        let told = explained["webhooks"].as_array().into_iter().flatten();
        let explained = told.into_iter().find(|one| one["webhook_id"] == accepted["webhook_id"]);
        let explained = explained.with_context(|| format!("{accepted} is not explained"))?;
        ensure!(explained["delivery_id"] == accepted["id"], "{explained}");
        let request = &explained["request"];
        let target = text(request, "target")?;
        let path = target.split('?').next().unwrap_or_default();
        let received = stage.receiver.wait_for_requests(path, 1, SOON).await?.remove(0);
        ensure_same(request, &received).with_context(|| format!("{path}: {explained}"))?;
    }
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["expected"] == count, "an explanation made a delivery: {ledger}");
    Ok(())
}

fn ensure_same(explained: &Value, received: &Received) -> Result<()> {
    ensure!(explained["method"] == received.method.as_str(), "the method: {received:?}");
    ensure!(explained["target"] == received.target.as_str(), "the target: {received:?}");
    let shown: Vec<Value> = explained["headers"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = shown.iter().filter_map(|header| header["name"].as_str()).collect();
    let received_names: Vec<&str> = received.headers.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == received_names, "the headers' names: {received:?}");
    for (header, (name, value)) in shown.iter().zip(&received.headers) {
        if header["masked"] == true {
            ensure!(header["value"].as_str() != Some(value), "{name} is shown");
        } else {
            ensure!(header["value"] == value.as_str(), "{name}: {value}");
        }
    }
    let body = explained["body"].as_str().unwrap_or_default();
    ensure!(body.as_bytes() == received.body, "the body: {received:?}");
    Ok(())
}
