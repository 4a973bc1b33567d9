//! Every built-in contract of a platform, with every kind of authentication, at receivers that were written from its
//! description alone.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};

use super::receiver::{Credential, Delivered, Expectation, PythonReceiver};

/// What the description of a contract says, as far as this test must know it.
struct Contract {
    name: &'static str,
    /// Where the body holds the event's data; empty if it is the body.
    data: &'static str,
    /// Whether the subscriber brings the secret along; else it is made, and shown once.
    brings_secret: bool,
    /// Whether receivers read several signatures, so that two secrets may sign for a time.
    may_overlap: bool,
    /// Whether a time is signed, which receivers allow to be five minutes old.
    has_time: bool,
}

on_both_engines!(
    a_standard_receiver_takes_what_is_genuine_and_nothing_else,
    a_trcker_receiver_takes_what_is_genuine_and_nothing_else,
    a_trackdesk_receiver_takes_what_is_genuine_and_nothing_else,
    a_trakkr_receiver_takes_what_is_genuine_and_nothing_else,
    a_track360_receiver_takes_what_is_genuine_and_nothing_else,
    a_tracktile_receiver_takes_what_is_genuine_and_nothing_else,
);

async fn a_standard_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract =
        Contract { name: "standard", data: "/data", brings_secret: false, may_overlap: true, has_time: true };
    contract.is_kept_on(engine).await
}

async fn a_trcker_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract =
        Contract { name: "trcker", data: "/data", brings_secret: true, may_overlap: true, has_time: true };
    contract.is_kept_on(engine).await
}

async fn a_trackdesk_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract =
        Contract { name: "trackdesk", data: "", brings_secret: true, may_overlap: true, has_time: true };
    contract.is_kept_on(engine).await
}

async fn a_trakkr_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract = Contract {
        name: "trakkr",
        data: "/event/data",
        brings_secret: true,
        may_overlap: false,
        has_time: false,
    };
    contract.is_kept_on(engine).await
}

async fn a_track360_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract = Contract {
        name: "track360",
        data: "/data",
        brings_secret: false,
        may_overlap: false,
        has_time: false,
    };
    contract.is_kept_on(engine).await
}

async fn a_tracktile_receiver_takes_what_is_genuine_and_nothing_else(engine: EngineKind) -> Result<()> {
    let contract =
        Contract { name: "tracktile", data: "", brings_secret: false, may_overlap: false, has_time: false };
    contract.is_kept_on(engine).await
}

/// A path of the receiver for each kind of authentication: what the webhook says, and what its receiver must see.
fn authentications() -> [(&'static str, Value, Option<Credential>); 4] {
    let basic = format!("Basic {}", STANDARD.encode("jo:pass:word"));
    [
        ("/none", json!({}), None),
        (
            "/bearer",
            json!({"auth_type": "bearer", "auth_token": "a-token-of-theirs"}),
            Some(("Authorization", "Bearer a-token-of-theirs".to_owned())),
        ),
        (
            "/basic",
            json!({"auth_type": "basic", "auth_username": "jo", "auth_password": "pass:word"}),
            Some(("Authorization", basic)),
        ),
        (
            "/api-key",
            json!({"auth_type": "api_key", "api_key_header": "X-Partner-Key", "api_key_value": "k 7"}),
            Some(("X-Partner-Key", "k 7".to_owned())),
        ),
    ]
}

/// By these a receiver knows a delivery that it had already, in the contracts that have them.
const IDS: [&str; 2] = ["webhook-id", "X-Trcker-Webhook-Id"];
/// The path whose webhook gets another secret.
const MOVING: &str = "/moving";
/// Long enough for every contract.
const FIRST_SECRET: &str = "the first secret of the subscriber, \u{fc}";
const SECOND_SECRET: &str = "the second secret of the subscriber, \u{fc}";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// The five minutes that receivers allow, and a second.
const TOO_LATE: i64 = 301;

impl Contract {
    async fn is_kept_on(&self, engine: EngineKind) -> Result<()> {
        let receiver = PythonReceiver::start(self.name).await?;
        let stage = Stage::open(engine, self.name).await?;
        let mut wanted = Vec::new();
        for (path, fields, authentication) in authentications() {
            let (_, secret) = self.webhook(&stage, &receiver, path, fields).await?;
            let expectation = Expectation {
                path,
                secrets: vec![secret],
                authentication,
                clock_ahead: 0,
                is_failing: false,
            };
            receiver.expect(&expectation).await?;
            wanted.push(expectation);
        }
        stage.publish("receivers.tried", self.event_data()).await?;
        for expectation in &wanted {
            let came = receiver.deliveries(expectation.path, 1).await?;
            let [delivery] = came.as_slice() else { bail!("more than one to {}", expectation.path) };
            self.is_as_published(delivery)?;
            self.refuses_what_is_not_genuine(&receiver, expectation, delivery).await?;
        }
        self.outlives_a_rotation(&stage, &receiver).await
    }

    /// The id and the signing secret of a new webhook.
    async fn webhook(
        &self,
        stage: &Stage,
        receiver: &PythonReceiver,
        path: &str,
        fields: Value,
    ) -> Result<(String, String)> {
        let mut fields = fields;
        fields["url"] = json!(receiver.url(path));
        if self.brings_secret {
            fields["secret"] = json!(FIRST_SECRET);
        }
        let events = if path == MOVING { "moving.*" } else { "receivers.tried" };
        let made = stage.webhook(path, events, fields).await?;
        let secret = if self.brings_secret { FIRST_SECRET.to_owned() } else { text(&made, "secret")? };
        Ok((text(&made, "id")?, secret))
    }

    fn event_data(&self) -> Value {
        json!({
            "transactionId": "t-1", "amount": 12_345_678_901_234_567_890_u64, "text": "\u{fc}n\u{ef} \u{1f600} </script>",
            "original": {"status": "pending"}, "new": {"status": "approved"},
        })
    }

    fn is_as_published(&self, delivery: &Delivered) -> Result<()> {
        ensure!(delivery.error.is_none(), "{} to {}: {:?}", self.name, delivery.path, delivery.error);
        let data = delivery.parsed.pointer(self.data).context("no data")?;
        for (name, value) in self.event_data().as_object().context("an object")? {
            ensure!(data[name] == *value, "{name} in {data}");
        }
        Ok(())
    }

    async fn refuses_what_is_not_genuine(
        &self,
        receiver: &PythonReceiver,
        expectation: &Expectation,
        delivery: &Delivered,
    ) -> Result<()> {
        ensure!(receiver.judge(expectation, delivery).await?.is_none(), "the very same again is genuine");
        let refused = receiver.judge(expectation, &tampered(delivery)?).await?;
        ensure!(refused.as_deref() == Some("no matching signature"), "a tampered body: {refused:?}");
        let other = Expectation { secrets: vec![OTHER_SECRET.to_owned()], ..expectation.clone() };
        let refused = receiver.judge(&other, delivery).await?;
        ensure!(refused.as_deref() == Some("no matching signature"), "another secret: {refused:?}");
        let stranger = Some(("Authorization", "Bearer another".to_owned()));
        let strict = Expectation { authentication: stranger, ..expectation.clone() };
        let refused = receiver.judge(&strict, delivery).await?;
        ensure!(refused.is_some_and(|why| why.contains("that was agreed")), "other credentials");
        let late = Expectation { clock_ahead: TOO_LATE, ..expectation.clone() };
        let refused = receiver.judge(&late, delivery).await?;
        let expected = if self.has_time { Some("stale") } else { None };
        ensure!(refused.as_deref() == expected, "five minutes later: {refused:?}");
        receiver.expect(expectation).await
    }

    /// A delivery that failed under the old secret comes again under the new one, and under both where they overlap.
    async fn outlives_a_rotation(&self, stage: &Stage, receiver: &PythonReceiver) -> Result<()> {
        let path = MOVING;
        let often = json!({"retry": {"waits": ["1s", "1s", "1s", "1s", "1s", "1s"]}});
        let (id, first) = self.webhook(stage, receiver, path, often).await?;
        let before = Expectation {
            path,
            secrets: vec![first],
            authentication: None,
            clock_ahead: 0,
            is_failing: true,
        };
        receiver.expect(&before).await?;
        let accepted = stage.publish("moving.house", self.event_data()).await?;
        let came = receiver.deliveries(path, 1).await?;
        ensure!(came[0].error.is_none() && came[0].was_failing, "genuine, and sent away: {:?}", came[0]);

        let mut rotation = if self.may_overlap { json!({"overlap_seconds": 3600}) } else { json!({}) };
        if self.brings_secret {
            rotation["secret"] = json!(SECOND_SECRET);
        }
        let rotated = stage.api.post(&format!("/v1/webhooks/{id}/rotate"), &rotation).await?.require(200)?;
        let second =
            if self.brings_secret { SECOND_SECRET.to_owned() } else { text(&rotated.json()?, "secret")? };
        let after = Expectation { secrets: vec![second], is_failing: false, ..before.clone() };
        receiver.expect(&after).await?;
        let delivery = text(&accepted["deliveries"][0], "id")?;
        stage.wait_for_status(&delivery, "delivered").await?;

        let came = receiver.deliveries(path, 2).await?;
        let last = came.last().context("just seen")?;
        self.is_as_published(last)?;
        ensure!(last.body == came[0].body, "every try has the same body");
        for name in IDS {
            ensure!(last.header(name) == came[0].header(name), "{name} is another at every try");
        }
        let refused = receiver.judge(&before, last).await?;
        let expected = if self.may_overlap { None } else { Some("no matching signature") };
        ensure!(refused.as_deref() == expected, "who knows the old secret alone: {refused:?}");
        stage.wait_until_settled(SOON).await?;
        Ok(())
    }
}

/// One letter of a value is another; still JSON.
fn tampered(delivery: &Delivered) -> Result<Delivered> {
    let text = String::from_utf8(delivery.body.clone())?.replacen("approved", "approvee", 1);
    ensure!(text.as_bytes() != delivery.body, "nothing was changed");
    Ok(Delivered { body: text.into_bytes(), ..delivery.clone() })
}
