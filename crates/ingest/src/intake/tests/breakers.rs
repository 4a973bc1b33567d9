//! While a queue refuses, few events are tried, and those of another queue all.

use super::*;

#[tokio::test]
async fn right_after_one_came_into_doubt_others_are_turned_away_without_a_trace() {
    let door = Door::open().await.unsuspecting();
    door.put(&webhook(1)).await;
    door.fail_journal();
    assert!(matches!(door.accept(ORDER).await, Err(IntakeError::InDoubt { .. })));
    door.deliveries().await;
    let refused = door.accept_keyed(Some("k"), ORDER).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Unavailable { .. }), "{refused:?}");
    door.assert_nothing_happened().await;
    door.mend_journal();
    assert!(!door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed, "not even its key was taken");
    door.accept(ORDER).await.expect("and nobody waits any more");
}

#[tokio::test]
async fn what_is_refused_of_large_events_keeps_no_ordinary_one_out_and_the_other_way_round() {
    let large = format!(r#"{{"type":"order.paid","data":{{"text":"{}"}}}}"#, "x".repeat(4 * ORDINARY_BYTES));
    let large: &'static str = Box::leak(large.into_boxed_str());
    for (refused, other) in [(large, ORDER), (ORDER, large)] {
        let door = Door::open().await.unsuspecting();
        door.put(&webhook(1)).await;
        door.queue.fail_publishes(PublishFault::Refused { reason: "full".to_owned() });
        assert!(matches!(door.accept(refused).await, Err(IntakeError::InDoubt { .. })));
        door.queue.fail_publishes(PublishFault::None);
        door.accept(other).await.expect("it goes into another queue");
    }
}

#[tokio::test]
async fn what_was_accepted_is_answered_although_the_queue_refuses_others() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    door.fail_journal();
    assert!(matches!(door.accept(ORDER).await, Err(IntakeError::InDoubt { .. })));
    let again = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!((again.replayed, again.event), (true, first.event));
}

/// Ten times the data, which by itself is small.
#[tokio::test]
async fn a_small_event_that_one_template_makes_large_keeps_nobody_out() {
    let door = Door::open().await.unsuspecting();
    let template = format!(r#"{{"all":[{}]}}"#, [r#""{{event.data}}""#; 10].join(","));
    let template = Some(Template::parse(&template, LoneVariables::Typed).unwrap());
    door.put(&Webhook { template, ..webhook(1) }).await;
    let small = format!(r#"{{"type":"order.paid","data":{{"text":"{}"}}}}"#, "x".repeat(8 * 1024));
    door.queue.fail_publishes(PublishFault::Refused { reason: "full".to_owned() });
    assert!(matches!(door.accept(&small).await, Err(IntakeError::InDoubt { .. })));
    door.queue.fail_publishes(PublishFault::None);
    door.accept(ORDER).await.expect("it goes into another queue");
}

/// As the pages of a large event do, all but the last.
#[tokio::test]
async fn what_was_published_without_the_journal_does_not_say_that_it_is_back() {
    let door = Door::open().await.unsuspecting();
    door.fail_journal();
    assert!(matches!(door.accept(ORDER).await, Err(IntakeError::InDoubt { .. })));
    let page = Page { publications: Vec::new(), holds: Vec::new() };
    door.intake.publish_page(page, None).await.unwrap();
    let refused = door.accept(ORDER).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Unavailable { .. }), "{refused:?}");
}
