//! Delay lanes as the broker has them.

use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::ports::{Publication, Route, WorkKind};
use postrider_rabbitmq::lane_for;
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{eventually, soon};

use super::broker::{Raw, connect, fresh_url, settings};

fn parked(number: u32, delay: Duration) -> Publication {
    Sample::numbered(number, SystemClock.now()).publication(Route::Retry { delay })
}

#[tokio::test]
async fn a_lane_is_declared_on_first_use_and_is_never_early() {
    let delay = Duration::from_millis(600);
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let raw = Raw::connect(&url).await;
    let lane = settings(&url).describe_topology().lane(lane_for(delay));
    assert_eq!(raw.ready(&lane).await, None, "nobody used it");
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    let parked_at = SystemClock.now();
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    assert!(raw.ready(&lane).await.is_some(), "it is there now");
    soon(source.next()).await.expect("it comes back").ticket.acknowledge();
    assert!(SystemClock.now().since(parked_at) >= delay, "it came early");
}

#[tokio::test]
async fn many_first_users_of_a_lane_do_not_get_in_each_others_way() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let delay = Duration::from_secs(3600);
    let calls = (0..20).map(|number| queue.publish(vec![parked(number, delay)]));
    for published in soon(futures_util::future::join_all(calls)).await {
        published.expect("it is confirmed");
    }
}

#[tokio::test]
async fn a_lane_that_was_deleted_is_declared_again() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let delay = Duration::from_secs(3600);
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    Raw::connect(&url).await.delete(&settings(&url).describe_topology().lane(lane_for(delay))).await;
    assert!(soon(queue.publish(vec![parked(2, delay)])).await.is_err(), "nothing is lost without a word");
    eventually(|| async { queue.publish(vec![parked(2, delay)]).await.is_ok() }).await;
}
