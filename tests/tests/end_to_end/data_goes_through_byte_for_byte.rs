//! `data` reaches the receiver byte for byte in every profile, and the bytes that are sent are the bytes that are signed:
//! large integers, numbers that no computer holds, key order, spaces, duplicate keys, odd escapes, nearly a mebibyte.
//!
//! What a body is and what is signed is written down here once more, from the contract, not from the profiles' files.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postrider_contract::profile::builtin_profiles;
use postrider_tests::harness::Received;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::json;
use sha2::Sha256;

on_both_engines!(nothing_in_data_is_changed_and_what_is_sent_is_signed);

/// In the form of every built-in profile.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const TIME: &str = "2026-11-21T09:30:00.123Z";

async fn nothing_in_data_is_changed_and_what_is_sent_is_signed(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    for profile in builtin_profiles() {
        let name = profile.name();
        stage.webhook(&format!("/{name}"), "*", json!({"profile": name, "secret": SECRET})).await?;
    }
    // With what stands around it in the request just below the limit of 1 MiB.
    let large = format!("{{\"s\":\"{}\"}}", "\\u00e9\\\"x é".repeat(1024 * 1024 / 12 - 20));
    let samples = [
        r#"{"n":12345678901234567890123,"e":1e400,"z":-0.0,"t":1.50E+2}"#,
        "{ \"b\" : 1,  \"a\":2 ,\n\t\"a\":3 }",
        r#"{"lone":"\ud800","nul":"a\u0000b","slash":"\/","é":"😀","\u0061":1,"a":2}"#,
        r#"{"deep":[[[[{"a":[ ]}]]]],"e":{}}"#,
        "{}",
        &large,
    ];
    for (number, data) in samples.iter().enumerate() {
        let id = format!("evt_{number}");
        // Spaces around the data are the request's, not the data's.
        let body = format!(r#"{{"type":"a.b","id":"{id}","timestamp":"{TIME}","data" :  {data}  }}"#);
        stage.api.post_with("/v1/events", &[], body).await?.require(202)?;
        for profile in builtin_profiles() {
            let name = profile.name().as_str();
            let seen = stage.receiver.wait_for_requests(&format!("/{name}"), number + 1, SOON).await?;
            let request = seen.get(number).context("just seen")?;
            let expected = body_of(name, &id, &stage.tenant, data)?;
            let shown: String = String::from_utf8_lossy(&request.body).chars().take(300).collect();
            ensure!(request.body == expected, "{name}, sample {number}: {shown}");
            check_signature(name, request).with_context(|| format!("{name}, sample {number}"))?;
        }
    }
    Ok(())
}

fn body_of(profile: &str, id: &str, tenant: &str, data: &str) -> Result<String> {
    let members = data.get(1..data.len() - 1).unwrap_or_default().trim();
    let after_comma = if members.is_empty() { String::new() } else { format!(",{members}") };
    Ok(match profile {
        "standard" => format!(r#"{{"type":"a.b","timestamp":"{TIME}","data":{data}}}"#),
        "trcker" => format!(
            r#"{{"id":"{id}","event":"a.b","createdAt":"{TIME}","brandId":"{tenant}","data":{data}}}"#
        ),
        "trackdesk" | "cloudevents-binary" => data.to_owned(),
        "trakkr" => format!(
            r#"{{"event":{{"type":"a.b","timestamp":"{TIME}","data":{data}}},"brand":{{"id":"{tenant}","name":"Acme","website":null}},"workflow":null,"summary":null,"meta":{{"source":"trakkr","version":"1.0","event_id":"{id}"}}}}"#
        ),
        "track360" => format!(
            r#"{{"event_type":"a.b","event_id":"{id}","schema_version":"1.0","timestamp":"{TIME}","data":{data}}}"#
        ),
        "tracktile" => format!(r#"{{"id":"{id}","kind":"a.b","time":"{TIME}"{after_comma}}}"#),
        "cloudevents" => format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/tenants/{tenant}","type":"a.b","time":"{TIME}","datacontenttype":"application/json","data":{data}}}"#
        ),
        other => bail!("say here what a body of {other} is"),
    })
}

fn check_signature(profile: &str, request: &Received) -> Result<()> {
    let body = &request.body[..];
    let header = |name: &str| request.header(name).with_context(|| format!("no {name}"));
    let decoded = || STANDARD.decode(SECRET.trim_start_matches("whsec_"));
    let standard = |key: &[u8]| {
        let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
        Ok::<_, anyhow::Error>(format!("v1,{}", STANDARD.encode(hmac(key, &signed)?)))
    };
    let text = SECRET.as_bytes();
    let (name, expected) = match profile {
        "standard" | "cloudevents" | "cloudevents-binary" => ("webhook-signature", standard(&decoded()?)?),
        "trackdesk" => ("webhook-signature", standard(text)?),
        "trcker" => {
            let value = header("X-Trcker-Signature")?;
            let time = value.strip_prefix("t=").and_then(|rest| rest.split(',').next()).context("no time")?;
            let signed = [time.as_bytes(), b".", body].concat();
            ("X-Trcker-Signature", format!("t={time},v1={}", hex::encode(hmac(text, &signed)?)))
        }
        "trakkr" => ("X-Trakkr-Signature", format!("sha256={}", hex::encode(hmac(text, body)?))),
        "track360" => ("X-Track360-Signature", hex::encode(hmac(text, body)?)),
        "tracktile" => ("X-Tracktile-Signature", format!("sha256={}", hex::encode(hmac(text, body)?))),
        other => bail!("say here what {other} signs"),
    };
    let found = header(name)?;
    ensure!(found == expected, "{name}: {found}, not {expected}");
    Ok(())
}

fn hmac(key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().to_vec())
}
