//! `docs/performance.md`: which part of it comes from which run, and how a part is replaced.
//!
//! A part stands between `<!-- measured: NAME -->` and `<!-- end -->`. All else in the page is written by hand.

use anyhow::{Context, Result, ensure};
use postrider_cli::report::{Fact, Report};

/// What a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchEngine {
    Embedded,
    Cluster,
}

/// One run, and the part of the page that its report fills.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub name: &'static str,
    pub engine: BenchEngine,
    /// Scenario and options of `postrider bench`.
    pub arguments: &'static [&'static str],
    /// A run of its own for each, with this option besides; together they are one report. Empty for one run without.
    pub apart: &'static [&'static str],
}

const fn on_embedded(name: &'static str, arguments: &'static [&'static str]) -> Section {
    Section { name, engine: BenchEngine::Embedded, arguments, apart: &[] }
}

const fn on_cluster(name: &'static str, arguments: &'static [&'static str]) -> Section {
    Section { name, engine: BenchEngine::Cluster, arguments, apart: &[] }
}

/// The kinds of neighbours, each measured on servers where no other has left anything.
const NEIGHBOURS: &[&str] = &[
    "--kind=ordinary",
    "--kind=slow",
    "--kind=drip",
    "--kind=failing",
    "--kind=hot",
    "--kind=fleet",
    "--kind=stricken",
];

/// Those of one step run at the same time: they wait, nearly all the time.
pub const STEPS: &[&[Section]] = &[
    &[on_embedded("rendering", &["rendering"])],
    &[on_embedded("throughput, embedded", &["throughput"])],
    &[on_cluster("throughput, cluster", &["throughput"])],
    &[on_embedded("fan-out, embedded", &["throughput", "--fan-out", "5"])],
    &[on_cluster("fan-out, cluster", &["throughput", "--fan-out", "5"])],
    &[on_cluster("scale, cluster", &["scale"])],
    &[on_embedded("due-at-once, embedded", &["due-at-once"])],
    &[on_cluster("due-at-once, cluster", &["due-at-once"])],
    &[on_embedded("backlog, embedded", &["backlog"])],
    &[on_cluster("backlog, cluster", &["backlog"])],
    &[on_cluster("backlog without a worker, cluster", &["backlog", "--because", "no-worker"])],
    &[on_embedded("neighbours, embedded", &["neighbours"]).each_of(NEIGHBOURS)],
    &[on_cluster("neighbours, cluster", &["neighbours"]).each_of(NEIGHBOURS)],
    &[on_embedded("lanes, embedded", &["lanes"]), on_cluster("lanes, cluster", &["lanes"])],
];

impl BenchEngine {
    pub fn name(self) -> &'static str {
        match self {
            BenchEngine::Embedded => "embedded",
            BenchEngine::Cluster => "cluster",
        }
    }
}

impl Section {
    const fn each_of(self, apart: &'static [&'static str]) -> Self {
        Section { apart, ..self }
    }

    /// What each of its runs is given besides.
    #[must_use]
    pub fn runs(&self) -> Vec<Option<&'static str>> {
        if self.apart.is_empty() { vec![None] } else { self.apart.iter().copied().map(Some).collect() }
    }

    /// How to run it alone: all of it, or the first of its runs.
    fn command(&self) -> String {
        let target = match self.engine {
            BenchEngine::Embedded => "bench",
            BenchEngine::Cluster => "bench-cluster",
        };
        let scenario = self.arguments.first().copied().unwrap_or_default();
        let options = self.arguments.iter().skip(1).chain(self.apart.first()).copied().collect::<Vec<_>>();
        let options =
            if options.is_empty() { String::new() } else { format!(" ARGS='{}'", options.join(" ")) };
        let others = match self.apart {
            [] | [_] => String::new(),
            [_, others @ ..] => {
                let others: Vec<String> = others.iter().map(|option| format!("`{option}`")).collect();
                format!(", and so with {}", others.join(", "))
            }
        };
        format!("`make {target} SCENARIO={scenario}{options}`{others}")
    }
}

/// The page with the section's part made anew from a report.
///
/// # Errors
/// When the page has no such part.
pub fn replace(page: &str, section: &Section, report: &Report) -> Result<String> {
    const END: &str = "<!-- end -->";
    let begin = format!("<!-- measured: {} -->", section.name);
    let (before, rest) = page.split_once(&begin).with_context(|| format!("the page has no {begin}"))?;
    let (old, after) = rest.split_once(END).with_context(|| format!("{begin} has no {END}"))?;
    ensure!(!old.contains("<!-- measured:"), "{begin} has no {END} of its own");
    let facts = report.head.iter().map(|Fact { name, value }| format!("- {name}: {value}"));
    let facts = facts.collect::<Vec<_>>().join("\n");
    let (command, content) = (section.command(), report.markdown());
    Ok(format!("{before}{begin}\n{command}\n\n{facts}\n\n{content}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use postrider_cli::report::{Cell, Table};

    use super::*;

    const PAGE: &str = "Before.\n\n<!-- measured: lanes, embedded -->\nold\n<!-- end -->\n\nBetween.\n\n\
                        <!-- measured: lanes, cluster -->\nother\n<!-- end -->\nAfter.\n";
    const SECTION: Section = on_embedded("lanes, embedded", &["lanes", "--up-to", "30s"]);

    fn report() -> Report {
        let mut report = Report::new("lanes", vec![Fact::new("date", "today")]);
        let mut table = Table::new("Late", &["wait", "ms"]);
        table.row(vec![Cell::from("1s"), Cell::Number(3.0)]);
        report.tables.push(table);
        report
    }

    #[test]
    fn one_part_is_replaced_and_all_else_stays() {
        let expected = "Before.\n\n<!-- measured: lanes, embedded -->\n\
                        `make bench SCENARIO=lanes ARGS='--up-to 30s'`\n\n- date: today\n\n\
                        Late:\n\n| wait | ms |\n|---|---:|\n| 1s | 3.00 |\n<!-- end -->\n\nBetween.\n\n\
                        <!-- measured: lanes, cluster -->\nother\n<!-- end -->\nAfter.\n";
        let once = replace(PAGE, &SECTION, &report()).expect("replaced");
        assert_eq!(once, expected);
        assert_eq!(replace(&once, &SECTION, &report()).expect("replaced"), expected, "again and again");
    }

    #[test]
    fn a_part_of_several_runs_says_how_to_run_each() {
        let section = SECTION.each_of(&["--kind=a", "--kind=b"]);
        let page = replace(PAGE, &section, &report()).expect("replaced");
        let expected = "`make bench SCENARIO=lanes ARGS='--up-to 30s --kind=a'`, and so with `--kind=b`\n\n";
        assert!(page.contains(expected), "{page}");
        assert_eq!(section.runs(), [Some("--kind=a"), Some("--kind=b")]);
        assert_eq!(SECTION.runs(), [None]);
    }

    #[test]
    fn a_page_without_the_part_is_refused() {
        let other = on_cluster("scale, cluster", &["scale"]);
        assert!(
            replace(PAGE, &other, &report()).expect_err("refused").to_string().contains("scale, cluster")
        );
        let open = PAGE.replacen("<!-- end -->\n\nBetween", "Between", 1);
        assert!(replace(&open, &SECTION, &report()).expect_err("refused").to_string().contains("of its own"));
    }

    #[test]
    fn the_page_has_a_part_for_every_run() {
        let mut page = include_str!("../../docs/performance.md").to_owned();
        for section in STEPS.iter().copied().flatten() {
            page = replace(&page, section, &report()).expect("a part");
        }
    }
}
