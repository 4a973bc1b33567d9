//! URLs and answers that would lead a delivery inside: the vectors of `vectors/ssrf-vectors.json`, end to end.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use postrider_tests::harness::{Behaviour, Server, ServerOptions};
use postrider_tests::stage::{EngineKind, Stage, make_tenant, only_delivery};
use serde_json::{Value, json};

use super::invariants::check_refusal;
use super::wire::{once, request};

fn vectors(kind: &str) -> Result<Vec<Value>> {
    let all: Value = serde_json::from_str(include_str!("../../vectors/ssrf-vectors.json"))?;
    let all = all["vectors"].as_array().context("no vectors")?.clone();
    Ok(all.into_iter().filter(|vector| vector["kind"] == kind).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_points_inside_is_not_saved() -> Result<()> {
    let server = Server::start(ServerOptions::default().args(["--allow-net", "10.0.0.0/8"])).await?;
    let (_, key) = make_tenant(&server, "standard").await?;
    let ask = async |url: &Value, more: Value| {
        let mut body = json!({"url": url, "events": ["never.published"]});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let headers =
            [("Authorization", format!("Bearer {key}")), ("Content-Type", "application/json".to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        once(server.address(), &request("POST", "/v1/webhooks", &headers, body.to_string().as_bytes()))
            .await?
            .context("no answer")
    };
    for vector in vectors("url")? {
        let reply = ask(&vector["input"], json!({})).await?;
        let expected: &[u16] = match vector["expect"].as_str().context("no expectation")? {
            "accept" => &[201],
            "reject" | "accept_if_http_enabled" => &[422],
            // Known by its name alone, it may be saved: then the address decides when it is called.
            "reject_or_block" | "block" => &[201, 422],
            other => anyhow::bail!("not an expectation: {other}"),
        };
        ensure!(expected.contains(&reply.status), "{vector}: {reply}");
        if reply.status == 422 {
            check_refusal(&reply)?;
            ensure!(reply.json()?["errors"][0]["pointer"] == "/url", "{vector}: {reply}");
        }
    }
    // What the operator opens never includes metadata services, and a tenant opens nothing.
    for (url, more) in [
        ("https://169.254.169.254/", json!({})),
        ("https://127.0.0.1/", json!({"allow_net": ["127.0.0.0/8"]})),
        ("https://127.0.0.1/", json!({"allow_cidrs": ["127.0.0.0/8"]})),
    ] {
        let reply = ask(&json!(url), more).await?;
        ensure!(reply.status == 422, "{url}: {reply}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_with_its_status_and_is_not_followed() -> Result<()> {
    let stage = Stage::open(EngineKind::Embedded, "track360").await?;
    for vector in vectors("redirect")? {
        let id = vector["id"].as_str().context("no id")?;
        let status = u16::try_from(vector["status"].as_u64().context("no status")?)?;
        let path = format!("/{id}");
        let location = match vector["location"].as_str() {
            Some("<itself>") => Some(("Location".to_owned(), stage.receiver.url(&path))),
            Some(location) => Some(("Location".to_owned(), location.to_owned())),
            None => None,
        };
        let own = vector["headers"].as_object().into_iter().flatten();
        let headers =
            own.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).chain(location);
        stage
            .receiver
            .script(&path, Behaviour::Respond { status, headers: headers.collect(), body: Bytes::new() });
        stage.webhook(&path, &format!("{}.one", id.replace('-', "_")), json!({})).await?;
        let accepted = stage.publish(&format!("{}.one", id.replace('-', "_")), json!({})).await?;
        let wanted = if status < 300 { "delivered" } else { "failed" };
        let delivery = stage.wait_for_status(&only_delivery(&accepted)?, wanted).await?;
        ensure!(delivery["last_code"] == status && delivery["attempts"] == 1, "{id}: {delivery}");
        ensure!(stage.receiver.requests_to(&path).len() == 1, "{id}: followed");
    }
    // A way that an answer offered is not taken by the next delivery either.
    let again = stage.publish("alt_svc.one", json!({})).await?;
    let delivery = stage.wait_for_status(&only_delivery(&again)?, "delivered").await?;
    let address = format!("127.0.0.1:{}", stage.receiver.port());
    ensure!(delivery["tries"][0]["address"] == address.as_str(), "{delivery}");
    Ok(())
}

/// Names are resolved by the machine, so only what it knows by itself can be tried from outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_nowhere_or_inside_is_never_called() -> Result<()> {
    let stage = Stage::open(EngineKind::Embedded, "track360").await?;
    let seen = stage.receiver.connections();
    stage
        .api
        .post("/v1/webhooks", &json!({"url": "https://no-such-host.invalid/", "events": ["dns.none"]}))
        .await?
        .require(201)?;
    let accepted = stage.publish("dns.none", json!({})).await?;
    let id = only_delivery(&accepted)?;
    let delivery = stage.wait_for_status(&id, "retrying").await?;
    ensure!(delivery["tries"][0]["error"]["class"] == "dns", "{delivery}");
    ensure!(stage.receiver.connections() == seen);
    Ok(())
}
