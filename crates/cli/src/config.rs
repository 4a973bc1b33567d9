//! Configuration: flags > environment `POSTRIDER_*` > `postrider.toml` > defaults.
//!
//! The only place that reads files and variables for settings. Every part gets its own section by value. All that
//! is wrong is said at once, each with its path and where it came from; what is not a setting is an error.

mod kind;
mod print;
mod reader;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use print::{print_defaults, print_effective, reference_page};
pub use settings::{Egress, LogFormatSetting, Purpose, Settings, SettingsError};

/// Read when `--config` names no other file; it need not exist.
const DEFAULT_FILE: &str = "postrider.toml";
const PREFIX: &str = "POSTRIDER_";
/// Variables of the client commands and of the file itself: not settings of a server.
const NOT_SETTINGS: [&str; 6] = [
    "POSTRIDER_URL",
    "POSTRIDER_KEY",
    "POSTRIDER_TENANT",
    "POSTRIDER_CONFIG",
    "POSTRIDER_FAILPOINTS",
    "POSTRIDER_CLOCK_AHEAD",
];

/// Where settings come from besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist; if absent, `postrider.toml` is read if it is there.
    pub file: Option<PathBuf>,
    /// By path (`server.listen`), as given on the command line.
    pub flags: BTreeMap<&'static str, String>,
}

/// # Errors
/// Everything that is wrong with the file, the variables and the flags, and what `purpose` needs and is not there.
pub fn load(sources: &Sources, purpose: Purpose) -> Result<Settings, SettingsError> {
    let file = read_file(sources.file.as_deref())?;
    Settings::read(file, environment(), sources.flags.clone(), purpose)
}

/// What a process gets that is started with the environment's variables and nothing else.
///
/// # Errors
/// Everything that is wrong with the variables.
pub fn of_environment() -> Result<Settings, SettingsError> {
    Settings::read(toml::Table::new(), environment(), BTreeMap::new(), Purpose::Migrate)
}

/// The variables that begin with `POSTRIDER_`.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str()))
        .collect()
}

/// One variable, for the commands that are configured by it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn read_file(named: Option<&Path>) -> Result<toml::Table, SettingsError> {
    let from_variable = variable("POSTRIDER_CONFIG").map(PathBuf::from);
    let (path, is_required) = match named.map(Path::to_path_buf).or(from_variable) {
        Some(path) => (path, true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_required => {
            return Ok(toml::Table::new());
        }
        Err(source) => return Err(SettingsError::File { path, source }),
    };
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let detail = error.message().lines().collect::<Vec<_>>().join(", ");
        SettingsError::Syntax { path, line: before.matches('\n').count() + 1, detail }
    })
}
