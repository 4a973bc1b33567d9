//! The CPU time that processes, with their children, have used, as the kernel counts it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;

/// The kernel's clock ticks per second, fixed at 100 for user space on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// A process to account for, with all its descendants.
#[derive(Clone, Debug)]
pub struct Watched {
    pub name: String,
    pid: u32,
}

impl Watched {
    pub fn new(name: &str, pid: u32) -> Self {
        Watched { name: name.to_owned(), pid }
    }

    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (name, pid) =
            text.split_once('=').with_context(|| format!("--watch {text}: expected NAME=PID"))?;
        let pid = pid.parse().with_context(|| format!("--watch {text}: {pid:?} is not a process id"))?;
        Ok(Watched::new(name, pid))
    }

    /// The processes of each, at this moment.
    pub fn families(watched: &[Watched]) -> Vec<Vec<u32>> {
        let processes = read_processes();
        watched.iter().map(|one| one.family(&processes)).collect()
    }

    /// The bench starts the others: they are its children, and counted under their own names.
    fn family(&self, processes: &HashMap<u32, Process>) -> Vec<u32> {
        if self.pid == std::process::id() { vec![self.pid] } else { family(processes, self.pid) }
    }
}

/// What had been used at one moment, by name.
#[derive(Clone, Debug, Default)]
pub struct CpuSample(Vec<(String, Duration)>);

struct Process {
    parent: u32,
    ticks: u64,
}

impl CpuSample {
    pub fn take(watched: &[Watched]) -> Self {
        let processes = read_processes();
        let mut sums: Vec<(String, Duration)> = Vec::new();
        for one in watched {
            let ticks = |pid| processes.get(&pid).map_or(0, |process| process.ticks);
            let ticks: u64 = one.family(&processes).into_iter().map(ticks).sum();
            let used = Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND);
            match sums.iter_mut().find(|(name, _)| *name == one.name) {
                Some((_, sum)) => *sum += used,
                None => sums.push((one.name.clone(), used)),
            }
        }
        CpuSample(sums)
    }

    /// CPU between two samples, by name.
    pub fn since(&self, before: &CpuSample) -> Vec<(String, Duration)> {
        let used_before = |name: &str| {
            let found = before.0.iter().find(|(other, _)| other == name);
            found.map_or(Duration::ZERO, |(_, used)| *used)
        };
        let used = |(name, used): &(String, Duration)| (name.clone(), used.saturating_sub(used_before(name)));
        self.0.iter().map(used).collect()
    }
}

fn family(processes: &HashMap<u32, Process>, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(processes.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

fn read_processes() -> HashMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, read_process(pid)?))).collect()
}

/// `pid (name) state ppid … utime stime cutime cstime …`; the name may hold anything, so it is cut off at its end.
fn read_process(pid: u32) -> Option<Process> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    // Children that have ended are counted with their parent (fields 14 and 15).
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Process { parent: u32::try_from(number(1)?).ok()?, ticks })
}
