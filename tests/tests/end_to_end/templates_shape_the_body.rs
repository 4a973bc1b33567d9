//! A webhook's template, from the request that saves it to the body that arrives and the try that tells of it.

use anyhow::{Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::json;

on_both_engines!(a_template_takes_the_place_of_the_envelope);

async fn a_template_takes_the_place_of_the_envelope(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trakkr").await?;
    let template = r#"{ "text": "{{event.type}}: {{event.data.q}}", "score": "{{event.data.score}}", "id": "{{event.id}}",
        "gone": "{{event.data.gone}}" }"#;
    let webhook = stage
        .webhook("/hook", "*", json!({"template": template, "template_typed": true, "secret": "a secret"}))
        .await?;
    let data = r#"{"score":12345678901234567890.10,"q":"\",\"x\":\"\ud83d\ude00"}"#;
    let body = format!(r#"{{"type":"visibility_changed","id":"evt_mine","data":{data}}}"#);
    let accepted = stage.api.post_with("/v1/events", &[], body).await?.require(202)?.json()?;

    let seen = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    let received = String::from_utf8(seen[0].body.to_vec())?;
    let expected = r#"{"text":"visibility_changed: \",\"x\":\"\ud83d\ude00","score":12345678901234567890.10,"id":"evt_mine","gone":null}"#;
    ensure!(received == expected, "{received}");
    ensure!(seen[0].header("X-Trakkr-Signature").is_some_and(|value| value.starts_with("sha256=")));

    let id = only_delivery(&accepted)?;
    stage.wait_for_status(&id, "delivered").await?;
    stage.wait_until_settled(SOON).await?;
    // By another template, and without one, the try still shows the body that was sent.
    let path = format!("/v1/webhooks/{}", text(&webhook, "id")?);
    for later in [json!({"template": {"other": 1}}), json!({"template": null})] {
        stage.api.patch(&path, &later).await?.require(200)?;
        let delivery = stage.delivery(&id).await?;
        let request = &delivery["tries"][0]["request"];
        ensure!(request["body_matches"] == true && request["body"] == expected, "{request}");
        let gaps = json!([{"variable": "event.data.gone", "reason": "missing"}]);
        ensure!(request["template_gaps"] == gaps, "{request}");
    }
    stage.publish("visibility_changed", json!({"score": 1})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 2, SOON).await?;
    ensure!(seen[1].json()?["event"]["data"]["score"] == 1);
    Ok(())
}
