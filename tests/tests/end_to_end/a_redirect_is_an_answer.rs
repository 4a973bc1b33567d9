//! What a redirect comes to is the contract's to say, status by status; where it points is never asked.

use anyhow::{Result, ensure};
use postrider_tests::harness::{Behaviour, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::json;

on_both_engines!(a_redirect_comes_to_what_its_contract_says_and_is_never_followed);

async fn a_redirect_comes_to_what_its_contract_says_and_is_never_followed(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let admin = stage.server.admin();
    let form = json!({
        "envelope": {"body": "${event.data}"},
        "answers": {"success": ["2xx", "303"], "permanent": ["301", "308"], "disabling": ["308"]},
        "retry": {"waits": ["250ms"]},
    });
    admin.put("/v1/profiles/moved", &form).await?.require(201)?;
    admin
        .patch(&format!("/v1/tenants/{}", stage.tenant), &json!({"profile": "moved"}))
        .await?
        .require(200)?;
    let elsewhere = stage.receiver.url("/elsewhere");
    for (status, ends_as, tries) in
        [(303, "delivered", 1), (301, "failed", 1), (302, "failed", 2), (308, "failed", 1)]
    {
        let path = format!("/{status}");
        stage.receiver.script(&path, Behaviour::redirect(status, &elsewhere));
        let webhook = stage.webhook(&path, &format!("order.a{status}"), json!({})).await?;
        let accepted = stage.publish(&format!("order.a{status}"), json!({"n": 1})).await?;
        let delivery = stage.wait_for_status(&only_delivery(&accepted)?, ends_as).await?;
        let requests = stage.receiver.requests_to(&path).len();
        ensure!(requests == tries, "{status}: {requests} requests");
        let response = &delivery["tries"][0]["response"];
        ensure!(response.to_string().contains(&elsewhere), "{status}: where it pointed is shown: {delivery}");
        if status == 308 {
            let path = format!("/v1/webhooks/{}", text(&webhook, "id")?);
            eventually("the webhook to be disabled", SOON, async || {
                let webhook = stage.api.get(&path).await?.require(200)?.json()?;
                Ok((webhook["status"] == "disabled").then_some(()))
            })
            .await?;
        }
    }
    ensure!(stage.receiver.requests_to("/elsewhere").is_empty(), "a redirect was followed");
    Ok(())
}
