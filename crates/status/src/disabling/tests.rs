use std::sync::Mutex;

use async_trait::async_trait;
use postrider_contract::delivery::Delivery;
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
        self.office.log([accepted(event, &delivery, None)]).await;
        self.tried_again(&delivery, status, outcome).await;
    }

    /// A delivery of now, which fails until further notice.
    async fn begun(&self, event: &str) -> Delivery {
        let (event, delivery) = self.office.delivery(event, 1);
        self.office.log([accepted(event, &delivery, None)]).await;
        self.tried_again(&delivery, 500, self.retried(500)).await;
        let now = self.office.clock.now();
        delivery.retry(now, now)
    }

    /// A try of this moment.
    async fn tried_again(&self, delivery: &Delivery, status: u16, outcome: Outcome) {
        let delivery = Delivery { due_at: self.office.clock.now(), ..delivery.clone() };
        let record = attempted(&delivery, status, Duration::from_millis(5), outcome);
        if let JournalRecord::Attempted(attempted) = &record {
            self.office.parts.board.note(attempted);
        }
        self.office.log([record]).await;
    }

    fn retried(&self, status: u16) -> Outcome {
        Outcome::Retry { at: self.office.clock.now().plus(DAY), cause: Cause::Status(status) }
    }

    async fn look(&self) -> Vec<String> {
        let undone = self.disabling.look(HashMap::new()).await;
        assert!(undone.is_empty());
        self.orders.given.lock().unwrap().drain(..).map(|order| order.reason).collect()
    }
}

fn failed(status: u16, reason: FailureReason) -> Outcome {
    Outcome::Failed { reason, cause: Some(Cause::Status(status)) }
}

/// Of every profile: the status that disables at once, and the days of failures that do. From the contracts.
const RULES: [(&str, Option<u16>, Option<u32>); 6] = [
    ("standard", Some(410), Some(5)),
    ("trcker", None, None),
    ("trackdesk", None, None),
    ("trakkr", None, None),
    ("track360", None, None),
    ("tracktile", None, None),
];

#[tokio::test]
async fn an_answer_that_disables_does_so_where_the_profile_says() {
    for (profile, disabling, _) in RULES {
        for status in [400, 401, 404, 410, 429, 500, 503] {
            let scene = Scene::open(profile).await;
            scene.tried("e1", status, failed(status, FailureReason::Permanent)).await;
            let expected: Vec<String> = disabling
                .filter(|disabling| *disabling == status)
                .map(|status| format!("the receiver answered {status}"))
                .into_iter()
                .collect();
            assert_eq!(scene.look().await, expected, "{profile} {status}");
        }
    }
}

#[tokio::test]
async fn days_of_nothing_but_failures_disable_where_the_profile_says_and_not_a_moment_before() {
    for (profile, _, days) in RULES {
        let scene = Scene::open(profile).await;
        scene.tried("e1", 500, failed(500, FailureReason::Exhausted)).await;
        assert_eq!(scene.look().await, [] as [String; 0], "{profile}: a first failure is not days of them");
        scene.office.clock.advance(5 * DAY - Duration::from_millis(1));
        scene.tried("e2", 500, failed(500, FailureReason::Exhausted)).await;
        assert_eq!(scene.look().await, [] as [String; 0], "{profile}: a moment too early");
        scene.office.clock.advance(Duration::from_millis(2));
        scene.tried("e3", 500, failed(500, FailureReason::Exhausted)).await;
        let expected: Vec<String> =
            days.iter().map(|days| format!("nothing but failures for {days}d")).collect();
        assert_eq!(scene.look().await, expected, "{profile}");
        scene.office.clock.advance(365 * DAY);
        scene.tried("e4", 500, failed(500, FailureReason::Exhausted)).await;
        assert_eq!(scene.look().await, expected, "{profile}");
    }
}

#[tokio::test]
async fn one_success_among_the_failures_keeps_a_webhook() {
    let scene = Scene::open("standard").await;
    scene.tried("e1", 500, failed(500, FailureReason::Exhausted)).await;
    scene.office.clock.advance(3 * DAY);
    scene.tried("e2", 200, Outcome::Delivered).await;
    scene.office.clock.advance(2 * DAY + Duration::from_secs(1));
    scene.tried("e3", 500, failed(500, FailureReason::Exhausted)).await;
    assert_eq!(scene.look().await, [] as [String; 0]);
}

#[tokio::test]
async fn a_success_counts_from_when_it_came_and_not_from_when_its_event_did() {
    let scene = Scene::open("standard").await;
    scene.tried("e1", 500, failed(500, FailureReason::Exhausted)).await;
    let late = scene.begun("e2").await;
    scene.office.clock.advance(3 * DAY);
    scene.tried_again(&late, 200, Outcome::Delivered).await;
    scene.office.clock.advance(3 * DAY);
    scene.tried("e3", 500, failed(500, FailureReason::Exhausted)).await;
    assert_eq!(scene.look().await, [] as [String; 0], "it received three days ago");
    scene.office.clock.advance(2 * DAY + Duration::from_secs(1));
    scene.tried("e4", 500, failed(500, FailureReason::Exhausted)).await;
    assert_eq!(scene.look().await.len(), 1);
}

#[tokio::test]
async fn a_schedule_longer_than_the_rule_does_not_put_the_rule_off() {
    let scene = Scene::open("standard").await;
    let long = scene.begun("e1").await;
    scene.office.clock.advance(4 * DAY);
    scene.tried_again(&long, 500, scene.retried(500)).await;
    assert_eq!(scene.look().await, [] as [String; 0]);
    scene.office.clock.advance(DAY + Duration::from_secs(1));
    scene.tried_again(&long, 500, scene.retried(500)).await;
    assert_eq!(scene.look().await, ["nothing but failures for 5d"]);
}

#[tokio::test]
async fn what_waited_long_for_its_first_try_has_not_failed_for_long() {
    let scene = Scene::open("standard").await;
    let (event, held) = scene.office.delivery("e1", 1);
    scene.office.log([accepted(event, &held, None)]).await;
    scene.office.clock.advance(6 * DAY);
    scene.tried_again(&held, 500, scene.retried(500)).await;
    assert_eq!(scene.look().await, [] as [String; 0]);
}

#[tokio::test]
async fn an_answer_that_disables_is_heard_among_others_and_whether_or_not_it_ends_the_delivery() {
    let scene = Scene::open("standard").await;
    let gone = scene.begun("e1").await;
    scene.tried_again(&gone, 410, scene.retried(410)).await;
    scene.tried("e2", 500, failed(500, FailureReason::Exhausted)).await;
    assert_eq!(scene.look().await, ["the receiver answered 410"]);
}

#[tokio::test]
async fn what_the_store_did_not_take_is_ordered_again_whatever_came_meanwhile() {
    let scene = Scene::open("standard").await;
    scene.tried("e1", 410, failed(410, FailureReason::Permanent)).await;
    *scene.orders.is_away.lock().unwrap() = true;
    let undone = scene.disabling.look(HashMap::new()).await;
    assert_eq!(undone.len(), 1);
    *scene.orders.is_away.lock().unwrap() = false;
    scene.tried("e2", 500, failed(500, FailureReason::Exhausted)).await;
    assert!(scene.disabling.look(undone).await.is_empty());
    let given = scene.orders.given.lock().unwrap();
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].reason, "the receiver answered 410");
}
