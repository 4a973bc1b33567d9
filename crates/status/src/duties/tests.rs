use postrider_contract::clock::Timestamp;
use postrider_contract::fakes::FakeLeadership;
use postrider_contract::ports::WorkQueue as _;
use postrider_contract::webhook::Webhook;

use super::*;
use crate::tests::fixture::{Office, accepted, webhook};

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_leads_and_the_other_takes_over_when_it_loses_the_lead() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let leadership = FakeLeadership::default();
    let stops = [Stop::default(), Stop::default()];
    let running: Vec<_> = stops
        .iter()
        .map(|stop| {
            let duties = Duties::new(office.parts.clone(), Arc::new(leadership.clone()));
            let stop = stop.clone();
            tokio::spawn(async move { duties.run(stop).await })
        })
        .collect();
    for _ in 0..3 {
        office.hold(1, 1).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(office.published().await.len(), 1, "released once");
        leadership.depose(DUTY);
    }
    stops.iter().for_each(Stop::drain);
    for role in running {
        role.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_heals_and_goes_on_after_the_store_was_away() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    office.clock.advance(crate::tests::fixture::OVERDUE_AFTER * 2);
    office.log_outage.begin("gone");
    let stop = Stop::default();
    let duties = Duties::new(office.parts.clone(), Arc::new(FakeLeadership::default()));
    let watched = stop.clone();
    let running = tokio::spawn(async move { duties.run(watched).await });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(office.queue.depths().await.unwrap().release, 0);
    office.log_outage.end();
    tokio::time::sleep(HEAL_EVERY * 2).await;
    assert_eq!(office.published().await.len(), 1);
    stop.drain();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_any_more_counts_nothing() {
    let office = Office::open().await;
    let state = postrider_contract::webhook::WebhookState::Paused { since: Timestamp::EPOCH };
    office.put(&Webhook { state, ..webhook(1) }).await;
    office.hold(1, 2).await;
    let stop = Stop::default();
    let duties = Duties::new(office.parts.clone(), Arc::new(FakeLeadership::default()));
    let watched = stop.clone();
    let running = tokio::spawn(async move { duties.run(watched).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(office.parts.metrics.held.get(), 2);
    stop.drain();
    running.await.unwrap();
    assert_eq!((office.parts.metrics.held.get(), office.parts.metrics.overdue.get()), (0, 0));
}
