//! `postrider bench`, in small: each scenario runs through and its report says what arrived. No figure is judged.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_cli::report::{Cell, Report, Table};
use postrider_contract::profile::builtin_profiles;
use postrider_tests::harness::postrider::binary;
use postrider_tests::harness::process::Launch;
use postrider_tests::harness::signal::{self, Signal};
use postrider_tests::harness::{TempFolder, eventually};
use postrider_tests::stage::SOON;

/// A few seconds on a quiet machine.
const RUN: Duration = Duration::from_secs(300);

async fn bench(arguments: &[&str]) -> Result<Report> {
    let folder = TempFolder::new("bench")?;
    let file = folder.join("report.json");
    let json = file.to_str().context("the temporary folder's name is not UTF-8")?;
    let launch = Launch::new("bench", binary()?, folder.path()).arg("bench").args(arguments).args([
        "--json",
        json,
        "--note",
        "revision=abc",
    ]);
    launch.run(RUN).await?;
    let report = read(&file)?;
    let printed = std::fs::read_to_string(launch.output())?;
    // Of two neighbouring numbers that JSON was read as, one may be rounded up where the other is not.
    let shape = |text: &str| text.replace(|character: char| character.is_ascii_digit(), "0");
    ensure!(
        shape(&printed).contains(&shape(&report.to_string())),
        "what is printed is the report: {printed}"
    );
    let notes = report.head.iter().any(|fact| fact.name == "revision" && fact.value == "abc");
    ensure!(notes, "a note stands in the head: {report}");
    ensure!(report.faults.is_empty(), "{report}");
    Ok(report)
}

fn read(file: &Path) -> Result<Report> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

fn table<'r>(report: &'r Report, title: &str) -> Result<&'r Table> {
    report.tables.iter().find(|table| table.title == title).with_context(|| format!("no {title} in {report}"))
}

/// The counts in a column, from top to bottom.
fn counts(table: &Table, column: &str) -> Result<Vec<u64>> {
    let index = table.columns.iter().position(|title| title == column).context("no such column")?;
    let count = |row: &Vec<Cell>| match row.get(index) {
        Some(Cell::Count(count)) => Ok(*count),
        other => anyhow::bail!("not a count: {other:?}"),
    };
    table.rows.iter().map(count).collect()
}

#[tokio::test]
async fn throughput_tells_what_arrived_and_what_it_cost() -> Result<()> {
    let options = ["throughput", "--duration", "1s", "--rate", "50", "--connections", "2", "--fan-out", "2"];
    let report = bench(&options).await?;
    let delivered = counts(table(&report, "What came through")?, "delivered")?;
    ensure!(delivered.len() == 2 && delivered.iter().all(|count| *count >= 2), "{report}");
    let costs = table(&report, "CPU µs per delivery, and peak memory")?;
    let processes: Vec<String> =
        costs.rows.iter().filter_map(|row| row.first()).map(Cell::to_string).collect();
    let expected = ["postrider", "receiver (not counted)", "generator (not counted)", "total"];
    ensure!(processes == expected, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_backlog_waits_and_is_then_delivered() -> Result<()> {
    let report = bench(&["backlog", "--waiting", "40", "--fan-out", "4"]).await?;
    let deliveries = counts(table(&report, "How it went")?, "deliveries")?;
    ensure!(deliveries == [40, 40, 40], "{report}");
    Ok(())
}

#[tokio::test]
async fn every_lane_is_waited_for() -> Result<()> {
    let report = bench(&["lanes", "--up-to", "1s", "--each", "5"]).await?;
    let tries = counts(table(&report, "How late the next try came")?, "tries")?;
    ensure!(tries == [5, 5], "trakkr and trcker begin with 1 s: {report}");
    Ok(())
}

#[tokio::test]
async fn a_bench_that_is_killed_leaves_no_process_behind() -> Result<()> {
    let folder = TempFolder::new("bench")?;
    let temporary = folder.path().to_str().context("the temporary folder's name is not UTF-8")?;
    let options = ["bench", "throughput", "--duration", "10m", "--rate", "1", "--connections", "1"];
    let launch = Launch::new("bench", binary()?, folder.path()).args(options).env("TMPDIR", temporary);
    let mut bench = launch.spawn()?;
    let both = eventually("its receiver and its server", SOON, async || {
        let children = signal::children_of(bench.pid());
        Ok((children.len() == 2).then_some(children))
    });
    let both = both.await?;
    bench.kill()?;
    let ended = eventually("them to end", SOON, async || {
        Ok((!both.iter().any(|pid| signal::is_running(*pid))).then_some(()))
    });
    let ended = ended.await;
    for left in both.into_iter().filter(|pid| signal::is_running(*pid)) {
        signal::send(left, Signal::Kill)?;
    }
    ended
}

#[tokio::test]
async fn rendering_is_measured_for_every_profile() -> Result<()> {
    let report = bench(&["rendering", "--rounds", "1", "--each", "10"]).await?;
    let measured = table(&report, "CPU of a body and its signature")?;
    let names: Vec<String> =
        measured.rows.iter().filter_map(|row| row.first()).map(Cell::to_string).collect();
    let missing = builtin_profiles().iter().find(|profile| !names.contains(&profile.name().to_string()));
    ensure!(missing.is_none(), "{missing:?} is not measured: {report}");
    let sizes = counts(measured, "body bytes")?;
    ensure!(sizes.iter().all(|bytes| *bytes > 200), "each has a body: {report}");
    Ok(())
}
