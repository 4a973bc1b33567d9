//! A contract that an operator wrote is what receivers get; what was accepted under it stays under it.

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use postrider_tests::harness::{Behaviour, Gate};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::{Value, json};
use sha2::Sha256;

on_both_engines!(a_change_of_a_profile_begins_with_what_is_accepted_after_it);

/// A profile whose event header and signature header carry this name.
fn form(name: &str) -> Value {
    json!({
        "request": {"method": "PUT", "headers": [{"name": format!("{name}-Event"), "value": "${event.type}"}]},
        "envelope": {"body": format!("{{\"by\":\"{name}\",\"payload\":${{event.data}}}}")},
        "signature": {
            "header": format!("{name}-Signature"), "signs": "${timestamp}:${body}", "encoding": "hex",
            "value": "${timestamp}:${signatures}", "replay_window": "5m",
        },
        "secret": {"origin": "required"},
        "retry": {"waits": ["300ms", "300ms"]},
    })
}

async fn a_change_of_a_profile_begins_with_what_is_accepted_after_it(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let admin = stage.server.admin();
    admin.put("/v1/profiles/acme", &form("Old")).await?.require(201)?;
    admin.patch(&format!("/v1/tenants/{}", stage.tenant), &json!({"profile": "acme"})).await?.require(200)?;
    let gate = Gate::closed();
    let failing = Behaviour::status(500).behind(&gate);
    let answers = Behaviour::InTurn { first: vec![failing], then: Box::new(Behaviour::ok()) };
    stage.receiver.script("/hook", answers);
    let webhook = stage.webhook("/hook", "*", json!({"secret": "of the subscriber"})).await?;

    let before = stage.publish("order.paid", json!({"n": 1})).await?;
    stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    // The first try is under way while the contract changes.
    admin.put("/v1/profiles/acme", &form("New")).await?.require(200)?;
    gate.open();
    stage.wait_for_status(&only_delivery(&before)?, "delivered").await?;
    let after = stage.publish("order.paid", json!({"n": 2})).await?;
    stage.wait_for_status(&only_delivery(&after)?, "delivered").await?;

    let requests = stage.receiver.requests_to("/hook");
    ensure!(requests.len() == 3, "a failed try, its retry, and the second event: {}", requests.len());
    for (request, name, number) in
        [(&requests[0], "Old", 1), (&requests[1], "Old", 1), (&requests[2], "New", 2)]
    {
        ensure!(request.method == "PUT" && request.header(&format!("{name}-Event")) == Some("order.paid"));
        let expected = format!("{{\"by\":\"{name}\",\"payload\":{{\"n\":{number}}}}}");
        ensure!(request.body == expected, "{:?}", request.body);
        let header = request.header(&format!("{name}-Signature")).context("not signed")?;
        let (time, signature) = header.split_once(':').context("form")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(b"of the subscriber")?;
        mac.update(format!("{time}:{expected}").as_bytes());
        ensure!(signature == hex::encode(mac.finalize().into_bytes()), "wrong signature {header}");
    }

    let used = admin.delete("/v1/profiles/acme").await?.require(409)?.json()?;
    ensure!(text(&used, "detail")?.contains(&stage.tenant), "{used}");
    stage.api.delete(&format!("/v1/webhooks/{}", text(&webhook, "id")?)).await?.require(204)?;
    admin
        .patch(&format!("/v1/tenants/{}", stage.tenant), &json!({"profile": "standard"}))
        .await?
        .require(200)?;
    admin.delete("/v1/profiles/acme").await?.require(204)?;
    // The log still shows the body of a deleted contract, byte for byte.
    stage.wait_until_settled(SOON).await?;
    let delivery = stage.delivery(&only_delivery(&before)?).await?;
    ensure!(delivery["tries"][0]["request"]["body_matches"] == true, "{delivery}");
    Ok(())
}
