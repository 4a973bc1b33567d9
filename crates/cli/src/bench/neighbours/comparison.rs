//! The pairs of runs of one kind of neighbour, as tables, with their medians and ratios.

use std::time::Duration;

use super::super::report::{Cell, Table};
use super::Measured;

/// How much longer a healthy webhook's deliveries may take beside bad neighbours.
const AT_MOST: f64 = 1.2;
/// Where they stand among the percentiles.
const P50: usize = 0;
const P99: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Without,
    With,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Without => "without",
            Side::With => "with",
        }
    }
}

pub struct Comparison {
    name: &'static str,
    runs: Vec<(Side, Measured)>,
}

/// p50, p95, p99 and the maximum, in microseconds.
type Percentiles = [u64; 4];

impl Comparison {
    pub fn new(name: &'static str) -> Self {
        Comparison { name, runs: Vec::new() }
    }

    pub fn add(&mut self, side: Side, measured: Measured) {
        self.runs.push((side, measured));
    }

    /// Every run.
    pub fn table(&self) -> Table {
        let columns =
            ["run", "p50 ms", "p95 ms", "p99 ms", "max ms", "arrived", "refused", "CPU s", "MiB", "waiting"];
        let mut table = Table::new(&format!("Beside {}", self.name), &columns);
        for (side, run) in &self.runs {
            let mut row = vec![Cell::from(side.name())];
            row.extend(Cell::percentiles(run.arrivals.latencies));
            row.extend([Cell::Count(run.arrivals.distinct), Cell::Count(run.refused)]);
            row.extend([Cell::Number(run.cpu.as_secs_f64()), Cell::Count(run.memory / (1024 * 1024))]);
            row.push(Cell::Count(run.waiting));
            table.row(row);
        }
        table
    }

    /// What was lost, and the bound if it was not kept.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let lost: u64 =
            self.runs.iter().map(|(_, run)| run.expected.saturating_sub(run.arrivals.distinct)).sum();
        if lost > 0 {
            faults.push(format!("beside {}: {lost} accepted deliveries did not arrive", self.name));
        }
        let (without, with) = (self.median(Side::Without), self.median(Side::With));
        for (name, at) in [("p50", P50), ("p99", P99)] {
            let ratio = ratio(with[at], without[at]);
            if ratio > AT_MOST {
                faults.push(format!("beside {}: {name} is {ratio:.2} times what it is without", self.name));
            }
        }
        faults
    }

    fn median(&self, side: Side) -> Percentiles {
        let runs: Vec<Percentiles> = self
            .runs
            .iter()
            .filter(|(other, _)| *other == side)
            .map(|(_, run)| run.arrivals.latencies)
            .collect();
        std::array::from_fn(|at| median(runs.iter().map(|percentiles| percentiles[at]).collect()))
    }
}

/// Of an even number, the lower one in the middle.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The medians of all of them, side by side.
pub fn summary(comparisons: &[Comparison]) -> Table {
    let columns = ["neighbours", "p50 ms", "beside them", "ratio p50", "p99 ms", "beside them", "ratio p99"];
    let mut table = Table::new("Delays of the healthy webhook, medians over the runs", &columns);
    for comparison in comparisons {
        let (without, with) = (comparison.median(Side::Without), comparison.median(Side::With));
        let mut row = vec![Cell::from(comparison.name)];
        for at in [P50, P99] {
            row.extend([millis(without[at]), millis(with[at]), Cell::Number(ratio(with[at], without[at]))]);
        }
        table.row(row);
    }
    table
}

fn millis(micros: u64) -> Cell {
    Cell::millis(Duration::from_micros(micros))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn ratio(with: u64, without: u64) -> f64 {
    with as f64 / without.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::super::receiver::Arrivals;
    use super::*;

    fn run(expected: u64, p50: u64, p99: u64) -> Measured {
        let latencies = [p50, p50, p99, p99];
        let arrivals = Arrivals { distinct: 10, repeats: 0, took: Duration::ZERO, latencies };
        Measured { expected, refused: 0, arrivals, cpu: Duration::ZERO, memory: 0, waiting: 0 }
    }

    #[test]
    fn medians_are_compared_and_one_bad_run_does_not_decide() {
        let mut comparison = Comparison::new("slow");
        for (without, with) in [(1_000, 1_100), (1_000, 90_000), (1_200, 1_000)] {
            comparison.add(Side::Without, run(10, without, 2 * without));
            comparison.add(Side::With, run(12, with, 2 * with));
        }
        assert_eq!((comparison.median(Side::Without)[0], comparison.median(Side::With)[2]), (1_000, 2_200));
        assert_eq!(comparison.faults(), ["beside slow: 6 accepted deliveries did not arrive"]);
        let text = summary(&[comparison]).to_string();
        assert!(text.contains("slow"), "{text}");
        assert_eq!(text.matches("1.10").count(), 2 + 1, "both ratios, and the median itself: {text}");
    }

    #[test]
    fn what_is_over_the_bound_is_said() {
        let mut comparison = Comparison::new("slow");
        comparison.add(Side::Without, run(10, 1_000, 2_000));
        comparison.add(Side::With, run(10, 1_100, 2_600));
        assert_eq!(comparison.faults(), ["beside slow: p99 is 1.30 times what it is without"]);
    }
}
