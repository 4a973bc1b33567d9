//! What a run found, for people.

use std::fmt;
use std::time::Duration;

use super::cpu::Watched;
use super::load::LoadResult;
use super::receiver::Arrivals;

/// Their CPU is reported, but is not a cost of a delivery.
const NOT_OURS: [&str; 2] = ["receiver", "generator"];

pub struct Phase {
    pub sent: LoadResult,
    pub expected: u64,
    pub arrivals: Arrivals,
    pub cpu: Vec<(String, Duration)>,
    pub memory: Vec<(String, u64)>,
}

pub struct Report {
    machine: String,
    watched: String,
    fan_out: u16,
    size: usize,
    phases: Vec<(String, Phase)>,
}

impl Report {
    pub fn new(watched: &[Watched], fan_out: u16, size: usize) -> Self {
        let names: Vec<&str> = watched.iter().map(|one| one.name.as_str()).collect();
        Report { machine: machine(), watched: names.join(", "), fan_out, size, phases: Vec::new() }
    }

    pub fn add(&mut self, name: String, phase: Phase) {
        self.phases.push((name, phase));
    }

    pub fn lost(&self) -> u64 {
        self.phases.iter().map(|(_, phase)| phase.expected.saturating_sub(phase.arrivals.distinct)).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "postrider {} ({})",
            env!("CARGO_PKG_VERSION"),
            if cfg!(debug_assertions) { "debug build" } else { "release build" }
        )?;
        writeln!(f, "machine    {}", self.machine)?;
        writeln!(f, "events     {} bytes of data, fan-out {}", self.size, self.fan_out)?;
        writeln!(f, "processes  {}", self.watched)?;
        for (name, phase) in &self.phases {
            writeln!(f, "\n{name}")?;
            phase.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, arrivals) = (&self.sent, &self.arrivals);
        writeln!(
            f,
            "  accepted   {} in {:.1} s = {:.0}/s ({} refused)",
            sent.accepted,
            sent.took.as_secs_f64(),
            rate(sent.accepted, sent.took),
            sent.refused
        )?;
        writeln!(
            f,
            "  delivered  {} of {} in {:.1} s = {:.0}/s ({} more than once)",
            arrivals.distinct,
            self.expected,
            arrivals.took.as_secs_f64(),
            rate(arrivals.distinct, arrivals.took),
            arrivals.repeats
        )?;
        writeln!(f, "  202 after  {}", Percentiles(&sent.answers))?;
        writeln!(
            f,
            "  arrival    {}  (from the request sent to its arrival at the receiver)",
            Percentiles(&arrivals.latencies)
        )?;
        writeln!(f, "  CPU µs per delivery, and peak memory")?;
        let mut ours = 0.0;
        for ((name, cpu), (_, memory)) in self.cpu.iter().zip(&self.memory) {
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let each = cpu.as_secs_f64() * 1e6 / arrivals.distinct.max(1) as f64;
            let is_ours = !NOT_OURS.contains(&name.as_str());
            if is_ours {
                ours += each;
            }
            let note = if is_ours { "" } else { "  (not counted)" };
            writeln!(f, "    {name:<12} {each:>8.1}   {:>6} MiB{note}", memory / (1024 * 1024))?;
        }
        writeln!(f, "    {:<12} {ours:>8.1}", "total")
    }
}

struct Percentiles<'a>(&'a [u64; 4]);

/// In microseconds: p50, p95, p99, max.
impl fmt::Display for Percentiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.map(|micros| Duration::from_micros(micros).as_secs_f64() * 1e3);
        write!(
            f,
            "p50 {:.2} ms  p95 {:.2} ms  p99 {:.2} ms  max {:.1} ms",
            millis[0], millis[1], millis[2], millis[3]
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} cores, {}, Linux {}", field("model name"), read("/proc/sys/kernel/osrelease").trim())
}
