//! Without `--dev`, nothing on this machine or a private network can be a receiver.

use anyhow::{Result, ensure};
use postrider_tests::harness::{Server, ServerOptions};
use postrider_tests::stage::{make_tenant, text};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_private_receiver_is_refused_when_it_is_saved_and_when_it_is_called() -> Result<()> {
    let server = Server::start(ServerOptions::default()).await?;
    let (_, key) = make_tenant(&server, "standard").await?;
    let api = server.api(&key);
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://[::1]/",
    ] {
        let refused =
            api.post("/v1/webhooks", &json!({"url": url, "events": ["*"]})).await?.require(422)?.json()?;
        ensure!(refused["errors"][0]["pointer"] == "/url", "{url}: {refused}");
    }
    let none = api.get("/v1/webhooks").await?.require(200)?.json()?;
    ensure!(none["data"].as_array().is_some_and(Vec::is_empty), "a refused request leaves no trace: {none}");
    let webhook = api.post("/v1/webhooks", &json!({"url": "https://example.com/", "events": ["*"]})).await?;
    text(&webhook.require(201)?.json()?, "secret")?;
    Ok(())
}
