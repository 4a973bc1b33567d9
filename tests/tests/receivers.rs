//! Receivers that others wrote, or that were written from the documentation alone, verify what is really sent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::harness::Received;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// These need Python, and some of them the packages that it fetches.
mod receivers {
    mod contracts;
    mod receiver;
    mod snippets;

    use super::*;

    on_both_engines!(
        the_official_library_verifies_standard_webhooks,
        the_documented_check_verifies_trcker_webhooks
    );
}

/// Over the five minutes that either receiver allows, in seconds.
const TOO_OLD: u64 = 301;

async fn the_official_library_verifies_standard_webhooks(engine: EngineKind) -> Result<()> {
    let receiver = Python::with_packages("standard_webhooks_receiver.py").await?;
    let stage = Stage::open(engine, "standard").await?;
    let secret = text(&stage.webhook("/hook", "order.*", json!({})).await?, "secret")?;
    stage.publish("order.paid", json!({"order": 7, "text": "ünï \u{1f600}"})).await?;
    let request = first(&stage).await?;

    let seen = receiver.verify(&secret, &request)?;
    ensure!(seen["valid"]["type"] == "order.paid" && seen["valid"]["data"]["order"] == 7, "{seen}");
    is_refused(&receiver, &secret, &tampered(&request))?;
    let stale = with_header(&request, "webhook-timestamp", &older(request.header("webhook-timestamp"))?);
    is_refused(&receiver, &secret, &stale)?;
    is_refused(&receiver, &secret, &with_header(&request, "webhook-id", "evt_another"))?;
    let other = format!("whsec_{}", STANDARD.encode([7; 32]));
    is_refused(&receiver, &other, &request)
}

async fn the_documented_check_verifies_trcker_webhooks(engine: EngineKind) -> Result<()> {
    let receiver = Python::plain("trcker_receiver.py")?;
    let stage = Stage::open(engine, "trcker").await?;
    let secret = "a secret of the subscriber, ünï";
    stage.webhook("/hook", "conversion.*", json!({"secret": secret})).await?;
    stage.publish("conversion.created", json!({"conversionId": "c1", "revenueCents": 4200})).await?;
    let request = first(&stage).await?;

    let seen = receiver.verify(secret, &request)?;
    ensure!(seen["valid"]["event"] == "conversion.created", "{seen}");
    ensure!(seen["valid"]["data"]["revenueCents"] == 4200, "{seen}");
    is_refused(&receiver, secret, &tampered(&request))?;
    let header = request.header("X-Trcker-Signature").context("not signed")?;
    let (time, signature) =
        header.strip_prefix("t=").and_then(|rest| rest.split_once(',')).context("form")?;
    let stale = format!("t={},{signature}", older(Some(time))?);
    is_refused(&receiver, secret, &with_header(&request, "X-Trcker-Signature", &stale))?;
    is_refused(&receiver, "another secret of the subscriber", &request)
}

async fn first(stage: &Stage) -> Result<Received> {
    stage.receiver.wait_for_requests("/hook", 1, SOON).await?.into_iter().next().context("just seen")
}

fn is_refused(receiver: &Python, secret: &str, request: &Received) -> Result<()> {
    let seen = receiver.verify(secret, request)?;
    ensure!(seen["valid"].is_null() && seen["error"].is_string(), "was not refused: {seen}");
    Ok(())
}

fn older(time: Option<&str>) -> Result<String> {
    let seconds: u64 = time.context("no time")?.parse().context("not seconds")?;
    Ok((seconds - TOO_OLD).to_string())
}

fn tampered(request: &Received) -> Received {
    let mut body = request.body.to_vec();
    // Still JSON, and another number.
    if let Some(digit) = body.iter_mut().rev().find(|byte| byte.is_ascii_digit()) {
        *digit = if *digit == b'9' { b'1' } else { *digit + 1 };
    }
    Received { body: body.into(), ..request.clone() }
}

fn with_header(request: &Received, name: &str, value: &str) -> Received {
    let mut changed = request.clone();
    for (known, held) in &mut changed.headers {
        if known.eq_ignore_ascii_case(name) {
            value.clone_into(held);
        }
    }
    changed
}

/// A receiver written in Python, one process for each request.
struct Python {
    interpreter: PathBuf,
    script: PathBuf,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers")
}

impl Python {
    /// With the standard library alone.
    fn plain(script: &str) -> Result<Self> {
        let found = Command::new("python3").arg("--version").output();
        ensure!(found.is_ok_and(|output| output.status.success()), "the receivers in Python need: python3");
        Ok(Python { interpreter: PathBuf::from("python3"), script: folder().join(script) })
    }

    /// With the packages of `requirements.txt`, in an environment beside what cargo builds.
    async fn with_packages(script: &str) -> Result<Self> {
        Ok(Python { interpreter: Python::interpreter_with_packages().await?, script: folder().join(script) })
    }

    async fn interpreter_with_packages() -> Result<PathBuf> {
        static INTERPRETER: OnceCell<PathBuf> = OnceCell::const_new();
        let interpreter = INTERPRETER.get_or_try_init(async || {
            let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("receivers-in-python");
            let output = Command::new(folder().join("prepare.sh")).arg(&environment).output()?;
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
        });
        Ok(interpreter.await?.clone())
    }

    fn verify(&self, secret: &str, request: &Received) -> Result<Value> {
        let headers: serde_json::Map<String, Value> =
            request.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let input = json!({"secret": secret, "headers": headers, "body": STANDARD.encode(&request.body)});
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting Python")?;
        let stdin = child.stdin.take().context("no standard input")?;
        serde_json::to_writer(stdin, &input)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
