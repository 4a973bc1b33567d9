//! Many runs at once, one after the other on each thread, and the first that goes wrong.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use postrider_tests::simulation::{Report, Scenario, Verdict, run};

/// Runs `scenarios` until one `is_found`, and answers its report.
pub fn find(
    scenarios: impl Iterator<Item = Scenario> + Send,
    is_found: impl Fn(&Report) -> bool + Sync,
) -> (Option<Report>, usize) {
    let (scenarios, found, ran) = (Mutex::new(scenarios), Mutex::new(None), AtomicUsize::new(0));
    let next = || {
        let is_over = lock(&found).is_some();
        if is_over { None } else { lock(&scenarios).next() }
    };
    thread::scope(|scope| {
        // Each run stays on one thread.
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    let report = run(scenario).expect("a run that can be made");
                    ran.fetch_add(1, Ordering::Relaxed);
                    if is_found(&report) {
                        lock(&found).get_or_insert(report);
                    }
                }
            });
        }
    });
    let found = lock(&found).take();
    (found, ran.into_inner())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every run is fine, or the first that is not is shown.
pub fn all_fine(scenarios: impl Iterator<Item = Scenario> + Send) -> usize {
    let (broken, ran) = find(scenarios, |report| report.verdict != Verdict::Fine);
    let shown = broken.map(|report| report.to_string()).unwrap_or_default();
    assert!(shown.is_empty(), "{shown}");
    ran
}

#[expect(clippy::disallowed_methods, reason = "how a tester asks for seeds")]
pub fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
