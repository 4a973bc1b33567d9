//! A report as text for a terminal and as Markdown for a document.

use std::fmt;

use super::{Cell, Report, Table};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        let width = self.head.iter().map(|fact| length(&fact.name)).max().unwrap_or(0);
        for fact in &self.head {
            writeln!(f, "  {:<width$}  {}", fact.name, fact.value)?;
        }
        for table in &self.tables {
            write!(f, "\n{table}")?;
        }
        if !self.notes.is_empty() || !self.faults.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for fault in &self.faults {
            writeln!(f, "DID NOT HOLD: {fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::to_string).collect()).collect();
        let width = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            cells.chain(self.columns.get(index)).map(|text| length(text)).max().unwrap_or(0)
        };
        let line = |cells: &[String]| {
            let padded =
                cells.iter().enumerate().map(|(index, text)| pad(text, width(index), self.is_text(index)));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        writeln!(f, "{}", self.title)?;
        writeln!(f, "  {}", line(&self.columns))?;
        for row in &rows {
            writeln!(f, "  {}", line(row))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Count(count) => f.write_str(&thousands(&count.to_string())),
            Cell::Number(number) if number.abs() >= 99.95 => f.write_str(&thousands(&format!("{number:.0}"))),
            Cell::Number(number) if number.abs() >= 9.995 => write!(f, "{number:.1}"),
            Cell::Number(number) => write!(f, "{number:.2}"),
            Cell::Text(text) => f.write_str(text),
        }
    }
}

impl Report {
    /// Tables and notes; the head is left to the document, which has one for many reports.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut parts: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        parts.extend(self.notes.iter().cloned());
        parts.extend(self.faults.iter().map(|fault| format!("**Did not hold:** {fault}.")));
        parts.join("\n\n")
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("{}:\n\n", self.title);
        let rule = (0..self.columns.len()).map(|index| if self.is_text(index) { "---" } else { "---:" });
        let rule: Vec<&str> = rule.collect();
        text += &format!("| {} |\n|{}|", self.columns.join(" | "), rule.join("|"));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.to_string().replace('|', "\\|")).collect();
            text += &format!("\n| {} |", cells.join(" | "));
        }
        text
    }

    /// Whether a column holds words, which stand on the left.
    fn is_text(&self, index: usize) -> bool {
        let is_text = |row: &Vec<Cell>| matches!(row.get(index), Some(Cell::Text(_)));
        self.rows.first().is_none_or(is_text)
    }
}

fn pad(text: &str, width: usize, is_left: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(length(text)));
    if is_left { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Groups of three digits.
fn thousands(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Cost, Fact, rate};
    use super::*;

    fn report() -> Report {
        let mut report =
            Report::new("throughput", vec![Fact::new("engine", "embedded"), Fact::new("os", "Linux")]);
        let mut table = Table::new("What came through", &["load", "delivered/s", "p99 ms"]);
        table.row(vec![Cell::from("200 events/s"), Cell::Number(200.04), Cell::Number(1.234)]);
        table.row(vec![Cell::from("saturated"), Cell::Number(12_345.6), Cell::Number(23.45)]);
        report.tables.push(table);
        report.notes.push("A note.".to_owned());
        report
    }

    #[test]
    fn a_report_is_readable_as_text() {
        let expected = "\
throughput
  engine  embedded
  os      Linux

What came through
  load          delivered/s  p99 ms
  200 events/s          200    1.23
  saturated          12,346    23.4

A note.
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn a_report_is_a_table_in_markdown() {
        let expected = "\
What came through:

| load | delivered/s | p99 ms |
|---|---:|---:|
| 200 events/s | 200 | 1.23 |
| saturated | 12,346 | 23.4 |

A note.";
        assert_eq!(report().markdown(), expected);
    }

    #[test]
    fn two_runs_make_one_report_with_the_rows_of_both() {
        let mut other = report();
        other.tables.push(Table::new("Another", &["name"]));
        other.faults.push("3 deliveries were lost".to_owned());
        let both = report().with(other);
        let rows: Vec<usize> = both.tables.iter().map(|table| table.rows.len()).collect();
        assert_eq!(rows, [4, 0], "the same table goes on, another one follows");
        assert_eq!((both.notes.len(), both.faults.len()), (1, 1), "a note once, each fault");
    }

    #[test]
    fn what_did_not_hold_is_said_in_both() {
        let mut report = report();
        report.faults.push("3 deliveries were lost".to_owned());
        assert!(report.to_string().contains("DID NOT HOLD: 3 deliveries were lost"));
        assert!(report.markdown().contains("**Did not hold:** 3 deliveries were lost."));
    }

    #[test]
    fn a_report_comes_back_from_its_json_unchanged() {
        let text = serde_json::to_string(&report()).expect("JSON");
        assert!(text.contains(r#"["saturated",12345.6,23.45]"#), "numbers stay numbers: {text}");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report());
    }

    #[test]
    fn numbers_have_the_decimals_their_size_deserves() {
        let shown = |number: f64| Cell::Number(number).to_string();
        assert_eq!([0.004, 9.994, 9.996, 99.94, 99.96].map(shown), ["0.00", "9.99", "10.0", "99.9", "100"]);
        assert_eq!([1234.5, -1234.5].map(shown), ["1,234", "-1,234"]);
        assert_eq!(Cell::Count(1_000_000).to_string(), "1,000,000");
    }

    #[test]
    fn receiver_and_generator_are_shown_and_not_counted() {
        let second = Duration::from_secs(1);
        let names = ["postrider", "rabbitmq", "receiver", "generator"];
        let cost = Cost {
            cpu: names.iter().map(|name| ((*name).to_owned(), second)).collect(),
            memory: names.iter().map(|name| ((*name).to_owned(), 1 << 20)).collect(),
        };
        let text = Table::of_costs(&[("saturated", &cost, 10_000)]).to_string();
        assert!(text.contains("generator (not counted)"), "{text}");
        let total = text.lines().last().expect("a last line");
        assert_eq!(total.split_whitespace().collect::<Vec<_>>(), ["total", "200", "2"], "{text}");
    }

    #[test]
    fn nothing_in_no_time_is_a_rate_of_nothing() {
        assert!(rate(0, Duration::ZERO).abs() < f64::EPSILON);
        assert!((rate(500, Duration::from_millis(250)) - 2_000.0).abs() < f64::EPSILON);
    }
}
