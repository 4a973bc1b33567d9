//! Tenants: each is one brand, with its own webhooks, keys and events.

use serde::{Deserialize, Serialize};

use crate::catalogue::SchemaCheck;
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::profile::ProfileName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// The delivery contract of its webhooks, unless a webhook names its own.
    pub profile: ProfileName,
    /// What becomes of events whose data is not what the catalogue says.
    #[serde(default)]
    pub schema_check: SchemaCheck,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
