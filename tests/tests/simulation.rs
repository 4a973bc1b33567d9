//! Ingest, worker and status over the contract's fakes, with everything going wrong between any two effects. What the
//! simulation is: `postrider_tests::simulation`.
//!
//! `POSTRIDER_TEST_SEED` runs one seed and shows its trace, `POSTRIDER_SIMULATE_SEEDS` sets how many are run.

mod simulation {
    mod every_crash_point_is_survived;
    mod mutations_are_noticed;
    mod random_faults_lose_nothing;
    mod trying;
}
