//! A queue of which a test decides what becomes of publishes.

use async_trait::async_trait;

use crate::ports::{Publication, PublishError, QueueDepths, QueueError, WorkKind, WorkQueue, WorkSource};

/// What publishes go through before, or instead of, the queue behind it.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    fn queue(&self) -> &dyn WorkQueue;

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError>;

    fn worth_a_publish(&self) -> usize {
        self.queue().worth_a_publish()
    }
}

/// A queue behind a door; all but publishing goes straight to it.
#[derive(Clone, Debug)]
pub struct Behind<D>(pub D);

#[async_trait]
impl<D: Door> WorkQueue for Behind<D> {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        self.0.publish(publications).await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        self.0.queue().consume(kind, prefetch).await
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        self.0.queue().depths().await
    }

    fn worth_a_publish(&self) -> usize {
        self.0.worth_a_publish()
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        self.0.queue().check_writable()
    }

    async fn close(&self) {
        self.0.queue().close().await;
    }
}
