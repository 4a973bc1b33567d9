//! Rotation: without overlap the new secret alone signs at once; with overlap both do, new first.

use anyhow::{Context, Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::json;

on_both_engines!(a_rotation_takes_effect_with_the_next_event);

async fn a_rotation_takes_effect_with_the_next_event(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let webhook = stage.webhook("/hook", "*", json!({})).await?;
    let (id, first) = (text(&webhook, "id")?, text(&webhook, "secret")?);
    let rotate = format!("/v1/webhooks/{id}/rotate");
    let answer = stage.api.post(&rotate, &json!({"overlap_seconds": 3600})).await?.require(200)?.json()?;
    let second = text(&answer, "secret")?;
    ensure!(first != second);
    stage.publish("a.b", json!({"n": 1})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    let header = seen[0].header("webhook-signature").context("not signed")?;
    ensure!(header.split(' ').count() == 2, "both sign while they overlap: {header}");

    stage.api.post(&rotate, &json!({})).await?.require(200)?;
    stage.publish("a.b", json!({"n": 2})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 2, SOON).await?;
    let header = seen[1].header("webhook-signature").context("not signed")?;
    ensure!(header.split(' ').count() == 1, "without overlap the new one alone signs: {header}");
    let shown = stage.api.get(&format!("/v1/webhooks/{id}")).await?.require(200)?;
    let body = String::from_utf8_lossy(&shown.body).into_owned();
    ensure!(!body.contains(&first) && !body.contains(&second), "a secret is shown once");
    Ok(())
}
