//! A provider's webhook, set by hand since the receiver is ours: the form it takes, and the answers it gives.

use anyhow::{Result, ensure};
use postrider_tests::harness::Behaviour;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery};
use serde_json::json;

on_both_engines!(a_provider_gets_its_own_form_and_is_understood);

fn saying(status: u16, body: &'static str) -> Behaviour {
    Behaviour::Respond { status, headers: Vec::new(), body: body.into() }
}

async fn a_provider_gets_its_own_form_and_is_understood(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trakkr").await?;
    let limited = saying(429, r#"{"message":"slow down","retry_after":0.5,"global":false}"#);
    stage
        .receiver
        .script("/discord", Behaviour::InTurn { first: vec![limited], then: Box::new(saying(204, "")) });
    stage.receiver.script("/slack", saying(200, "ok"));
    stage.receiver.script("/teams", saying(202, ""));
    stage.webhook("/slack", "a.slack", json!({"provider": "slack"})).await?;
    stage.webhook("/discord", "a.discord", json!({"provider": "discord"})).await?;
    stage.webhook("/teams", "a.teams", json!({"provider": "teams_webhook"})).await?;
    let own = json!({"provider": "slack", "template": {"text": "{{event.type}}"}});
    stage.webhook("/own", "a.own", own).await?;
    stage.receiver.script("/own", saying(200, "ok"));

    for (name, tries) in [("slack", 1), ("discord", 2), ("teams", 1), ("own", 1)] {
        let accepted = stage.publish(&format!("a.{name}"), json!({"score": 42})).await?;
        let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
        ensure!(delivery["attempts"] == tries, "{delivery}");
        let seen = stage.receiver.wait_for_requests(&format!("/{name}"), tries, SOON).await?;
        let body = seen[0].json()?;
        let is_own_form = match name {
            "slack" => body["blocks"][1]["fields"][0]["text"] == "*score*\n42",
            "discord" => body["embeds"][0]["color"] == 0x16_a3_4a && seen[0].body == seen[1].body,
            "teams" => body["attachments"][0]["content"]["body"][1]["facts"][0]["value"] == "42",
            _ => body == json!({"text": "a.own"}),
        };
        ensure!(is_own_form, "{name}: {body}");
    }
    Ok(())
}
