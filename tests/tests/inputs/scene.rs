//! An installation with two tenants and keys of every sort, for requests that should be refused.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_contract::clock::Clock;
use postrider_service::system::SystemClock;
use postrider_tests::harness::{Api, Receiver, Server, ServerOptions, eventually};
use postrider_tests::stage::{SOON, make_tenant, text};
use serde_json::{Value, json};

use super::wire::{Reply, once, request};

/// Keys of one tenant.
pub struct Keys {
    pub all: String,
    pub read_only: String,
    pub publish_only: String,
    pub revoked: String,
    pub expired: String,
}

/// A tenant `own` with keys, a webhook and deliveries, and one beside it that must not be seen.
pub struct Scene {
    pub server: Server,
    pub receiver: Receiver,
    pub tenant: String,
    pub keys: Keys,
    pub api: Api,
    /// A webhook of the own tenant that receives everything published in [`Scene::open`].
    pub webhook: String,
    pub foreign: Foreign,
}

/// What the other tenant has.
pub struct Foreign {
    pub tenant: String,
    pub webhook: String,
    pub event: String,
    pub delivery: String,
    pub cursor: String,
}

impl Scene {
    /// In development mode: the receiver gets what is accepted.
    pub async fn open() -> Result<Self> {
        // A quota that a test can fill.
        let options = ServerOptions::embedded().env("POSTRIDER_MANAGE_WEBHOOKS_PER_TENANT", "1000");
        Self::open_with(options).await
    }

    pub async fn open_with(options: ServerOptions) -> Result<Self> {
        let server = Server::start(options).await?;
        let receiver = Receiver::start().await?;
        let (tenant, all) = make_tenant(&server, "standard").await?;
        let (foreign_tenant, foreign_key) = make_tenant(&server, "standard").await?;
        let keys = make_keys(&server, &tenant, all).await?;
        let api = server.api(&keys.all);
        let webhook = json!({"name": "own", "url": receiver.url("/own"), "events": ["*"]});
        let webhook = text(&api.post("/v1/webhooks", &webhook).await?.require(201)?.json()?, "id")?;
        let foreign = make_foreign(&server, &receiver, foreign_tenant, &foreign_key).await?;
        Ok(Scene { server, receiver, tenant, keys, api, webhook, foreign })
    }

    /// A request of the own tenant with further headers, on a connection of its own.
    pub async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        self.ask_with(&self.keys.all, method, target, headers, body).await
    }

    pub async fn ask_with(
        &self,
        key: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        let mut all = vec![("Authorization".to_owned(), format!("Bearer {key}"))];
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let bytes = request(method, target, &all, body);
        let reply = once(self.server.address(), &bytes).await?;
        reply.with_context(|| format!("no answer to {method} {target}"))
    }

    /// A good event, which every refusal must leave possible. Its id.
    pub async fn publish_good(&self) -> Result<String> {
        let reply = self.ask("POST", "/v1/events", &[], br#"{"type":"good.one","data":{"n":1}}"#).await?;
        ensure!(reply.status == 202, "a good event after a bad request: {reply}");
        text(&reply.json()?, "id")
    }

    /// How many webhooks, keys and tenants there are: what a refused request must not change.
    pub async fn configured(&self) -> Result<[usize; 3]> {
        let admin = self.server.admin();
        let webhooks = count(&self.api, "/v1/webhooks?limit=200").await?;
        let keys = count(&admin, &format!("/v1/tenants/{}/keys?limit=200", self.tenant)).await?;
        let tenants = count(&admin, "/v1/tenants?limit=200").await?;
        Ok([webhooks, keys, tenants])
    }

    /// All events of the own tenant, once the log holds what was accepted.
    pub async fn settled_events(&self) -> Result<(Vec<Value>, Value)> {
        let ledger = postrider_tests::stage::settled(&self.api, SOON * 2).await?;
        let mut events = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.api.get(&format!("/v1/events?limit=200{cursor}")).await?.require(200)?.json()?;
            events.extend(page["data"].as_array().context("no data")?.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok((events, ledger)),
            }
        }
    }
}

async fn count(api: &Api, target: &str) -> Result<usize> {
    let page = api.get(target).await?.require(200)?.json()?;
    ensure!(page["next_cursor"].is_null(), "more than one page: {target}");
    Ok(page["data"].as_array().context("no data")?.len())
}

async fn make_keys(server: &Server, tenant: &str, all: String) -> Result<Keys> {
    let admin = server.admin();
    let path = format!("/v1/tenants/{tenant}/keys");
    let make = async |scopes: Value| -> Result<Value> {
        admin.post(&path, &json!({"name": "k", "scopes": scopes})).await?.require(201)?.json()
    };
    let read_only = text(&make(json!(["read"])).await?, "key")?;
    let publish_only = text(&make(json!(["publish"])).await?, "key")?;
    let revoked = make(json!(["publish", "read", "manage"])).await?;
    admin.delete(&format!("{path}/{}", text(&revoked, "id")?)).await?.require(204)?;
    // The shortest life that is accepted: it is over when this scene is used.
    let soon = eventually("a key that will have expired", SOON, async || {
        let expires = SystemClock.now().plus(Duration::from_millis(400));
        let body = json!({"name": "short", "scopes": ["read"], "expires_at": expires.to_string()});
        let answer = admin.post(&path, &body).await?;
        Ok((answer.status == 201).then_some(answer))
    });
    let expired = text(&soon.await?.json()?, "key")?;
    let short = server.api(&expired);
    eventually("the key to expire", SOON, async || {
        Ok((short.get("/v1/webhooks").await?.status == 401).then_some(()))
    })
    .await?;
    Ok(Keys { all, read_only, publish_only, revoked: text(&revoked, "key")?, expired })
}

async fn make_foreign(server: &Server, receiver: &Receiver, tenant: String, key: &str) -> Result<Foreign> {
    let api = server.api(key);
    let webhook = json!({"name": "other", "url": receiver.url("/foreign"), "events": ["*"]});
    let webhook = text(&api.post("/v1/webhooks", &webhook).await?.require(201)?.json()?, "id")?;
    let mut accepted = Value::Null;
    for number in 0..3 {
        let body = json!({"type": "foreign.one", "data": {"n": number}});
        accepted = api.post("/v1/events", &body).await?.require(202)?.json()?;
    }
    let delivery = text(&accepted["deliveries"][0], "id")?;
    postrider_tests::stage::settled(&api, SOON).await?;
    let page = api.get("/v1/deliveries?limit=1").await?.require(200)?.json()?;
    let cursor = text(&page, "next_cursor")?;
    Ok(Foreign { tenant, webhook, event: text(&accepted, "id")?, delivery, cursor })
}
