//! `postrider listen` as the receiver of real deliveries: it verifies every profile, keeps what came for
//! `profiles check --capture`, and gets into every trouble that it is told to.

use anyhow::{Context, Result, ensure};
use postrider_contract::clock::Timestamp;
use postrider_contract::profile::builtin_profiles;
use postrider_tests::harness::Listener;
use postrider_tests::harness::postrider::run;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery};
use serde_json::{Value, json};

on_both_engines!(
    every_profile_is_verified_and_is_what_a_capture_is_held_against,
    a_receiver_in_trouble_can_be_played,
    requests_are_replayed_to_another_server
);

/// A secret that every built-in profile takes.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

async fn every_profile_is_verified_and_is_what_a_capture_is_held_against(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let listener = Listener::start(&["--secret", SECRET, "--record", "captured.json"]).await?;
    for profile in builtin_profiles() {
        let url = path_of(&listener, profile.name().as_str());
        stage.webhook("/hook", "*", json!({"url": url, "profile": profile.name(), "secret": SECRET})).await?;
    }
    let event = r#"{"type":"conversion.created","summary":"it \"rose\"","workflow":{ "name":"W" },
        "data":{ "n": 12345678901234567890123, "a":1, "a": 2,"e":1e400,"s":"\ud800" }}"#;
    stage.api.post_with("/v1/events", &[], event).await?.require(202)?;
    for profile in builtin_profiles() {
        listener.prints(&format!("signature ok ({})", profile.name())).await?;
    }
    stage.wait_until_settled(SOON).await?;
    ensure!(!listener.printed().contains("SIGNATURE WRONG"), "{}", listener.printed());

    let file = listener.folder().join("captured.json");
    let capture = file.to_str().context("not UTF-8")?;
    let check = async |profile: &str, secret: &str| {
        let only = path_of(&listener, profile);
        let words = [
            "profiles",
            "check",
            profile,
            "--capture",
            capture,
            "--only",
            &only,
            "--secret",
            secret,
            "--all",
        ];
        run(&words, &[], b"").await
    };
    for profile in builtin_profiles() {
        let printed = check(profile.name().as_str(), SECRET).await?.require_success()?;
        ensure!(printed.contains("1 requests: 1 the same, 0 with differences; 1 signatures"), "{printed}");
    }
    let refused = check("trcker", "another secret").await?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(refused.stdout.contains("does not verify with the given secret"), "{}", refused.stdout);
    Ok(())
}

/// None of them begins with another.
fn path_of(listener: &Listener, profile: &str) -> String {
    listener.url(&format!("/{profile}/hook"))
}

/// One way to misbehave, what the webhook has for it, and how the log tells of the first try.
struct Trouble {
    arguments: &'static [&'static str],
    webhook: Value,
    status: &'static str,
    shows: fn(&Value) -> bool,
}

fn troubles() -> Vec<Trouble> {
    let trouble = |arguments, webhook, status, shows| Trouble { arguments, webhook, status, shows };
    vec![
        trouble(&["--close", "before"], json!({}), "retrying", |first| first["error"]["class"] == "closed"),
        trouble(&["--close", "half-way"], json!({}), "delivered", |first| {
            first["response"]["status"] == 200 && first["response"]["body_extent"] == "cut_off"
        }),
        trouble(&["--drip", "1s"], json!({"timeout_ms": 1500}), "delivered", |first| {
            first["response"]["status"] == 200 && first["response"]["body_extent"] == "cut_off"
        }),
        trouble(&["--redirect", "http://127.0.0.1:9/"], json!({}), "retrying", |first| {
            first["response"]["status"] == 302
        }),
        trouble(&["--respond", "429", "--retry-after", "1m"], json!({}), "retrying", |first| {
            let time = |name: &str| first[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let (begun, next) = (time("started_at"), time("next_attempt_at"));
            begun.zip(next).is_some_and(|(begun, next)| next.since(begun).as_secs() >= 60)
        }),
        trouble(&["--delay", "10m"], json!({"timeout_ms": 300}), "retrying", |first| {
            first["error"]["class"] == "timeout_headers"
        }),
        trouble(
            &["--respond", "503", "--recover-after", "1"],
            json!({"retry": {"waits": ["300ms"]}}),
            "delivered",
            |first| first["response"]["status"] == 503 && first["outcome"] == "retry",
        ),
    ]
}

async fn a_receiver_in_trouble_can_be_played(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let mut played = Vec::new();
    for (number, trouble) in troubles().into_iter().enumerate() {
        let listener = Listener::start(trouble.arguments).await?;
        let event_type = format!("trouble.number{number}");
        let mut fields = trouble.webhook.clone();
        fields["url"] = json!(listener.url("/hook"));
        stage.webhook("/hook", &event_type, fields).await?;
        let delivery = only_delivery(&stage.publish(&event_type, json!({})).await?)?;
        played.push((trouble, delivery, listener));
    }
    for (trouble, delivery, listener) in played {
        let what = || format!("{:?}: {}", trouble.arguments, listener.printed());
        let delivery = stage.wait_for_status(&delivery, trouble.status).await.with_context(what)?;
        let first = &delivery["tries"][0];
        ensure!((trouble.shows)(first), "{}: {first}", what());
    }
    Ok(())
}

async fn requests_are_replayed_to_another_server(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    let to = stage.receiver.url("");
    let listener = Listener::start(&["--secret", SECRET, "--replay-to", &to]).await?;
    stage.webhook("/hook", "*", json!({"url": listener.url("/hook?a=b"), "secret": SECRET})).await?;
    let delivery = only_delivery(&stage.publish("conversion.created", json!({"n": 1})).await?)?;
    let seen = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    ensure!(seen[0].target == "/hook?a=b", "{:?}", seen[0]);
    let names: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["Content-Type", "User-Agent", "X-Trcker-Event", "X-Trcker-Signature"] {
        ensure!(names.contains(&name), "as it came: {names:?}");
    }
    stage.wait_for_status(&delivery, "delivered").await?;
    listener.prints("signature ok (trcker)").await?;
    listener.prints("replayed to").await
}
