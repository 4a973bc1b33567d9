//! A checker that never failed proves nothing: with each of these bugs put between a role and its ports, custody must
//! be found broken.

use postrider_tests::simulation::{Mutation, Scenario, Verdict};

use super::trying::find;

/// Of these seeds at least one must show the bug; most show it within ten.
const SEEDS: u64 = 200;

#[test]
fn every_mutation_breaks_custody() {
    for mutation in Mutation::ALL {
        let seeds = (1..=SEEDS).map(|seed| Scenario::of_seed(seed).with(mutation));
        let (found, ran) = find(seeds, |report| matches!(report.verdict, Verdict::Unsafe(_)));
        let report = found.unwrap_or_else(|| panic!("{mutation:?} was not noticed in {ran} runs"));
        println!("{mutation:?}: after {ran} runs, seed {}: {:?}", report.seed, report.verdict);
        println!("    {}", report.trace.last().expect("a last step"));
    }
}
