//! Leadership: work that one process of a role does for all (releasing, healing, retention).

use async_trait::async_trait;

use super::StoreError;

/// Held while it lives. [`Lead::is_held`] turns false when the engine can no longer vouch for it.
pub trait Lead: Send + Sync {
    fn is_held(&self) -> bool;
}

#[async_trait]
pub trait Leadership: Send + Sync {
    /// `None` while another process leads. Two may lead for a moment after a broken connection: what leaders do
    /// is idempotent.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn try_lead(&self, duty: &'static str) -> Result<Option<Box<dyn Lead>>, StoreError>;
}
