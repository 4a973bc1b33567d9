//! The head of a report: when, which Postrider, on which machine, with which settings.

use std::path::Path;

use crate::config::{self, Settings};

use super::load::micros_now;
use super::report::Fact;
use super::setup::{Reporting, Setup};

/// What can be found out without asking anybody but this machine, then what the command line says.
pub fn head(setup: &Setup) -> Vec<Fact> {
    let mut facts = of_machine();
    facts.push(Fact::new("disk", disk(&std::env::temp_dir())));
    facts.push(Fact::new("engine", setup.engine_name()));
    facts.push(Fact::new("sync", setup.durability()));
    facts.extend(config::of_environment().ok().map(|settings| Fact::new("settings", shown(&settings))));
    facts.extend(noted(&setup.reporting));
    facts
}

/// The head of a report about what needs no installation.
pub fn head_without_installation(reporting: &Reporting) -> Vec<Fact> {
    let mut facts = of_machine();
    facts.extend(noted(reporting));
    facts
}

fn of_machine() -> Vec<Fact> {
    vec![Fact::new("date", date()), Fact::new("postrider", version()), Fact::new("machine", machine())]
}

fn noted(reporting: &Reporting) -> impl Iterator<Item = Fact> {
    reporting.note.iter().map(|(name, value)| Fact::new(name, value.clone()))
}

/// Those that decide about the figures, as every process of the bench's own installation gets them.
fn shown(settings: &Settings) -> String {
    let (slots, window) = (settings.worker.slots, settings.worker.window);
    let (writers, connections) = (settings.status.writers, settings.engine.store_connections);
    format!(
        "worker.slots {slots}, worker.window {window}, status.writers {writers}, \
         engine.store_connections {connections}"
    )
}

/// To the minute, UTC.
fn date() -> String {
    let now = jiff::Timestamp::from_microsecond(micros_now()).unwrap_or_default();
    now.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn version() -> String {
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let revision = option_env!("POSTRIDER_REVISION").map(|text| format!(", {text}")).unwrap_or_default();
    format!("{} ({build}{revision})", env!("CARGO_PKG_VERSION"))
}

fn machine() -> String {
    let cpus = read("/proc/cpuinfo");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let model = field(&cpus, "model name").unwrap_or("unknown processor");
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let gib = (memory + 512 * 1024) / (1024 * 1024);
    format!("{cores} cores, {model}, {gib} GiB, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// The file system of a folder and the kind of device below it.
fn disk(folder: &Path) -> String {
    let mounts = read("/proc/mounts");
    let entry = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let holding = mounts.lines().filter_map(entry).filter(|(_, place, _)| folder.starts_with(place));
    // Later mounts hide earlier ones of the same place.
    let Some((device, _, kind)) = holding.max_by_key(|(_, place, _)| place.len()) else {
        return "unknown".to_owned();
    };
    let name = device.rsplit('/').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    let turns = match read(&format!("/sys/block/{name}/queue/rotational")).trim() {
        "0" => ", not rotational",
        "1" => ", which calls itself rotational",
        _ => "",
    };
    format!("{kind} on {device}{turns}")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `name : value`, as files of the kernel have it.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name() {
        let text = "processor\t: 0\nmodel name\t: Some: CPU\n";
        assert_eq!(field(text, "model name"), Some("Some: CPU"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn this_machine_is_described() {
        assert!(machine().contains("cores"), "{}", machine());
        assert!(!disk(Path::new("/")).is_empty());
        assert!(date().ends_with("UTC"));
    }
}
