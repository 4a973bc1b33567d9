//! From a 202 to the receiver, signed as the profile says, and to the log.

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use postrider_tests::harness::Received;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::json;
use sha2::Sha256;

on_both_engines!(
    a_trcker_receiver_can_verify_what_it_gets,
    a_standard_receiver_can_verify_what_it_gets,
    the_log_tells_of_the_try,
    only_matching_webhooks_receive
);

fn hmac_hex(key: &[u8], message: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(message);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

async fn first_request(stage: &Stage, path: &str) -> Result<Received> {
    let requests = stage.receiver.wait_for_requests(path, 1, SOON).await?;
    requests.into_iter().next().context("just seen")
}

async fn a_trcker_receiver_can_verify_what_it_gets(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let webhook =
        stage.webhook("/hook", "conversion.*", json!({"secret": "a secret of the subscriber"})).await?;
    let accepted =
        stage.publish("conversion.created", json!({"conversionId": "c1", "revenueCents": 4200})).await?;

    let request = first_request(&stage, "/hook").await?;
    let header = request.header("X-Trcker-Signature").context("not signed")?;
    let (time, signature) =
        header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).context("form")?;
    let signed = [time.as_bytes(), b".", &request.body].concat();
    ensure!(signature == hmac_hex(b"a secret of the subscriber", &signed)?, "wrong signature {header}");
    ensure!(
        request.headers.iter().any(|(name, value)| name == "X-Trcker-Event" && value == "conversion.created")
    );
    ensure!(request.header("X-Trcker-Webhook-Id").is_some_and(|id| id.starts_with("wh_")));
    let body = request.json()?;
    ensure!(body["id"] == accepted["id"] && body["event"] == "conversion.created", "{body}");
    ensure!(body["brandId"] == stage.tenant.as_str() && body["data"]["revenueCents"] == 4200, "{body}");
    ensure!(
        webhook["secret"].is_null() || webhook.get("secret").is_none(),
        "a given secret is not shown again"
    );
    Ok(())
}

async fn a_standard_receiver_can_verify_what_it_gets(engine: EngineKind) -> Result<()> {
    use base64::Engine;
    let stage = Stage::open(engine, "standard").await?;
    let webhook = stage.webhook("/hook", "order.paid", json!({})).await?;
    let secret = text(&webhook, "secret")?;
    let key =
        base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").context("prefix")?)?;
    let accepted = stage.publish("order.paid", json!({"order": 7})).await?;

    let request = first_request(&stage, "/hook").await?;
    let id = request.header("webhook-id").context("no id")?;
    ensure!(Some(id) == accepted["id"].as_str());
    let time = request.header("webhook-timestamp").context("no timestamp")?;
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", &request.body].concat();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
    mac.update(&signed);
    let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    ensure!(request.header("webhook-signature") == Some(format!("v1,{expected}").as_str()));
    Ok(())
}

async fn the_log_tells_of_the_try(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let accepted = stage.publish("order.paid", json!({"order": 7})).await?;
    let id = only_delivery(&accepted)?;
    stage.wait_for_status(&id, "delivered").await?;
    // The try may be written before the event is; the body is shown from the event.
    stage.wait_until_settled(SOON).await?;
    let delivery = stage.delivery(&id).await?;
    ensure!(delivery["attempts"] == 1 && delivery["last_code"] == 200, "{delivery}");
    let attempt = &delivery["tries"][0];
    ensure!(attempt["number"] == 1 && attempt["response"]["status"] == 200, "{attempt}");
    ensure!(attempt["request"]["body_matches"] == true, "{attempt}");
    ensure!(
        attempt["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{attempt}"
    );
    let event =
        stage.api.get(&format!("/v1/events/{}", text(&accepted, "id")?)).await?.require(200)?.json()?;
    ensure!(event["deliveries"][0]["status"] == "delivered" && event["data"]["order"] == 7, "{event}");
    Ok(())
}

async fn only_matching_webhooks_receive(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.webhook("/conversions", "conversion.*", json!({})).await?;
    stage.webhook("/exact", "conversion.created", json!({})).await?;
    stage.webhook("/other", "partner.approved", json!({})).await?;
    let accepted = stage.publish("conversion.created", json!({})).await?;
    ensure!(accepted["deliveries"].as_array().is_some_and(|deliveries| deliveries.len() == 2), "{accepted}");
    stage.receiver.wait_for("two requests", SOON, |seen| seen.requests.len() >= 2).await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 2, "{ledger}");
    ensure!(stage.receiver.requests_to("/other").is_empty());
    Ok(())
}
