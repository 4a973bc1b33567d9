//! One of the two installations that are compared: its tenants, its webhooks and what is published to them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use postrider_contract::profile::ProfileName;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::installation::{EngineGiven, Installation, Layout, Subscription, Tenant};
use super::super::receiver::BenchReceiver;
use super::Neighbour;
use super::bad_receivers::{BLACK_HOLES, BadReceivers};
use super::traffic::{Target, Traffic, batch_body};

/// The fleet: so many tenants with so many webhooks each, of which one is a black hole and one answers 500.
const FLEET_TENANTS: usize = BLACK_HOLES;
const FLEET_WEBHOOKS: usize = 98;
const TENANTS_AT_ONCE: usize = 8;
/// Events in one request while the waiting room is filled, and requests at a time.
const BATCH: u32 = 500;
const FILLERS: u32 = 4;
/// How long the log may take to write down what was accepted.
const SETTLE: Duration = Duration::from_secs(300);

/// Whose deliveries wait.
struct Hot {
    tenant: Tenant,
    webhook: String,
}

pub struct Site {
    pub installation: Installation,
    kind: Neighbour,
    healthy: Arc<[Target]>,
    bad: Arc<[Target]>,
    hot: Option<Hot>,
    tenants: Vec<Tenant>,
}

impl Site {
    /// With the healthy webhooks alone, or with bad ones too.
    pub async fn start(
        engine: EngineGiven,
        kind: Neighbour,
        healthy: &BenchReceiver,
        bad: Option<&BadReceivers>,
    ) -> anyhow::Result<Self> {
        let installation = Installation::start(engine, Layout::OneProcess).await?;
        let none: Arc<[Target]> = Arc::from([]);
        let mut site = Site {
            installation,
            kind,
            healthy: Arc::clone(&none),
            bad: none,
            hot: None,
            tenants: Vec::new(),
        };
        site.people(healthy, bad).await?;
        Ok(site)
    }

    /// For the healthy, at so many events a second.
    pub fn healthy_traffic(&self, rate: u32, size: usize) -> Traffic {
        self.traffic(&self.healthy, rate, size)
    }

    /// For the bad ones, if there are any, beside so many events a second for the healthy.
    pub fn bad_traffic(&self, rate: u32, size: usize) -> Option<Traffic> {
        let is_shared = self.kind == Neighbour::Fleet;
        let rate = if is_shared { alike(rate, self.healthy.len(), self.bad.len()) } else { rate };
        (!self.bad.is_empty()).then(|| self.traffic(&self.bad, rate, size))
    }

    fn traffic(&self, targets: &Arc<[Target]>, rate: u32, size: usize) -> Traffic {
        let addresses = self.installation.publish_addresses();
        Traffic { addresses, targets: Arc::clone(targets), rate, size }
    }

    /// How many deliveries wait in the waiting room, over all tenants.
    pub async fn waiting(&self) -> anyhow::Result<u64> {
        let mut waiting = 0;
        // The bad ones are the last that were registered, and lists begin with the newest.
        for tenant in &self.tenants {
            let page =
                self.installation.for_tenant(tenant, "GET", "/v1/webhooks?limit=10", &Value::Null).await?;
            let counts = page["data"].as_array().into_iter().flatten();
            waiting += counts.filter_map(|one| one["waiting"]["count"].as_u64()).sum::<u64>();
        }
        Ok(waiting)
    }

    /// Puts deliveries for the hot one into the waiting room, and lets them go.
    pub async fn fill(&self, count: u32, size: usize) -> anyhow::Result<()> {
        let Hot { tenant, webhook } = self.hot.as_ref().context("nobody is hot")?;
        let path = format!("/v1/webhooks/{webhook}");
        self.installation.for_tenant(tenant, "POST", &format!("{path}/pause"), &json!({})).await?;
        self.installation.spread_the_word().await;
        let body: Value = serde_json::from_str(&batch_body("bench.bad", BATCH, size))?;
        let mut left = count.div_ceil(BATCH);
        while left > 0 {
            let posts = (0..left.min(FILLERS))
                .map(|_| self.installation.for_tenant(tenant, "POST", "/v1/events/batch", &body));
            futures_util::future::try_join_all(posts).await?;
            left = left.saturating_sub(FILLERS);
        }
        let ends_at = Instant::now() + SETTLE;
        while self.waiting().await? < u64::from(count) {
            ensure!(Instant::now() < ends_at, "the waiting room was not filled in time");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.installation.for_tenant(tenant, "POST", &format!("{path}/resume"), &json!({})).await?;
        Ok(())
    }

    async fn people(&mut self, healthy: &BenchReceiver, bad: Option<&BadReceivers>) -> anyhow::Result<()> {
        if self.kind.is_of_many() {
            return self.people_fleet(healthy, bad).await;
        }
        let tenant = self.installation.tenant(ProfileName::standard().as_str()).await?;
        self.healthy = Arc::from([self.register(&tenant, "bench.event", healthy.url("")).await?.0]);
        if let Some(bad) = bad {
            let (target, webhook) = self.register(&tenant, "bench.bad", bad.url(self.kind.name())).await?;
            self.bad = Arc::from([target]);
            self.hot = Some(Hot { tenant: tenant.clone(), webhook });
        }
        self.tenants = vec![tenant];
        Ok(())
    }

    async fn people_fleet(
        &mut self,
        healthy: &BenchReceiver,
        bad: Option<&BadReceivers>,
    ) -> anyhow::Result<()> {
        let this = &*self;
        let tenants: Vec<FleetTenant> = stream::iter(0..FLEET_TENANTS)
            .map(|number| async move {
                let urls = bad.map(|bad| [bad.black_hole(number), bad.url("failing")]);
                this.fleet_tenant(healthy, urls).await
            })
            .buffer_unordered(TENANTS_AT_ONCE)
            .try_collect()
            .await?;
        // One tenant after the other, as events of many producers come.
        let round = |pick: fn(&FleetTenant) -> &[Target]| -> Arc<[Target]> {
            let longest = tenants.iter().map(|tenant| pick(tenant).len()).max().unwrap_or_default();
            let at = |at: usize| tenants.iter().filter_map(move |one| pick(one).get(at));
            (0..longest).flat_map(at).cloned().collect()
        };
        self.healthy = round(|tenant| &tenant.healthy);
        self.bad = round(|tenant| &tenant.bad);
        self.tenants = tenants.into_iter().map(|tenant| tenant.tenant).collect();
        Ok(())
    }

    async fn fleet_tenant(
        &self,
        receiver: &BenchReceiver,
        bad_urls: Option<[String; 2]>,
    ) -> anyhow::Result<FleetTenant> {
        let tenant = self.installation.tenant(ProfileName::standard().as_str()).await?;
        let (mut healthy, mut bad) = (Vec::new(), Vec::new());
        for number in 0..FLEET_WEBHOOKS {
            let (event_type, url) = (format!("bench.good{number}"), receiver.url(&format!("/{number}")));
            healthy.push(self.register(&tenant, &event_type, url).await?.0);
        }
        for (number, url) in bad_urls.into_iter().flatten().enumerate() {
            bad.push(self.register(&tenant, &format!("bench.bad{number}"), url).await?.0);
        }
        Ok(FleetTenant { tenant, healthy, bad })
    }

    /// Answers what to publish for it, and its id.
    async fn register(
        &self,
        tenant: &Tenant,
        event_type: &str,
        url: String,
    ) -> anyhow::Result<(Target, String)> {
        let id = self.installation.webhook(tenant, Subscription::new(url, event_type)).await?;
        Ok((Target { key: tenant.key.clone(), event_type: event_type.to_owned() }, id))
    }
}

struct FleetTenant {
    tenant: Tenant,
    healthy: Vec<Target>,
    bad: Vec<Target>,
}

/// The rate for these many others, if each is given as much as each of those.
fn alike(rate: u32, those: usize, others: usize) -> u32 {
    let [those, others] = [those, others].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    let shared = u64::from(rate).saturating_mul(others) / those.max(1);
    u32::try_from(shared).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_fleet_the_bad_are_given_what_is_their_share() {
        assert_eq!(alike(200, FLEET_TENANTS * FLEET_WEBHOOKS, 2 * BLACK_HOLES), 4);
        assert_eq!(alike(20, 9_800, 200), 1, "none is left out, whatever the rate");
        assert_eq!(alike(10_000, 9_800, 200), 204);
    }
}
