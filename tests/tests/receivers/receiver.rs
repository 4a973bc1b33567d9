//! A receiver in Python that customers might have written: a process that takes deliveries over HTTP, and is asked
//! afterwards what it made of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::harness::process::{Launch, Process};
use postrider_tests::harness::{Api, TempFolder, eventually};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

pub struct PythonReceiver {
    api: Api,
    _process: Process,
    _folder: TempFolder,
}

/// A header's name and value.
pub type Credential = (&'static str, String);

/// What a path of the receiver expects of its deliveries.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub path: &'static str,
    pub secrets: Vec<String>,
    /// None at all if empty.
    pub authentication: Option<Credential>,
    pub clock_ahead: i64,
    pub is_failing: bool,
}

/// A delivery as it came.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Why it was refused.
    pub error: Option<String>,
    pub parsed: Value,
    /// Whether it was sent away, genuine or not.
    pub was_failing: bool,
}

impl PythonReceiver {
    /// One of the contract of this name, in `tests/receivers/contracts`.
    pub async fn start(contract: &str) -> Result<Self> {
        let folder = TempFolder::new("python-receiver")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers/receiver.py");
        let launch = Launch::new("receiver", "python3", folder.path())
            .arg(script)
            .arg(contract)
            // The sources stay as they are.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .errors_to(folder.join("receiver.err"));
        let mut process = launch.spawn()?;
        let port = eventually("the port of the receiver in Python (which needs python3)", SOON, async || {
            process.ensure_running()?;
            let said = std::fs::read_to_string(launch.output()).unwrap_or_default();
            Ok(said.ends_with('\n').then(|| said.trim().to_owned()))
        });
        let port: u16 = port.await?.parse().context("not a port")?;
        let api = Api::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(PythonReceiver { api, _process: process, _folder: folder })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api.base())
    }

    pub async fn expect(&self, wanted: &Expectation) -> Result<()> {
        let authentication: serde_json::Map<String, Value> =
            wanted.authentication.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let body = json!({
            "path": wanted.path, "secrets": wanted.secrets, "authentication": authentication,
            "clock_ahead": wanted.clock_ahead, "failing": wanted.is_failing,
        });
        self.api.post("/control/expect", &body).await?.require(200)?;
        Ok(())
    }

    /// Why the receiver would refuse this delivery if it expected this; `None` if it would not.
    pub async fn judge(&self, wanted: &Expectation, delivery: &Delivered) -> Result<Option<String>> {
        self.expect(wanted).await?;
        let headers: Vec<[&String; 2]> = delivery.headers.iter().map(|(name, value)| [name, value]).collect();
        let body = json!({"path": wanted.path, "headers": headers, "body": STANDARD.encode(&delivery.body)});
        let said = self.api.post("/control/judge", &body).await?.require(200)?.json()?;
        ensure!(said["error"].is_null() != said["parsed"].is_null(), "one or the other: {said}");
        Ok(said["error"].as_str().map(str::to_owned))
    }

    /// The deliveries to a path, once there are `count`, and, with them, those that came meanwhile.
    pub async fn deliveries(&self, path: &str, count: usize) -> Result<Vec<Delivered>> {
        eventually(&format!("{count} deliveries to {path}"), SOON, async || {
            let all = self.seen().await?;
            let found: Vec<Delivered> = all.into_iter().filter(|delivery| delivery.path == path).collect();
            Ok((found.len() >= count).then_some(found))
        })
        .await
    }

    async fn seen(&self) -> Result<Vec<Delivered>> {
        let seen = self.api.get("/control/seen").await?.require(200)?.json()?;
        seen.as_array().context("not a list")?.iter().map(Delivered::read).collect()
    }
}

impl Delivered {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn read(value: &Value) -> Result<Self> {
        let text =
            |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no text: {value}"));
        let headers = value["headers"].as_array().context("no headers")?.iter();
        Ok(Delivered {
            path: text(&value["path"])?,
            headers: headers.map(|pair| Ok((text(&pair[0])?, text(&pair[1])?))).collect::<Result<_>>()?,
            body: STANDARD.decode(text(&value["body"])?)?,
            error: value["error"].as_str().map(str::to_owned),
            parsed: value["parsed"].clone(),
            was_failing: value["failing"] == true,
        })
    }
}
