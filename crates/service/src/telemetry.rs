//! Logs: one readable line to a person at a terminal, one JSON object to a machine; always to standard error.

use std::fmt;
use std::io::{self, IsTerminal};

use postrider_contract::clock::Clock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;

use crate::system::SystemClock;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `09:30:00.123  INFO accepting requests listen=127.0.0.1:8080`
    Human,
    /// One object to a line, fields at its top level.
    Json,
}

impl LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[must_use]
    pub fn detect() -> Self {
        if io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Json }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("not a log filter: {filter:?} (for instance: info, or info,postrider_ingest=debug)")]
    InvalidFilter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("logging was already set up in this process")]
    AlreadySet,
}

/// Sets up logging for the whole process. `filter` is a level, or levels by module.
///
/// # Errors
/// When the filter cannot be read, or logging is already set up.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let levels = parse_filter(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(levels).with_writer(io::stderr);
    let set = match format {
        LogFormat::Human => {
            let lines = builder.compact().with_target(false).with_timer(TimeOfDay);
            if io::stderr().is_terminal() {
                // Colours, unless the environment says NO_COLOR, which the library honours by itself.
                lines.finish().try_init()
            } else {
                lines.with_ansi(false).finish().try_init()
            }
        }
        LogFormat::Json => {
            let objects = builder.json().flatten_event(true).with_span_list(false).with_timer(FullTime);
            objects.with_ansi(false).finish().try_init()
        }
    };
    set.map_err(|_| TelemetryError::AlreadySet)
}

/// What the broker's library says is said by us where it is handled, once. Whoever wants it too names it.
const SAID_ELSEWHERE: &str = "lapin=off";

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(format!("{SAID_ELSEWHERE},{filter}"))
        .map_err(|source| TelemetryError::InvalidFilter { filter: filter.to_owned(), source })
}

struct FullTime;

impl FormatTime for FullTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", SystemClock.now())
    }
}

/// At a terminal the date is known.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = SystemClock.now().to_string();
        let time = now.split_once('T').map_or(now.as_str(), |(_, time)| time);
        writer.write_str(time.trim_end_matches('Z'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_told_back() {
        assert!(parse_filter("info,postrider_ingest=debug").is_ok());
        let named = parse_filter("info,lapin=debug").expect("a filter").to_string();
        assert!(named.contains("lapin=debug") && !named.contains("off"), "{named}");
        let error = parse_filter("info,x=loudly").expect_err("no such level");
        assert!(error.to_string().contains("x=loudly"), "{error}");
    }
}
