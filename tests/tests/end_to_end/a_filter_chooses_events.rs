//! A webhook with a filter gets the events whose data passes it, and no others; the ledger counts the rest as
//! unmatched.

use anyhow::{Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::json;

on_both_engines!(a_webhook_gets_what_passes_its_filter);

async fn a_webhook_gets_what_passes_its_filter(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let filter = json!({"and": [
        {"field": "status", "in": ["approved", "paid"]},
        {"field": "order.total", "at_least": 100},
        {"not": {"field": "isTest", "equals": true}},
    ]});
    let id = text(&stage.webhook("/hook", "*", json!({"filter": filter})).await?, "id")?;
    let wanted = json!({"status": "paid", "order": {"total": 100.0}});
    only_delivery(&stage.publish("a.b", wanted).await?)?;
    for unwanted in [
        json!({"status": "pending", "order": {"total": 500}}),
        json!({"status": "paid", "order": {"total": 99.99}}),
        json!({"status": "paid", "order": {"total": "500"}}),
        json!({"status": "paid", "order": {"total": 500}, "isTest": true}),
    ] {
        let accepted = stage.publish("a.b", unwanted).await?;
        ensure!(accepted["deliveries"] == json!([]), "{accepted}");
    }
    stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["events"]["matched"] == 1 && ledger["events"]["unmatched"] == 4, "{ledger}");
    ensure!(ledger["deliveries"]["expected"] == 1 && ledger["deliveries"]["delivered"] == 1, "{ledger}");

    let path = format!("/v1/webhooks/{id}");
    stage.api.patch(&path, &json!({"filter": null})).await?.require(200)?;
    only_delivery(&stage.publish("a.b", json!({"status": "pending"})).await?)?;
    stage.receiver.wait_for_requests("/hook", 2, SOON).await?;
    Ok(())
}
