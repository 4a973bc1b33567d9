//! One delivery, and one fault at every step there is; then two crashes.

use postrider_tests::simulation::{Fate, Scenario, Verdict, run};

use super::trying::all_fine;

type Smallest = fn(Vec<(u64, Fate)>) -> Scenario;

fn steps_of(smallest: Smallest) -> u64 {
    let undisturbed = run(smallest(Vec::new())).expect("a run that can be made");
    assert_eq!(undisturbed.verdict, Verdict::Fine, "{undisturbed}");
    assert!(undisturbed.steps > 10, "{undisturbed}");
    undisturbed.steps
}

fn one_fault_anywhere(smallest: Smallest) {
    let steps = steps_of(smallest);
    let each = (0..steps).flat_map(|step| Fate::FAULTS.map(|fate| vec![(step, fate)]));
    all_fine(each.map(smallest));
}

#[test]
fn one_fault_at_any_step_of_three_tries_loses_nothing() {
    one_fault_anywhere(Scenario::smallest);
}

#[test]
fn one_fault_at_any_step_of_a_held_delivery_loses_nothing() {
    one_fault_anywhere(Scenario::smallest_held);
}

#[test]
fn one_fault_at_any_step_of_a_message_over_amqp_loses_nothing() {
    one_fault_anywhere(Scenario::smallest_over_amqp);
}

#[test]
fn two_crashes_at_any_two_steps_lose_nothing() {
    let steps = steps_of(Scenario::smallest);
    // After the first crash there are more steps than before.
    let pairs = (0..steps).flat_map(|first| (first + 1..steps + 6).map(move |second| (first, second)));
    let crashes = pairs.map(|(first, second)| {
        let [before, after] = Fate::CRASHES;
        let kinds = if (first + second) % 2 == 0 { (before, after) } else { (after, before) };
        vec![(first, kinds.0), (second, kinds.1)]
    });
    all_fine(crashes.map(Scenario::smallest));
}
