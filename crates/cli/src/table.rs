//! What the client commands print for people: tables that fit the terminal, and sheets of one object.
//!
//! Columns are data: a title, where the value stands in the API's JSON, and how it is shown. A table that is wider
//! than the terminal first loses the columns that can be spared, then wraps; what goes to a pipe is never cut.
//! Everything that came from outside goes through [`printable`], so that no text can steer the terminal.

mod printable;
mod screen;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table};
use serde_json::Value;

pub use printable::{excerpt, printable};
pub use screen::{Hue, Screen};

/// Blanks between two columns.
const COLUMN_GAP: usize = 2;
/// What a column that wraps needs to be readable, its gap included.
const NARROWEST_COLUMN: usize = 10;

/// How a value of the API is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As it is; lists with commas, objects as compact JSON.
    Text,
    /// What is copied from the table into the next command: never broken over lines while there is room.
    Id,
    /// To the second.
    Time,
    /// A word that says how something stands, coloured by it.
    Status,
}

/// Whether a column may go when the terminal is too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Always,
    IfRoom,
}

/// One column of a table, or one line of a sheet.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    /// RFC 6901, into one object of the API.
    pointer: &'static str,
    show: Show,
    keep: Keep,
}

impl Column {
    pub const fn text(title: &'static str, pointer: &'static str) -> Self {
        Column { title, pointer, show: Show::Text, keep: Keep::Always }
    }

    pub const fn id(title: &'static str, pointer: &'static str) -> Self {
        Column { title, pointer, show: Show::Id, keep: Keep::Always }
    }

    pub const fn time(title: &'static str, pointer: &'static str) -> Self {
        Column { title, pointer, show: Show::Time, keep: Keep::Always }
    }

    pub const fn status(title: &'static str, pointer: &'static str) -> Self {
        Column { title, pointer, show: Show::Status, keep: Keep::Always }
    }

    /// The same, as one that a narrow terminal does without. The last of them goes first.
    pub const fn if_room(self) -> Self {
        Column { keep: Keep::IfRoom, ..self }
    }

    /// Empty where the object has no such value.
    fn cell(&self, object: &Value) -> String {
        let Some(value) = object.pointer(self.pointer) else { return String::new() };
        match self.show {
            Show::Text | Show::Id | Show::Status => value_text(value),
            Show::Time => value.as_str().map(to_the_second).unwrap_or_default(),
        }
    }
}

/// What a table is fitted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In columns; `None` where the output is not a terminal.
    pub width: Option<u16>,
    pub colour: Colouring,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colouring {
    On,
    Off,
}

/// A table with a header, one line for each object; without a line feed at the end.
#[must_use]
pub fn list(columns: &[Column], objects: &[Value], layout: Layout) -> String {
    let mut kept: Vec<Column> = columns.to_vec();
    if let Some(width) = layout.width {
        while natural_width(&kept, objects) > usize::from(width) {
            let Some(last) = kept.iter().rposition(|column| column.keep == Keep::IfRoom) else { break };
            kept.remove(last);
        }
    }
    let mut table = bare_table(layout);
    table.set_header(kept.iter().map(|column| {
        let cell = Cell::new(column.title);
        if layout.colour == Colouring::On { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for object in objects {
        table.add_row(kept.iter().map(|column| styled(column, object, layout)));
    }
    if let Some(width) = layout.width {
        keep_ids_whole(&mut table, &kept, usize::from(width));
    }
    finished(&mut table)
}

/// The other columns wrap instead, as long as each keeps a few characters.
fn keep_ids_whole(table: &mut Table, columns: &[Column], width: usize) {
    let natural: Vec<usize> = table.column_max_content_widths().into_iter().map(usize::from).collect();
    let of_others = columns.iter().filter(|column| column.show != Show::Id).count() * NARROWEST_COLUMN;
    let ids = columns.iter().zip(&natural).filter(|(column, _)| column.show == Show::Id);
    let of_ids: usize = ids.map(|(_, width)| width + COLUMN_GAP).sum();
    if of_ids + of_others > width {
        return;
    }
    for (column, cells) in columns.iter().zip(table.column_iter_mut()) {
        if column.show == Show::Id {
            cells.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// One object, a line for each value it has.
#[must_use]
pub fn sheet(lines: &[Column], object: &Value, layout: Layout) -> String {
    let mut table = bare_table(layout);
    for line in lines {
        let cell = styled(line, object, layout);
        if !cell.content().is_empty() {
            table.add_row([Cell::new(line.title), cell]);
        }
    }
    finished(&mut table)
}

/// `2026-11-21T09:30:00.123Z` as `2026-11-21 09:30:00`; anything else as it is.
#[must_use]
pub fn to_the_second(time: &str) -> String {
    match (time.get(..10), time.get(11..19)) {
        (Some(day), Some(time_of_day)) => printable(&format!("{day} {time_of_day}")),
        _ => printable(time),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(value_text).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => printable(&value.to_string()),
    }
}

/// The colour of a word that says how something stands. `None` for words that are neither good nor bad.
#[must_use]
pub fn hue_of(status: &str) -> Option<Hue> {
    match status {
        "delivered" | "active" | "accepted" => Some(Hue::Green),
        "retrying" | "retry" | "held" | "paused" | "pending" => Some(Hue::Yellow),
        "failed" | "disabled" | "expired" | "rejected" => Some(Hue::Red),
        _ => None,
    }
}

fn styled(column: &Column, object: &Value, layout: Layout) -> Cell {
    let text = column.cell(object);
    let hue = match (column.show, layout.colour) {
        (Show::Status, Colouring::On) => hue_of(&text),
        (Show::Status | Show::Text | Show::Id | Show::Time, _) => None,
    };
    let cell = Cell::new(text);
    match hue {
        Some(Hue::Green) => cell.fg(Color::Green),
        Some(Hue::Yellow) => cell.fg(Color::Yellow),
        Some(Hue::Red) => cell.fg(Color::Red),
        Some(Hue::Grey) => cell.fg(Color::DarkGrey),
        None => cell,
    }
}

fn bare_table(layout: Layout) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).force_no_tty();
    if layout.colour == Colouring::On {
        table.enforce_styling();
    }
    if let Some(width) = layout.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Columns stand two apart, and the first at the edge.
fn finished(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn natural_width(columns: &[Column], objects: &[Value]) -> usize {
    let width_of = |column: &Column| {
        let cells = objects.iter().map(|object| column.cell(object).chars().count());
        cells.chain([column.title.chars().count()]).max().unwrap_or_default() + COLUMN_GAP
    };
    columns.iter().map(width_of).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("ID", "/id"),
        Column::status("STATUS", "/status"),
        Column::time("CREATED", "/created_at").if_room(),
        Column::text("EVENTS", "/events").if_room(),
    ];

    fn objects() -> Vec<Value> {
        vec![json!({
            "id": "wh_1",
            "status": "active",
            "created_at": "2026-11-21T09:30:00.123Z",
            "events": ["conversion.*", "cap.reached"],
        })]
    }

    fn plain(width: Option<u16>) -> Layout {
        Layout { width, colour: Colouring::Off }
    }

    #[test]
    fn what_goes_to_a_pipe_is_whole_and_plain() {
        let text = list(&COLUMNS, &objects(), plain(None));
        assert_eq!(
            text.lines().map(str::trim_end).collect::<Vec<_>>(),
            [
                "ID    STATUS  CREATED              EVENTS",
                "wh_1  active  2026-11-21 09:30:00  conversion.*, cap.reached",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_loses_the_columns_that_can_be_spared_last_first() {
        let text = list(&COLUMNS, &objects(), plain(Some(40)));
        assert!(text.contains("CREATED") && !text.contains("EVENTS"), "{text}");
        let text = list(&COLUMNS, &objects(), plain(Some(20)));
        assert!(!text.contains("CREATED") && text.contains("wh_1  active"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = vec![json!({"id": "a-rather-long-name-of-something".repeat(3), "status": "active"})];
        for width in [20, 40, 80] {
            for line in list(&COLUMNS, &long, plain(Some(width))).lines() {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn an_id_is_not_broken_while_others_can_wrap() {
        let columns = [Column::id("ID", "/id"), Column::text("URL", "/url")];
        let objects = [json!({"id": "wh_01m7yte3r19cg85505tx9at4hv", "url": "https://a.example/".repeat(4)})];
        let text = list(&columns, &objects, plain(Some(60)));
        assert!(text.contains("wh_01m7yte3r19cg85505tx9at4hv  https"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        let text = list(&COLUMNS, &objects(), Layout { width: None, colour: Colouring::On });
        assert!(text.contains('\u{1b}'));
        assert!(!list(&COLUMNS, &objects(), plain(Some(80))).contains('\u{1b}'));
    }

    #[test]
    fn a_sheet_shows_what_the_object_has() {
        let lines = [Column::text("id", "/id"), Column::text("name", "/name")];
        assert_eq!(sheet(&lines, &json!({"id": "t", "name": null}), plain(None)), "id  t");
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        let objects = [json!({"id": "\u{1b}[2Jx\u{202e}", "status": "active"})];
        let text = list(&COLUMNS, &objects, plain(None));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
    }
}
