//! `make performance`: measures every scenario of `postrider bench` and writes the tables of `docs/performance.md`.
//!
//! Usage: `performance PATH-OF-POSTRIDER REVISION [SCENARIO [ENGINE]]`; with a scenario (and `embedded` or `cluster`)
//! only its tables are made anew. Each run has servers of its own, so that none begins with what another left.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use postrider_cli::report::Report;
use postrider_tests::bench_servers::BenchServers;
use postrider_tests::harness::TempFolder;
use postrider_tests::performance_page::{BenchEngine, STEPS, Section, replace};
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: performance PATH-OF-POSTRIDER REVISION [SCENARIO [ENGINE]]";
    let postrider = PathBuf::from(arguments.next().context(usage)?);
    let revision = arguments.next().context(usage)?;
    let (scenario, engine) = (arguments.next(), arguments.next());
    let is_wanted = |section: &Section| {
        scenario.as_ref().is_none_or(|name| section.arguments.first() == Some(&name.as_str()))
            && engine.as_ref().is_none_or(|name| section.engine.name() == name.as_str())
    };
    let steps = STEPS.iter().map(|step| step.iter().copied().filter(&is_wanted).collect::<Vec<_>>());
    let steps: Vec<Vec<Section>> = steps.filter(|step| !step.is_empty()).collect();
    ensure!(!steps.is_empty(), "nothing of that name is measured; see `postrider bench --help`");
    let mut is_well = true;
    for (number, step) in steps.iter().enumerate() {
        let names: Vec<&str> = step.iter().map(|section| section.name).collect();
        eprintln!("{} of {}: {}", number + 1, steps.len(), names.join("; "));
        is_well &= run_step(step, &postrider, &revision).await?;
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers whether everything held that must.
async fn run_step(step: &[Section], postrider: &Path, revision: &str) -> Result<bool> {
    let reports = join_all(step.iter().map(|section| measure(section, postrider, revision))).await;
    let mut is_well = true;
    for (section, report) in step.iter().zip(reports) {
        match report {
            Ok(report) => {
                let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
                let text = std::fs::read_to_string(&page).context("reading docs/performance.md")?;
                std::fs::write(&page, replace(&text, section, &report)?)?;
                println!("{report}");
                is_well &= report.faults.is_empty();
            }
            Err(error) => {
                eprintln!("{}: {error:#}; its old tables stay", section.name);
                is_well = false;
            }
        }
    }
    Ok(is_well)
}

/// All of its runs, one after the other.
async fn measure(section: &Section, postrider: &Path, revision: &str) -> Result<Report> {
    let mut whole: Option<Report> = None;
    for option in section.runs() {
        let part = run(section, option, postrider, revision).await?;
        whole = Some(match whole {
            None => part,
            Some(whole) => whole.with(part),
        });
    }
    whole.context("nothing was run")
}

async fn run(section: &Section, option: Option<&str>, postrider: &Path, revision: &str) -> Result<Report> {
    let folder = TempFolder::new("performance")?;
    let file = folder.join("report.json");
    let servers = match section.engine {
        BenchEngine::Embedded => None,
        BenchEngine::Cluster => Some(BenchServers::start().await?),
    };
    let mut command = Command::new(postrider);
    command.arg("bench").args(section.arguments).args(option).arg("--json").arg(&file);
    command.arg(format!("--note=revision={revision}"));
    if let Some(servers) = &servers {
        let scenario = section.arguments.first().copied().unwrap_or_default();
        command.args(servers.arguments(scenario.as_ref())?);
    }
    let ended = command.stdout(std::process::Stdio::null()).kill_on_drop(true).status().await?;
    // One that found something wrong has written its report all the same.
    let text = std::fs::read(&file).with_context(|| format!("it ended with {ended} and without a report"))?;
    Ok(serde_json::from_slice(&text)?)
}
