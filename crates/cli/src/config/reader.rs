//! Takes settings out of their sources, one by one, and keeps every problem.

use std::collections::BTreeMap;
use std::fmt;

use toml::Value;

use super::kind::{Form, Kind};

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
    pub(super) fn take<T: Kind>(&mut self, declared: Declared) -> Option<T> {
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
    /// The value, and how it is shown; or what is wrong with it.
    fn parse<T: Kind>(self) -> Result<(T, Value), String> {
        let value = match self {
            Found::Value(value) => value,
            Found::Text(text) => written(&text, T::FORM),
        };
        let parsed = value.clone().try_into::<T>();
        match parsed {
            Ok(parsed) => Ok((parsed, value)),
            Err(error) => Err(T::refusal(&value, error.message())),
        }
    }
}

/// Text of a flag or a variable, as the value that it would be in the file.
fn written(text: &str, form: Form) -> Value {
    let as_in_the_file = |text: &str| {
        let table = format!("v = {text}").parse::<toml::Table>().ok()?;
        if table.len() == 1 { table.get("v").cloned() } else { None }
    };
    let plain = || Value::String(text.to_owned());
    match form {
        Form::Text => plain(),
        Form::Toml => as_in_the_file(text).unwrap_or_else(plain),
        Form::List => as_in_the_file(text).filter(Value::is_array).unwrap_or_else(|| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            let item = |item: &str| {
                let number = item.parse().map(Value::Integer);
                number.unwrap_or_else(|_| Value::String(item.to_owned()))
            };
            Value::Array(items.map(item).collect())
        }),
    }
}
