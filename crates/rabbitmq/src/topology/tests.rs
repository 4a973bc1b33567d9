use super::*;

fn topology() -> Topology {
    Topology::new("postrider", QueueLimits::default())
}

fn argument(plan: &QueuePlan, name: &str) -> Option<String> {
    plan.arguments.inner().get(name).map(show_value)
}

#[test]
fn every_queue_is_a_bounded_quorum_queue_that_refuses_when_full() {
    let topology = topology();
    let queues = QueueName::ALL.map(|queue| topology.queue_plan(queue));
    for plan in queues.into_iter().chain(LaneQueue::all().map(|lane| topology.lane_plan(lane))) {
        assert_eq!(argument(&plan, "x-queue-type").as_deref(), Some("quorum"), "{}", plan.name);
        assert_eq!(argument(&plan, "x-overflow").as_deref(), Some("reject-publish"), "{}", plan.name);
        assert!(argument(&plan, "x-max-length").is_some(), "{}", plan.name);
        if argument(&plan, "x-dead-letter-exchange").is_some() {
            assert_eq!(argument(&plan, "x-dead-letter-strategy").as_deref(), Some("at-least-once"));
        }
    }
}

#[test]
fn only_the_due_exchange_has_an_alternate() {
    let with_alternate: Vec<String> = topology()
        .exchange_plans()
        .into_iter()
        .filter(|plan| plan.arguments.contains_key("alternate-exchange"))
        .map(|plan| plan.name)
        .collect();
    assert_eq!(with_alternate, ["postrider.due.v1"]);
}

#[test]
fn the_names_that_producers_use_are_fixed() {
    let topology = topology();
    assert_eq!(topology.exchange(ExchangeName::Events), "postrider.events");
    assert_eq!(topology.queue(QueueName::Events), "postrider.events");
    assert_eq!(topology.queue(QueueName::EventsRefused), "postrider.events.refused");
}

#[test]
fn what_is_declared_can_be_read() {
    let printed = topology().print();
    assert!(printed.contains("queue postrider.deliveries.first.v1"), "{printed}");
    assert!(printed.contains("x-delivery-limit=50"), "{printed}");
    assert!(printed.contains("postrider.lane.300000ms.v1"), "{printed}");
}

/// A queue that is there with other arguments is a mismatch, and a version that declares them does not start: whatever
/// changes here needs another name, which ends in another number.
#[test]
fn what_is_declared_stays_as_it_is_under_its_name() {
    assert_eq!(topology().print(), include_str!("declared.txt"));
}

/// Of a publish that goes to two queues of which one is full, the other keeps its copy, and a repeat makes another.
#[test]
fn a_publish_goes_to_one_queue_alone() {
    let topology = topology();
    let bound = QueueName::ALL.into_iter().flat_map(|queue| topology.queue_plan(queue).bindings);
    let keys =
        bound.filter(|(exchange, _)| *exchange == topology.publish_exchange()).map(|(_, key)| key.to_owned());
    let keys: Vec<String> = keys.chain(LaneQueue::all().map(Topology::lane_key)).collect();
    let distinct: std::collections::HashSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
}

/// A key is at most 255 bytes long, and `*` and `#` are patterns: none is made of what a customer wrote.
#[test]
fn every_routing_key_is_a_short_plain_word_of_ours() {
    let keys = QueueName::ALL.map(QueueName::routing_key).into_iter().chain([EVENTS_AGAIN]);
    for key in keys.map(str::to_owned).chain(LaneQueue::all().map(Topology::lane_key)) {
        assert!(key.len() < 64, "{key}");
        assert!(
            key.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)),
            "{key}"
        );
    }
}

/// Else the tenant of that name could say that its messages are another's.
#[test]
fn the_key_of_what_comes_in_again_is_no_tenants() {
    assert!(EVENTS_AGAIN.parse::<postrider_contract::ids::TenantId>().is_err());
}

/// A queue that expires or dead-letters into an exchange that is not there, or that nobody is bound to, is stuck.
#[test]
fn a_target_is_declared_before_what_dead_letters_to_it() {
    let topology = topology();
    let mut targets: Vec<(String, String)> = Vec::new();
    for queue in QueueName::ALL {
        let plan = topology.queue_plan(queue);
        if let Some(exchange) = argument(&plan, "x-dead-letter-exchange") {
            assert!(targets.iter().any(|(known, _)| *known == exchange), "{} comes too early", plan.name);
        }
        targets.extend(plan.bindings.into_iter().map(|(exchange, key)| (exchange, key.to_owned())));
    }
    for lane in LaneQueue::all() {
        let plan = topology.lane_plan(lane);
        let target = (
            argument(&plan, "x-dead-letter-exchange").expect("a lane leads somewhere"),
            argument(&plan, "x-dead-letter-routing-key").expect("by a key of its own"),
        );
        assert!(targets.contains(&target), "{} leads nowhere", plan.name);
    }
}

/// From 4.0 on a queue without a limit of its own has one of 20, which a bad day reaches.
#[test]
fn every_queue_that_is_consumed_names_its_own_delivery_limit() {
    for queue in QueueName::ALL {
        let plan = topology().queue_plan(queue);
        assert!(argument(&plan, "x-delivery-limit").is_some(), "{}", plan.name);
    }
}
