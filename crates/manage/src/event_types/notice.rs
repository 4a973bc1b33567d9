//! The notice of a new major: an operator event to each tenant that has a webhook pinned to an older one.
//!
//! It is sent after the change is stored, by the ordinary path of events. What stands in its way is logged and costs the
//! notice, not the change.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_contract::delivery::Origin;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::submission::Submission;
use serde_json::{Value, json};

use crate::state::ManageState;

const CHANGED: &str = "postrider.event_type.changed";
/// More are counted, not named.
const MAX_NAMED: usize = 100;

/// Whom a new major concerns, looked up before it is there.
pub(super) struct Concerned {
    event_type: EventType,
    version: SchemaVersion,
    tenants: BTreeMap<TenantId, Vec<WebhookId>>,
}

impl Concerned {
    /// Tenants to whom this major is higher than any before, and who have webhooks pinned below it. `only` leaves out
    /// all others.
    pub(super) fn of(
        state: &ManageState,
        only: Option<&TenantId>,
        event_type: &EventType,
        version: SchemaVersion,
    ) -> Self {
        let directory = state.directory();
        let mut tenants: BTreeMap<TenantId, Vec<WebhookId>> = BTreeMap::new();
        for entry in directory.pinned_below(event_type, version.major) {
            let tenant = &entry.webhook.tenant;
            if only.is_none_or(|only| only == tenant) {
                tenants.entry(tenant.clone()).or_default().push(entry.webhook.id);
            }
        }
        let is_new = |tenant: &TenantId| {
            let view = directory.tenant(tenant).known();
            let newest = view.and_then(|view| {
                let known = view.catalogue.get(event_type)?;
                known.newest().map(|newest| newest.major.version().major)
            });
            newest.is_none_or(|newest| newest < version.major)
        };
        tenants.retain(|tenant, _| is_new(tenant));
        Concerned { event_type: event_type.clone(), version, tenants }
    }

    /// Tells each of them.
    pub(super) async fn tell(self, state: &ManageState) {
        for (tenant, webhooks) in &self.tenants {
            let Some(submission) = self.submission(state, tenant, webhooks) else { continue };
            if let Err(error) = state.parts().intake.accept(tenant, submission, Origin::Operator).await {
                tracing::warn!(
                    %error, tenant.id = %tenant, event.kind = %self.event_type,
                    "a tenant could not be told of a new major of an event type"
                );
            }
        }
    }

    fn submission(
        &self,
        state: &ManageState,
        tenant: &TenantId,
        webhooks: &[WebhookId],
    ) -> Option<Submission> {
        let view = state.directory().tenant(tenant).known()?;
        let known = view.catalogue.get(&self.event_type)?;
        let majors: Vec<Value> = known
            .majors()
            .map(|one| json!({"version": one.major.version(), "sunset_at": one.major.written().sunset_at}))
            .collect();
        let named: Vec<&WebhookId> = webhooks.iter().take(MAX_NAMED).collect();
        let data = json!({
            "type": self.event_type,
            "version": self.version,
            "majors": majors,
            "pinned_webhooks": webhooks.len(),
            "webhook_ids": named,
        });
        Some(Submission {
            event_type: CHANGED.parse().ok()?,
            data: RawObject::from_stored(Bytes::from(data.to_string())),
            id: None,
            timestamp: None,
            schema_version: SchemaVersion::FIRST,
            summary: Some(format!("{} has a new major: {}", self.event_type, self.version)),
            workflow: None,
            webhook_ids: None,
        })
    }
}
