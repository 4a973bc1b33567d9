use std::sync::Mutex;

use async_trait::async_trait;
use postrider_contract::journal::JournalRecord;
use postrider_contract::outcome::{Cause, FailureReason, Outcome};
use postrider_contract::profile::ProfileName;
use postrider_contract::webhook::Webhook;

use super::*;
use crate::tests::fixture::{Office, accepted, attempted, webhook};

const DAY: Duration = Duration::from_secs(86_400);

/// Takes every order, and does as it is told unless it is away.
#[derive(Default)]
struct Orders {
    given: Mutex<Vec<DisableOrder>>,
    is_away: Mutex<bool>,
}

#[async_trait]
impl WebhookDisabler for Orders {
    async fn disable(&self, order: &DisableOrder) -> Result<bool, StoreError> {
        if *self.is_away.lock().unwrap() {
            return Err(StoreError::Unavailable { reason: "away".to_owned() });
        }
        self.given.lock().unwrap().push(order.clone());
        Ok(true)
    }
}

struct Scene {
    office: Office,
    orders: Arc<Orders>,
    disabling: Disabling,
}

impl Scene {
    async fn open(profile: &str) -> Self {
        let office = Office::open().await;
        let profile: ProfileName = profile.parse().unwrap();
        office.put(&Webhook { profile: Some(profile), ..webhook(1) }).await;
        let orders = Arc::new(Orders::default());
        let disabling = Disabling {
            board: Arc::clone(&office.parts.board),
            directory: Arc::clone(&office.directory),
            queries: Arc::new(office.log.clone()),
            disabler: orders.clone(),
            clock: office.clock.clone(),
        };
        Scene { office, orders, disabling }
    }

    /// A delivery of now, with its first and only try.
    async fn tried(&self, event: &str, status: u16, outcome: Outcome) {
        let (event, delivery) = self.office.delivery(event, 1);
        let record = attempted(&delivery, status, Duration::from_millis(5), outcome);
        if let JournalRecord::Attempted(attempted) = &record {
            self.office.parts.board.note(attempted);
        }
        self.office.log([accepted(event, &delivery, None), record]).await;
    }

    async fn look(&self) -> Vec<String> {
        let undone = self.disabling.look(self.office.parts.board.take_endings()).await;
        assert!(undone.is_empty());
        self.orders.given.lock().unwrap().drain(..).map(|order| order.reason).collect()
    }
}

fn failed(status: u16, reason: FailureReason) -> Outcome {
    Outcome::Failed { reason, cause: Some(Cause::Status(status)) }
}

#[tokio::test]
async fn an_answer_that_disables_does_so_where_the_profile_says() {
    for (profile, status, expected) in
        [("standard", 410, 1), ("standard", 404, 0), ("trcker", 410, 0), ("tracktile", 410, 0)]
    {
        let scene = Scene::open(profile).await;
        scene.tried("e1", status, failed(status, FailureReason::Permanent)).await;
        assert_eq!(scene.look().await.len(), expected, "{profile} {status}");
    }
}

#[tokio::test]
async fn five_days_of_nothing_but_failures_disable_and_one_success_among_them_does_not() {
    for (success, expected) in [(false, 1), (true, 0)] {
        let scene = Scene::open("standard").await;
        scene.tried("e1", 500, failed(500, FailureReason::Exhausted)).await;
        assert_eq!(scene.look().await, [] as [String; 0], "a first failure is not five days");
        scene.office.clock.advance(3 * DAY);
        if success {
            scene.tried("e2", 200, Outcome::Delivered).await;
        }
        scene.office.clock.advance(2 * DAY + Duration::from_secs(1));
        scene.tried("e3", 500, failed(500, FailureReason::Exhausted)).await;
        let reasons = scene.look().await;
        assert_eq!(reasons.len(), expected, "{reasons:?}");
    }
}

#[tokio::test]
async fn what_the_store_did_not_take_is_ordered_again() {
    let scene = Scene::open("standard").await;
    scene.tried("e1", 410, failed(410, FailureReason::Permanent)).await;
    *scene.orders.is_away.lock().unwrap() = true;
    let undone = scene.disabling.look(scene.office.parts.board.take_endings()).await;
    assert_eq!(undone.len(), 1);
    *scene.orders.is_away.lock().unwrap() = false;
    assert!(scene.disabling.look(undone).await.is_empty());
    assert_eq!(scene.orders.given.lock().unwrap().len(), 1);
}
