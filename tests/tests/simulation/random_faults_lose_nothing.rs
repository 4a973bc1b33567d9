//! Seeds: a few events, a few webhooks, and whatever may go wrong.

use postrider_tests::simulation::{Scenario, run};

use super::trying::{all_fine, number_of};

/// What a merge may wait for.
const SEEDS: u64 = 300;

#[test]
fn whatever_goes_wrong_nothing_accepted_is_lost() {
    if let Some(seed) = number_of("POSTRIDER_TEST_SEED") {
        let report = run(Scenario::of_seed(seed)).expect("a run that can be made");
        println!("{report}");
        assert_eq!(report.verdict, postrider_tests::simulation::Verdict::Fine);
        return;
    }
    let seeds = number_of("POSTRIDER_SIMULATE_SEEDS").unwrap_or(SEEDS);
    let first = number_of("POSTRIDER_SIMULATE_FROM").unwrap_or(1);
    let ran = all_fine((first..first + seeds).map(Scenario::of_seed));
    println!("{ran} seeds from {first} on");
}

#[test]
fn a_fan_out_that_is_interrupted_loses_nothing() {
    all_fine((1..=12).map(Scenario::fan_out_of_seed));
}

#[test]
fn a_seed_is_one_run_to_the_letter() {
    for seed in 1..=25 {
        let two = [0, 1].map(|_| run(Scenario::of_seed(seed)).expect("a run that can be made"));
        assert_eq!(two[0].fingerprint, two[1].fingerprint, "seed {seed}");
        assert_eq!(two[0].trace, two[1].trace, "seed {seed}");
    }
}
