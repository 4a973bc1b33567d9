//! What a run found: facts and tables, for people (text, Markdown) and for programs (JSON).

mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Their CPU is reported, but is not a cost of a delivery.
const NOT_OURS: [&str; 2] = ["receiver", "generator"];

/// One run of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    /// What it was measured on.
    pub head: Vec<Fact>,
    pub tables: Vec<Table>,
    /// What is needed to read the tables.
    pub notes: Vec<String>,
    /// What did not hold: something lost, a limit not kept. Empty when all is well.
    pub faults: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// Every row has as many cells as there are columns; a column's title holds its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Count(u64),
    /// Shown with as many decimals as its size deserves.
    Number(f64),
    Text(String),
}

/// What the watched processes used during one phase, by name.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    pub cpu: Vec<(String, Duration)>,
    /// Bytes at the fullest.
    pub memory: Vec<(String, u64)>,
}

impl Report {
    #[must_use]
    pub fn new(scenario: &str, head: Vec<Fact>) -> Self {
        let (tables, notes, faults) = (Vec::new(), Vec::new(), Vec::new());
        Report { scenario: scenario.to_owned(), head, tables, notes, faults }
    }

    /// With the rows and tables of another run of the same scenario, measured on the same.
    #[must_use]
    pub fn with(mut self, other: Report) -> Self {
        for table in other.tables {
            let is_same = |known: &&mut Table| known.title == table.title && known.columns == table.columns;
            match self.tables.iter_mut().find(is_same) {
                Some(known) => known.rows.extend(table.rows),
                None => self.tables.push(table),
            }
        }
        let new_notes: Vec<_> = other.notes.into_iter().filter(|note| !self.notes.contains(note)).collect();
        self.notes.extend(new_notes);
        self.faults.extend(other.faults);
        self
    }
}

impl Fact {
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Fact { name: name.to_owned(), value: value.into() }
    }
}

impl Table {
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Table { title: title.to_owned(), columns, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(
            cells.len(),
            self.columns.len(),
            "a row of {} is not as wide as its table",
            self.title
        );
        self.rows.push(cells);
    }

    /// CPU per delivery of each process in each phase, the sum of those that count, and memory at its fullest.
    /// A phase is its name, what it cost, and how many deliveries that was for.
    #[must_use]
    pub fn of_costs(phases: &[(&str, &Cost, u64)]) -> Self {
        let mut table = Table::new("CPU µs per delivery, and peak memory", &["process"]);
        for (phase, ..) in phases {
            table.columns.push(format!("{phase}: µs"));
            table.columns.push("MiB".to_owned());
        }
        let Some((_, first, _)) = phases.first() else { return table };
        for (name, _) in &first.cpu {
            let shown = if is_ours(name) { name.clone() } else { format!("{name} (not counted)") };
            let mut cells = vec![Cell::Text(shown)];
            for (_, cost, deliveries) in phases {
                cells.push(Cell::Number(cost.micros_of(name, *deliveries)));
                cells.push(Cell::Count(cost.mebibytes_of(name)));
            }
            table.row(cells);
        }
        let mut cells = vec![Cell::from("total")];
        for (_, cost, deliveries) in phases {
            cells.push(Cell::Number(cost.micros(*deliveries)));
            cells.push(Cell::Count(cost.mebibytes()));
        }
        table.row(cells);
        table
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl Cell {
    /// A duration in milliseconds.
    #[must_use]
    pub fn millis(duration: Duration) -> Self {
        Cell::Number(duration.as_secs_f64() * 1e3)
    }

    /// p50, p95, p99 and maximum, given in microseconds, as milliseconds.
    #[must_use]
    pub fn percentiles(micros: [u64; 4]) -> [Cell; 4] {
        micros.map(|each| Cell::millis(Duration::from_micros(each)))
    }
}

impl Cost {
    /// CPU of one name for each delivery, in microseconds.
    #[must_use]
    pub fn micros_of(&self, name: &str, deliveries: u64) -> f64 {
        let found = self.cpu.iter().find(|(other, _)| other == name);
        each(found.map_or(Duration::ZERO, |(_, cpu)| *cpu), deliveries)
    }

    /// CPU of everything that counts for each delivery, in microseconds.
    #[must_use]
    pub fn micros(&self, deliveries: u64) -> f64 {
        each(self.cpu.iter().filter(|(name, _)| is_ours(name)).map(|(_, cpu)| *cpu).sum(), deliveries)
    }

    #[must_use]
    pub fn mebibytes_of(&self, name: &str) -> u64 {
        let found = self.memory.iter().find(|(other, _)| other == name);
        found.map_or(0, |(_, bytes)| bytes / (1024 * 1024))
    }

    /// Of everything that counts; each at its own fullest, which need not be at the same moment.
    #[must_use]
    pub fn mebibytes(&self) -> u64 {
        let ours = self.memory.iter().filter(|(name, _)| is_ours(name));
        ours.map(|(_, bytes)| bytes).sum::<u64>() / (1024 * 1024)
    }
}

fn is_ours(name: &str) -> bool {
    !NOT_OURS.contains(&name)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn each(cpu: Duration, deliveries: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / deliveries.max(1) as f64
}

/// So many in such a time, for each second.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}
