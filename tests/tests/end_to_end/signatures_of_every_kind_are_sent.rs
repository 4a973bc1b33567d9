//! Signatures that stand in the query, and key pairs in place of shared secrets, at a receiver.

use anyhow::{Context, Result, ensure};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::profile::{ProfileName, ProfileOverride, builtin_profile};
use postrider_contract::signature::{ReceivedRequest, VerifyingKey, verify};
use postrider_tests::harness::Received;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::json;

on_both_engines!(
    a_signature_in_the_query_stands_behind_what_the_url_has,
    a_postback_is_signed_over_what_was_filled_in_and_so_explained,
    a_receiver_can_move_from_a_shared_secret_to_a_key_pair
);

/// An installation with the profile `old`, which signs as old partners ask for it.
async fn stage_with_an_old_profile(engine: EngineKind, signs: &str) -> Result<Stage> {
    let stage = Stage::open(engine, "standard").await?;
    let old = json!({
        "envelope": {"body": "${event.data}"},
        "signature": {"query_parameter": "sig", "algorithm": "md5", "signs": signs, "encoding": "hex"},
        "secret": {"origin": "required"},
        "retry": {"waits": []},
    });
    stage.server.admin().put("/v1/profiles/old", &old).await?.require(201)?;
    Ok(stage)
}

async fn a_signature_in_the_query_stands_behind_what_the_url_has(engine: EngineKind) -> Result<()> {
    let stage = stage_with_an_old_profile(engine, "${query.click_id}:${secret}").await?;
    let fields = json!({"name": "old", "profile": "old", "secret": "of the subscriber"});
    stage.webhook("/hook?click_id=a%20b&x=1", "*", fields).await?;
    stage.publish("order.paid", json!({"n": 1})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    // MD5 of "a b:of the subscriber", worked out elsewhere.
    ensure!(
        seen[0].target == "/hook?click_id=a%20b&x=1&sig=85a42393b8dfd17d2726f39b8718fba3",
        "{}",
        seen[0].target
    );
    ensure!(seen[0].body == r#"{"n":1}"#, "{:?}", seen[0].body);
    stage.wait_until_settled(SOON).await?;
    Ok(())
}

async fn a_postback_is_signed_over_what_was_filled_in_and_so_explained(engine: EngineKind) -> Result<()> {
    let stage = stage_with_an_old_profile(engine, "${query.click_id}:${query.payout}:${secret}").await?;
    let url = format!("{}?click_id={{click_id}}&payout={{payout}}&t={{x}}", stage.receiver.url("/pb"));
    let fields = json!({
        "name": "old", "profile": "old", "secret": "of the subscriber", "kind": "postback", "url": url,
    });
    stage.webhook("/pb", "*", fields).await?;
    let event = r#"{"type":"conversion.created","data":{"click_id":"a b","payout":12.50,"x":"&sig=1"}}"#;
    let explained = stage.api.post_with("/v1/events/explain", &[], event.to_owned()).await?;
    let explained = explained.require(200)?.json()?;
    stage.api.post_with("/v1/events", &[], event.to_owned()).await?.require(202)?;
    let seen = stage.receiver.wait_for_requests("/pb", 1, SOON).await?;
    // MD5 of "a b:12.50:of the subscriber", worked out elsewhere.
    let target = "/pb?click_id=a%20b&payout=12.50&t=%26sig%3D1&sig=83f4a87eedd78dfc7e706c387fd78eb6";
    ensure!((seen[0].method.as_str(), seen[0].target.as_str()) == ("GET", target), "{:?}", seen[0]);
    ensure!(explained["webhooks"][0]["request"]["target"] == target, "{explained}");
    stage.wait_until_settled(SOON).await?;
    Ok(())
}

async fn a_receiver_can_move_from_a_shared_secret_to_a_key_pair(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let webhook = stage.webhook("/hook", "*", json!({})).await?;
    let (id, shared) = (text(&webhook, "id")?, text(&webhook, "secret")?);
    let rotation = json!({"secret_type": "ed25519", "overlap_seconds": 3600});
    let rotated =
        stage.api.post(&format!("/v1/webhooks/{id}/rotate"), &rotation).await?.require(200)?.json()?;
    ensure!(rotated["secret"].is_null(), "the private half stays here");
    let public = rotated["public_keys"][0].as_str().context("no public key")?.to_owned();
    stage.publish("order.paid", json!({"n": 1})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    let header = seen[0].header("webhook-signature").context("not signed")?;
    let kinds: Vec<&str> = header.split(' ').filter_map(|one| one.split(',').next()).collect();
    ensure!(kinds == ["v1a", "v1"], "both sign, new first: {header}");
    for known in [&public, &shared] {
        ensure!(is_genuine(known, &seen[0])?, "for who knows {}", &known[..6]);
    }
    ensure!(!is_genuine("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", &seen[0])?);

    stage
        .api
        .post(&format!("/v1/webhooks/{id}/rotate"), &json!({"secret_type": "ed25519"}))
        .await?
        .require(200)?;
    stage.publish("order.paid", json!({"n": 2})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 2, SOON).await?;
    ensure!(!is_genuine(&public, &seen[1])? && !is_genuine(&shared, &seen[1])?, "both have ended");
    stage.wait_until_settled(SOON).await?;
    Ok(())
}

fn is_genuine(known: &str, request: &Received) -> Result<bool> {
    let profile = builtin_profile(&ProfileName::standard()).context("built in")?;
    let rule = profile.definition().secret.as_ref().context("it signs")?;
    let key = VerifyingKey::parse(known, rule)?;
    let header =
        |(name, value): &(String, String)| Header { name: name.as_str().into(), value: value.clone().into() };
    let headers: Vec<Header> = request.headers.iter().map(header).collect();
    let time: i64 = request.header("webhook-timestamp").context("no time")?.parse()?;
    let received = ReceivedRequest { headers: &headers, query: "", body: &request.body };
    let now = Timestamp::from_millis(time * 1000);
    Ok(verify(&profile, &ProfileOverride::default(), received, &[key], now).is_ok())
}
