//! A whole installation with one tenant, ready to publish and receive: where end-to-end and fault tests begin.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{Api, Receiver, Server, ServerOptions, eventually, shared_postgres, shared_rabbitmq};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// What an installation runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    Embedded,
    Cluster,
}

/// Makes one test of each function for each engine: `embedded::name` and `cluster::name`. The functions are
/// `async fn name(engine: EngineKind) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name($crate::stage::EngineKind::Embedded).await
            })+
        }

        mod cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name($crate::stage::EngineKind::Cluster).await
            })+
        }
    };
}

/// An installation of one process with all roles, a tenant, its key, and a receiver.
pub struct Stage {
    pub server: Server,
    pub receiver: Receiver,
    pub tenant: String,
    /// With the tenant's own key: publish, read, manage.
    pub api: Api,
    pub key: String,
}

/// The options of a server on this engine: on the cluster, in a virtual host and a database of its own.
pub async fn server_options(engine: EngineKind) -> Result<ServerOptions> {
    match engine {
        EngineKind::Embedded => Ok(ServerOptions::embedded()),
        EngineKind::Cluster => {
            let queue = shared_rabbitmq().await?.vhost().await?;
            let store = shared_postgres().await?.create_database().await?;
            Ok(ServerOptions::cluster(&queue, &store))
        }
    }
}

impl Stage {
    /// With a tenant of this profile.
    pub async fn open(engine: EngineKind, profile: &str) -> Result<Self> {
        Self::open_with(server_options(engine).await?, profile).await
    }

    pub async fn open_with(options: ServerOptions, profile: &str) -> Result<Self> {
        let server = Server::start(options).await?;
        let receiver = Receiver::start().await?;
        let (tenant, key) = make_tenant(&server, profile).await?;
        let api = server.api(&key);
        Ok(Stage { server, receiver, tenant, api, key })
    }

    /// Registers a webhook to a path of the receiver; `fields` come on top. Answers the webhook as created.
    pub async fn webhook(&self, path: &str, events: &str, fields: Value) -> Result<Value> {
        let mut body =
            json!({"name": path.trim_matches('/'), "url": self.receiver.url(path), "events": [events]});
        merge(&mut body, fields);
        self.api.post("/v1/webhooks", &body).await?.require(201)?.json()
    }

    /// Publishes one event; answers the 202.
    pub async fn publish(&self, event_type: &str, data: Value) -> Result<Value> {
        self.api.post("/v1/events", &json!({"type": event_type, "data": data})).await?.require(202)?.json()
    }

    pub async fn delivery(&self, id: &str) -> Result<Value> {
        self.api.get(&format!("/v1/deliveries/{id}")).await?.require(200)?.json()
    }

    /// Waits until the log shows a delivery in this status.
    pub async fn wait_for_status(&self, id: &str, status: &str) -> Result<Value> {
        let what = format!("delivery {id} to be {status}");
        let api = &self.api;
        eventually(&what, SOON, async || {
            let answer = api.get(&format!("/v1/deliveries/{id}")).await?;
            if answer.status == 404 {
                return Ok(None);
            }
            let delivery = answer.require(200)?.json()?;
            Ok((delivery["status"] == status).then_some(delivery))
        })
        .await
    }

    pub async fn ledger(&self) -> Result<Value> {
        self.api.get("/v1/ledger").await?.require(200)?.json()
    }

    /// Waits until every expected delivery is concluded (or held) and the ledger balances; answers it.
    pub async fn wait_until_settled(&self, within: Duration) -> Result<Value> {
        settled(&self.api, within).await
    }
}

/// Waits until nothing is pending, retrying or settling, and the ledger balances: twice in a row the same, since a
/// record that is between the broker and its reader is seen by neither for a moment.
pub async fn settled(api: &Api, within: Duration) -> Result<Value> {
    let last = std::cell::RefCell::new(Value::Null);
    let ledger = eventually("the ledger to settle", within, async || {
        // Not answering for a moment is part of what is being waited out.
        let Ok(answer) = api.get("/v1/ledger").await else { return Ok(None) };
        let Ok(ledger) = answer.require(200).and_then(|answer| answer.json()) else { return Ok(None) };
        let deliveries = &ledger["deliveries"];
        let is_done =
            deliveries["pending"] == 0 && deliveries["retrying"] == 0 && ledger["settling"] == false;
        let is_same = last.replace(ledger.clone()) == ledger;
        Ok((is_done && is_same && ledger["balanced"] == true).then_some(ledger))
    });
    match ledger.await {
        Ok(ledger) => Ok(ledger),
        Err(error) => {
            let last = match api.get("/v1/ledger").await {
                Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                Err(error) => error.to_string(),
            };
            Err(error).with_context(|| format!("the last ledger: {last}"))
        }
    }
}

/// A tenant with a key of all scopes.
pub async fn make_tenant(server: &Server, profile: &str) -> Result<(String, String)> {
    let admin = server.admin();
    let tenant = admin
        .post("/v1/tenants", &json!({"name": "Acme", "profile": profile}))
        .await?
        .require(201)?
        .json()?;
    let tenant = text(&tenant, "id")?;
    let scopes = json!({"name": "all", "scopes": ["publish", "read", "manage"]});
    let key = admin.post(&format!("/v1/tenants/{tenant}/keys"), &scopes).await?.require(201)?.json()?;
    Ok((tenant, text(&key, "key")?))
}

/// A text member that must be there.
pub fn text(value: &Value, name: &str) -> Result<String> {
    let found = value[name].as_str().map(str::to_owned);
    found.with_context(|| format!("no text in {name:?} of {value}"))
}

/// The id of the one delivery of a 202.
pub fn only_delivery(accepted: &Value) -> Result<String> {
    let deliveries = accepted["deliveries"].as_array().context("no deliveries in the answer")?;
    ensure!(deliveries.len() == 1, "not one delivery: {accepted}");
    text(&deliveries[0], "id")
}

fn merge(into: &mut Value, fields: Value) {
    if let (Value::Object(into), Value::Object(fields)) = (into, fields) {
        into.extend(fields);
    }
}
