//! `data` reaches the receiver byte for byte: large integers, key order, spaces, duplicate keys, odd escapes.

use anyhow::{Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::json;

on_both_engines!(nothing_in_data_is_changed);

async fn nothing_in_data_is_changed(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    stage.webhook("/hook", "*", json!({"secret": "a secret of the subscriber"})).await?;
    let big = format!("{{\"s\":\"{}\"}}", "x".repeat(900 * 1024));
    let samples = [
        r#"{"n":12345678901234567890123,"e":1e400,"z":-0.0}"#,
        r#"{ "b" : 1,  "a":2 , "a":3 }"#,
        r#"{"lone":"\ud800","nul":"a\u0000b","slash":"\/","é":"😀"}"#,
        "{}",
        &big,
    ];
    for (number, data) in samples.iter().enumerate() {
        let body = format!("{{\"type\":\"a.b\",\"data\":{data}}}");
        stage.api.post_with("/v1/events", &[], body).await?.require(202)?;
        let seen = stage.receiver.wait_for_requests("/hook", number + 1, SOON).await?;
        let received = String::from_utf8(seen[number].body.to_vec())?;
        let shown: String = received.chars().take(200).collect();
        ensure!(received.ends_with(&format!("\"data\":{data}}}")), "sample {number}: {shown}");
    }
    Ok(())
}
