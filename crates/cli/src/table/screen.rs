//! Where a command prints, and what it knows about it: how wide it is, and whether it shows colours.

use std::io::{self, IsTerminal, Write};

use super::{Colouring, Layout};
use crate::config;

/// Few enough to tell apart on any background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    Green,
    Yellow,
    Red,
    Grey,
}

/// Standard output, or what a test reads afterwards. Every line is flushed, so that a reader of a pipe sees it at once.
pub struct Screen {
    out: Box<dyn Write + Send>,
    layout: Layout,
}

impl Screen {
    /// Colours on a terminal alone, and not where `NO_COLOR` is set (<https://no-color.org>).
    #[must_use]
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let wants_colour = is_terminal && config::variable("NO_COLOR").is_none();
        let colour = if wants_colour { Colouring::On } else { Colouring::Off };
        let width = if is_terminal { comfy_table::Table::new().width() } else { None };
        Screen { out: Box::new(stdout), layout: Layout { width, colour } }
    }

    /// For tests: whatever takes bytes.
    #[cfg(test)]
    pub fn to(out: Box<dyn Write + Send>, layout: Layout) -> Self {
        Screen { out, layout }
    }

    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// `text` and a line feed.
    ///
    /// # Errors
    /// When whoever reads is gone ([`io::ErrorKind::BrokenPipe`]), or the disk is full.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Bytes exactly as they are, and a line feed unless they end with one.
    ///
    /// # Errors
    /// As [`Screen::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        if !bytes.ends_with(b"\n") {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }

    /// `text` in a colour, where there are colours.
    #[must_use]
    pub fn paint(&self, hue: Option<Hue>, text: &str) -> String {
        let code = match hue {
            Some(Hue::Green) => 32,
            Some(Hue::Yellow) => 33,
            Some(Hue::Red) => 31,
            Some(Hue::Grey) => 90,
            None => return text.to_owned(),
        };
        match self.layout.colour {
            Colouring::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Colouring::Off => text.to_owned(),
        }
    }
}
