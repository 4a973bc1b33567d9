//! Takes settings out of their sources, one by one, and keeps every problem.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use toml::Value;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// `server.listen`, or the name of a variable.
    pub path: String,
    pub detail: String,
}

/// All that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<SettingProblem>);

impl Problems {
    /// What stands between the sentence and its problems: one goes on in the same line, more have a line each.
    pub fn lead(&self) -> &'static str {
        if self.0.len() == 1 { ": " } else { "\n" }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", problem.path, problem.detail)?;
        }
        Ok(())
    }
}

/// A setting as it is declared, for the reference and `config print`.
#[derive(Clone, Debug)]
pub struct Declared {
    pub section: &'static str,
    pub name: &'static str,
    pub meaning: Vec<&'static str>,
    /// As TOML; `None` where it is unset by default.
    pub default: Option<&'static str>,
}

impl Declared {
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    pub fn variable(&self) -> String {
        // The names that API.md fixes stand for themselves.
        match (self.section, self.name) {
            ("security", "admin_key") => "POSTRIDER_ADMIN_KEY".to_owned(),
            ("security", "master_key") => "POSTRIDER_MASTER_KEY".to_owned(),
            (section, name) => format!("POSTRIDER_{section}_{name}").to_uppercase(),
        }
    }
}

pub(super) struct Reader {
    file: toml::Table,
    variables: BTreeMap<String, String>,
    flags: BTreeMap<&'static str, String>,
    pub(super) problems: Problems,
    /// Where each value came from, for `config print`.
    pub(super) effective: Vec<(Declared, Option<Value>)>,
}

impl Reader {
    pub(super) fn new(
        file: toml::Table,
        variables: BTreeMap<String, String>,
        flags: BTreeMap<&'static str, String>,
    ) -> Self {
        Reader { file, variables, flags, problems: Problems::default(), effective: Vec::new() }
    }

    pub(super) fn refuse(&mut self, path: impl Into<String>, detail: impl fmt::Display) {
        self.problems.0.push(SettingProblem { path: path.into(), detail: detail.to_string() });
    }

    /// The setting's value from the strongest source that has one. On a problem, `None`, and the problem is kept.
    pub(super) fn take<T: DeserializeOwned>(&mut self, declared: Declared) -> Option<T> {
        let path = declared.path();
        let flag = self.flags.iter().find(|(name, _)| **name == path).map(|(_, text)| text.clone());
        let variable = self.variables.remove(&declared.variable());
        let filed = self.take_filed(&declared);
        let default = declared.default.map(|text| {
            let table: toml::Table =
                format!("v = {text}").parse().expect("declared defaults are TOML, by a test");
            table["v"].clone()
        });
        let (found, origin) = match (flag, variable, filed) {
            (Some(text), ..) => (Some(Found::Text(text)), "on the command line".to_owned()),
            (None, Some(text), _) => (Some(Found::Text(text)), format!("in {}", declared.variable())),
            (None, None, Some(value)) => (Some(Found::Value(value)), "in the file".to_owned()),
            (None, None, None) => (default.map(Found::Value), "by default".to_owned()),
        };
        match found.map(Found::parse::<T>) {
            None => {
                self.effective.push((declared, None));
                None
            }
            Some(Ok((value, shown))) => {
                self.effective.push((declared, Some(shown)));
                Some(value)
            }
            Some(Err(detail)) => {
                self.refuse(path, format!("{detail} ({origin})"));
                None
            }
        }
    }

    fn take_filed(&mut self, declared: &Declared) -> Option<Value> {
        self.file.get_mut(declared.section)?.as_table_mut()?.remove(declared.name)
    }

    /// What is left over is not a setting.
    pub(super) fn finish(&mut self) {
        let file = std::mem::take(&mut self.file);
        for (section, value) in file {
            let Value::Table(rest) = value else {
                self.refuse(section, "is not a section");
                continue;
            };
            for name in rest.keys() {
                self.refuse(format!("{section}.{name}"), "is not a setting");
            }
        }
        for name in std::mem::take(&mut self.variables).into_keys() {
            self.refuse(name, "is not a setting");
        }
    }
}

enum Found {
    Value(Value),
    Text(String),
}

impl Found {
    /// Text is tried as it stands, then as TOML, then as a list with commas.
    fn parse<T: DeserializeOwned>(self) -> Result<(T, Value), String> {
        let typed = |value: Value| {
            let shown = value.clone();
            value.try_into::<T>().map(|parsed| (parsed, shown)).map_err(|error| error.message().to_owned())
        };
        let text = match self {
            Found::Value(value) => return typed(value),
            Found::Text(text) => text,
        };
        let as_it_stands = typed(Value::String(text.clone()));
        if as_it_stands.is_ok() {
            return as_it_stands;
        }
        if let Ok(table) = format!("v = {text}").parse::<toml::Table>()
            && let Ok(found) = typed(table["v"].clone())
        {
            return Ok(found);
        }
        let items = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
        typed(Value::Array(items)).or(as_it_stands)
    }
}
