//! Events whose webhooks are many and each have a body, or a filter, of their own.

use std::sync::Mutex;

use postrider_contract::filter::Filter;
use postrider_contract::ports::{Publication, QueueDepths, WorkKind, WorkSource};

use super::*;

const MIB: usize = 1024 * 1024;

/// Notes the bytes of the bodies that come together, and loses the publish of a number.
struct Weighing {
    queue: FakeQueue,
    weights: Mutex<Vec<usize>>,
    loses: Option<usize>,
}

impl Weighing {
    fn before(door: &Door, loses: Option<usize>) -> Arc<Self> {
        Arc::new(Weighing { queue: door.queue.clone(), weights: Mutex::default(), loses })
    }

    fn weights(&self) -> Vec<usize> {
        self.weights.lock().unwrap().clone()
    }
}

fn weight(publication: &Publication) -> usize {
    match &publication.work {
        Work::Deliver(delivery) => delivery.body.len(),
        Work::FanOut(fan_out) => fan_out.bodies.iter().map(Bytes::len).sum(),
    }
}

#[async_trait]
impl WorkQueue for Weighing {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let number = {
            let mut weights = self.weights.lock().unwrap();
            weights.push(publications.iter().map(weight).sum());
            weights.len()
        };
        if self.loses == Some(number) {
            return Err(PublishError::InDoubt { reason: "cut off".to_owned() });
        }
        self.queue.publish(publications).await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        self.queue.consume(kind, prefetch).await
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        self.queue.depths().await
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        self.queue.check_writable()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

/// With a body of its own of 200 KiB, of a small template.
fn with_large_body(number: u128) -> Webhook {
    let text = format!(r#"["{{{{event.data.x}}}}", {number}]"#);
    let template = Some(Template::parse(&text, LoneVariables::Text).unwrap());
    Webhook { template, ..webhook(number) }
}

fn large_event() -> String {
    format!(r#"{{"type":"order.paid","data":{{"x":"{}"}}}}"#, "x".repeat(200 * 1024))
}

async fn door_with(webhooks: impl Iterator<Item = Webhook>) -> Door {
    let door = Door::open().await;
    for webhook in webhooks {
        door.put_unseen(&webhook).await;
    }
    door.directory.refresh().await.unwrap();
    door
}

fn all(works: Vec<Work>) -> Vec<postrider_contract::ids::WebhookId> {
    let of = |work| match work {
        Work::Deliver(delivery) => vec![delivery.reference.webhook],
        Work::FanOut(fan_out) => fan_out.deliveries.iter().map(|one| one.reference.webhook).collect(),
    };
    works.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn of_many_bodies_no_more_are_in_memory_than_a_page_holds() {
    let door = door_with((1..=60).map(with_large_body)).await;
    let queue = Weighing::before(&door, None);
    let door = door.with_queue(queue.clone());
    let receipt = door.accept(&large_event()).await.unwrap();
    assert!(queue.weights().iter().all(|weight| *weight < 5 * MIB), "{:?}", queue.weights());
    assert!(queue.weights().iter().sum::<usize>() > 11 * MIB);
    let expected: Vec<_> = (1..=60).map(|number| webhook(number).id).collect();
    assert_eq!(all(door.published().await), expected);
    assert_eq!(receipt.deliveries.iter().map(|(_, webhook)| *webhook).collect::<Vec<_>>(), expected);
    assert_eq!(door.accepted().await.0.deliveries.len(), 60);
}

#[tokio::test]
async fn what_waits_in_the_room_is_rendered_by_the_page_too_and_durable_before_its_event() {
    let held = |number| Webhook { state: paused(), ..with_large_body(number) };
    let door = door_with((1..=60).map(held)).await;
    door.accept(&large_event()).await.unwrap();
    let records = door.records().await;
    assert_eq!(records.len(), 61);
    assert!(matches!(records.last(), Some(JournalRecord::Accepted(_))));
}

#[tokio::test]
async fn an_event_of_which_a_page_is_lost_is_in_doubt_and_its_repeat_publishes_all_of_it() {
    let door = door_with((1..=60).map(with_large_body)).await;
    let (queue, event) = (Weighing::before(&door, Some(2)), large_event());
    let door = door.with_queue(queue);
    let refused = door.accept_keyed(Some("k"), &event).await;
    assert!(matches!(refused, Err(IntakeError::InDoubt { .. })), "{refused:?}");
    assert!((1..60).contains(&all(door.published().await).len()), "what came before the fault");
    assert_eq!(door.records().await, [], "the log is not told of an event that was not published");
    door.clock.advance(STILL_RUNNING * 2);
    let receipt = door.accept_keyed(Some("k"), &event).await.unwrap();
    assert_eq!((receipt.deliveries.len(), all(door.published().await).len()), (60, 60));
}

/// How often another task had its turn while this work was done.
async fn turns_of_others<T>(work: impl Future<Output = T>) -> (T, usize) {
    let turns = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            *counted.lock().unwrap() += 1;
            tokio::task::yield_now().await;
        }
    });
    let done = work.await;
    other.abort();
    let turns = *turns.lock().unwrap();
    (done, turns)
}

#[tokio::test]
async fn others_have_their_turn_while_many_filters_are_asked() {
    let filter = Some(Filter::parse(r#"{"field":"n","greater_than":1}"#).unwrap());
    let door = door_with((1..=200).map(|number| Webhook { filter: filter.clone(), ..webhook(number) })).await;
    let view = door.directory.tenant(&tenant_id("a")).known().unwrap();
    let submission = Submission::parse(&Bytes::from_static(ORDER.as_bytes())).unwrap();
    let matching = match_webhooks(&view, &submission, Origin::Producer, &door.room);
    let (matches, turns) = turns_of_others(matching).await;
    assert_eq!(matches.unwrap().len(), 200);
    assert!(turns >= 3, "{turns}");
}

#[tokio::test]
async fn others_have_their_turn_while_many_bodies_are_made() {
    let door = door_with((1..=200).map(with_large_body)).await;
    let ready = prepared(&door).await;
    let mut pages = Pages::new(&ready.event, &ready.matches, Origin::Producer, Check::Fresh);
    let (page, turns) = turns_of_others(pages.render_next()).await;
    let deliveries = |one: &Publication| match &one.work {
        Work::Deliver(_) => 1,
        Work::FanOut(fan_out) => fan_out.deliveries.len(),
    };
    let made: usize = page.publications.iter().map(deliveries).sum();
    assert_eq!((made, pages.is_last()), (200, true));
    assert!(turns >= 3, "{turns}");
}
