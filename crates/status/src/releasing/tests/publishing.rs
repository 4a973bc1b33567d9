//! How releases are published: one by one or together, and what becomes of the others when one cannot be.

use std::sync::atomic::AtomicUsize;

use postrider_contract::fakes::{Behind, Door};
use tokio::time::Instant;

use super::*;
use crate::duties::BUSY_ROUND;

/// Notes how much is published at once, and may refuse what is meant for one webhook.
struct Watched {
    queue: Arc<dyn WorkQueue>,
    refused: Option<WebhookId>,
    sizes: Mutex<Vec<usize>>,
    /// How long it takes to publish, however much.
    takes: Mutex<Duration>,
    worth_a_publish: AtomicUsize,
}

impl Watched {
    fn put_before(office: &mut Office, refused: Option<WebhookId>) -> Arc<Behind<Self>> {
        let queue = Arc::clone(&office.parts.queue);
        let watched = Arc::new(Behind(Watched {
            queue,
            refused,
            sizes: Mutex::default(),
            takes: Mutex::default(),
            worth_a_publish: AtomicUsize::new(1),
        }));
        office.parts.queue = Arc::clone(&watched) as Arc<dyn WorkQueue>;
        watched
    }
}

#[async_trait]
impl Door for Watched {
    fn queue(&self) -> &dyn WorkQueue {
        &*self.queue
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        self.sizes.lock().unwrap().push(publications.len());
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let is_refused = |work: &Work| match work {
            Work::Deliver(delivery) => Some(delivery.reference.webhook) == self.refused,
            Work::FanOut(_) => false,
        };
        let (refused, taken): (Vec<_>, Vec<_>) =
            publications.into_iter().partition(|publication| is_refused(&publication.work));
        self.queue.publish(taken).await?;
        if refused.is_empty() { Ok(()) } else { Err(PublishError::Refused { reason: "refused".to_owned() }) }
    }

    fn worth_a_publish(&self) -> usize {
        self.worth_a_publish.load(Ordering::Relaxed)
    }
}

const WEBHOOKS: u32 = 20;

async fn watched_office() -> (Office, Arc<Behind<Watched>>) {
    let mut office = Office::open().await;
    for number in 1..=WEBHOOKS {
        office.put(&webhook(number.into())).await;
    }
    let watched = Watched::put_before(&mut office, None);
    (office, watched)
}

async fn hold_four_each(office: &Office) {
    for number in 1..=WEBHOOKS {
        office.hold(number.into(), 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_for_one_webhook_keeps_none_of_the_others_waiting() {
    let mut office = Office::open().await;
    for number in [1, 2, 3] {
        office.put(&webhook(number)).await;
    }
    Watched::put_before(&mut office, Some(webhook(2).id));
    let mut releasing = releasing(&office).await;
    office.hold(2, 1).await;
    assert!(releasing.round().await.is_err(), "nothing at all could be published");
    office.hold(1, 1).await;
    office.hold(3, 1).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 2 });
    let mut released: Vec<_> = office.published().await.iter().map(|one| one.reference.webhook).collect();
    released.sort();
    // What failed is tried apart from then on, so that the others are published once.
    assert_eq!(released, [webhook(1).id, webhook(3).id]);
}

#[tokio::test(start_paused = true)]
async fn events_of_others_come_in_between_the_bursts_of_a_round() {
    let (office, watched) = watched_office().await;
    let mut releasing = releasing(&office).await;
    hold_four_each(&office).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 80 });
    assert_eq!(*watched.0.sizes.lock().unwrap(), [BURST, BURST, 80 - 2 * BURST]);
}

#[tokio::test(start_paused = true)]
async fn while_others_are_served_releases_come_one_by_one_or_as_many_as_became_due() {
    let (office, watched) = watched_office().await;
    let mut releasing = Releasing::new(office.parts.clone());
    // Until it has listened.
    while office.parts.metrics.release_round.get() <= 1 {
        note_first_tries(&office, Duration::from_millis(2));
        assert_eq!(releasing.round().await.unwrap(), Round::Empty);
    }
    hold_four_each(&office).await;
    let mut sizes_of_round = async |takes| {
        *watched.0.takes.lock().unwrap() = takes;
        let begun = Instant::now();
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 12 });
        assert!(begun.elapsed() <= BUSY_ROUND, "{:?}", begun.elapsed());
        std::mem::take(&mut *watched.0.sizes.lock().unwrap())
    };
    assert_eq!(sizes_of_round(Duration::from_millis(1)).await, [1; 12]);
    assert_eq!(sizes_of_round(Duration::from_millis(10)).await, [1, 3, 3, 3, 2]);
    watched.0.worth_a_publish.store(6, Ordering::Relaxed);
    assert_eq!(sizes_of_round(Duration::from_millis(1)).await, [6, 6], "where one costs as much as six");
}
