use std::time::Duration;

use postrider_contract::outcome::Outcome;
use postrider_contract::ports::ConfigStore;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::ConfigObject;

use super::*;
use crate::tests::fixture::{Office, accepted, attempted, webhook};

const DAY: Duration = Duration::from_secs(86_400);

/// So many days go by, each of which tidies up.
async fn pass(office: &Office, days: u32) {
    for _ in 0..days {
        office.clock.advance(DAY);
        tidy(&office.parts).await.expect("the fakes answer");
    }
}

async fn is_there(office: &Office, revision: Revision) -> bool {
    let found = office.configuration.read_at(&webhook(1).key(), revision).await.expect("the fake answers");
    found.is_some_and(|record| record.revision == revision)
}

/// Changes webhook 1; answers the revision of that state.
async fn change(office: &Office, description: &str) -> Revision {
    office.put(&Webhook { description: description.to_owned(), ..webhook(1) }).await;
    office.directory.revision()
}

#[tokio::test]
async fn a_state_of_configuration_goes_when_the_log_is_too_young_to_name_it() {
    let office = Office::open().await;
    tidy(&office.parts).await.expect("the fakes answer");
    let (first, second) = (change(&office, "first").await, change(&office, "second").await);
    pass(&office, 31).await;
    assert!(
        is_there(&office, first).await,
        "the log is kept for 30 days, and directories may be a day behind"
    );
    pass(&office, 3).await;
    assert!(!is_there(&office, first).await);
    assert!(is_there(&office, second).await, "the newest stays");
}

#[tokio::test]
async fn a_state_stays_while_a_delivery_that_was_rendered_with_it_is_under_way() {
    let office = Office::open().await;
    let first = change(&office, "first").await;
    tidy(&office.parts).await.expect("the fakes answer");
    let (event, delivery) = office.delivery("e", 1);
    assert_eq!(delivery.rendered_with.webhook, first);
    office.log([accepted(event, &delivery, None)]).await;
    change(&office, "second").await;
    pass(&office, 100).await;
    assert!(is_there(&office, first).await, "nothing of it has ended");
    office.log([attempted(&delivery, 200, Duration::from_millis(1), Outcome::Delivered)]).await;
    pass(&office, 2).await;
    assert!(!is_there(&office, first).await);
}
