//! `postrider doctor`: looks at an installation from outside and says what to do about what is not well.
//!
//! It needs what a server needs to start, no running server, and changes nothing: only short-lived queues of its
//! own on the broker. Good before the first start, after a change of broker or database, and when something is
//! strange.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use postrider_contract::finding::{Finding, Verdict};
use postrider_service::file_limit::{FileLimit, raise_file_limit};
use postrider_service::system::SystemClock;
use serde_json::{Value, json};

use crate::assemble::{self, Examination};
use crate::client::Output;
use crate::config::{self, Purpose, Settings, SettingsError, Sources};
use crate::table::{Hue, Screen, printable};

/// The longest broker report that is read: those of large clusters have some MiB.
const LONGEST_REPORT: u64 = 64 * 1024 * 1024;

#[derive(clap::Args)]
pub struct DoctorFlags {
    /// Output of `rabbitmqctl report`, run on a broker, or - for standard input: flags, alarms, partitions, time-outs
    #[arg(long, value_name = "FILE")]
    broker_report: Option<PathBuf>,
    /// Also pass 3,000 small messages through a lane of its own and measure how fast due retries come back
    #[arg(long)]
    probe_lane: bool,
}

/// Prints what was found. `false` if there is a fault.
///
/// # Errors
/// When a file that was named cannot be read, or nobody reads the output.
pub async fn examine_installation(
    sources: &Sources,
    flags: &DoctorFlags,
    output: Output,
) -> anyhow::Result<bool> {
    let report = flags.broker_report.as_deref().map(read_report).transpose()?;
    let examination = Examination { report, lane_rehearsal: flags.probe_lane };
    let (settings, mut findings) = read_settings(sources)?;
    findings.extend(judge_this_machine(&settings));
    findings.extend(assemble::examine(&settings, &examination, &SystemClock).await?);
    let mut screen = Screen::stdout();
    match output {
        Output::Table => show(&mut screen, &findings)?,
        Output::Json => screen.line(&document(&findings).to_string())?,
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Fault))
}

fn read_report(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let reading = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST_REPORT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_REPORT).read_to_end(&mut bytes))
    };
    reading.with_context(|| format!("cannot read the broker's report {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Settings that a server would not start with are a finding, as long as enough is there to go on.
fn read_settings(sources: &Sources) -> Result<(Settings, Vec<Finding>), SettingsError> {
    const SUBJECT: &str = "settings";
    match config::load(sources, Purpose::Serve) {
        Ok(settings) => Ok((settings, vec![Finding::well(SUBJECT, "a server would start with them")])),
        Err(error) => {
            let settings = config::load(sources, Purpose::Topology)?;
            let advice = "`postrider config print --defaults` shows every setting with its meaning";
            Ok((settings, vec![Finding::fault(SUBJECT, error.to_string(), advice)]))
        }
    }
}

fn judge_this_machine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![judge_file_limit(settings, raise_file_limit())];
    if settings.server.dev {
        findings.push(Finding::warning(
            "settings.dev",
            "server.dev is on: deliveries may go to plain http and to this machine",
            "leave it off wherever customers choose the URLs",
        ));
    } else if settings.egress.allow_http {
        findings.push(Finding::warning(
            "settings.allow_http",
            "egress.allow_http is on: bodies can be read and changed on their way",
            "leave it off unless a receiver has no TLS",
        ));
    }
    findings
}

fn judge_file_limit(settings: &Settings, limit: FileLimit) -> Finding {
    const SUBJECT: &str = "machine.open_files";
    let wanted = crate::serve::wanted_files(settings);
    let seen = format!("{} may be open at once", limit.soft);
    if limit.is_enough_for(wanted) {
        Finding::well(SUBJECT, seen)
    } else {
        let advice = format!("raise the hard limit to {wanted} (LimitNOFILE= in a systemd unit, ulimit -Hn)");
        Finding::warning(SUBJECT, seen, advice)
    }
}

fn show(screen: &mut Screen, findings: &[Finding]) -> std::io::Result<()> {
    let subjects = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    for finding in findings {
        let word = screen.paint(hue(finding.verdict), &format!("{:<8}", finding.verdict.as_str()));
        let seen = printable(&finding.seen);
        screen.line(&format!("{word} {:<subjects$}  {seen}", finding.subject))?;
        if let Some(advice) = &finding.advice {
            screen.line(&format!("{:subjects$}           → {}", "", printable(advice)))?;
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (faults, warnings, unknown) =
        (count(Verdict::Fault), count(Verdict::Warning), count(Verdict::Unknown));
    screen.line("")?;
    screen.line(&format!(
        "{} looked at: {}, {}, {unknown} unknown",
        findings.len(),
        counted(faults, "fault"),
        counted(warnings, "warning")
    ))
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn hue(verdict: Verdict) -> Option<Hue> {
    Some(match verdict {
        Verdict::Well => Hue::Green,
        Verdict::Unknown => Hue::Grey,
        Verdict::Warning => Hue::Yellow,
        Verdict::Fault => Hue::Red,
    })
}

fn document(findings: &[Finding]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "subject": finding.subject,
                "verdict": finding.verdict.as_str(),
                "seen": finding.seen,
                "advice": finding.advice,
            })
        })
        .collect();
    json!({ "findings": findings })
}
