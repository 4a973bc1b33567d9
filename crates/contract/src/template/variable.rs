//! The variables of a template, by name.

use crate::data_path::{DataPath, InvalidDataPath};

/// The longest name of a variable, in bytes.
pub const MAX_VARIABLE: usize = 256;

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    BrandId,
    BrandName,
    BrandWebsite,
    EventId,
    EventType,
    Summary,
    WorkflowName,
    Timestamp,
    /// All of the event's data.
    EventData,
    /// A value of it.
    InEventData(DataPath),
}

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAVariable {
    #[error("is not known")]
    Unknown,
    #[error("is longer than {MAX_VARIABLE} bytes")]
    TooLong,
    /// In what comes after `event.data.`.
    #[error("leads nowhere: what follows event.data. {0}")]
    Path(InvalidDataPath),
}

/// All that may be named, `event.data.*` apart.
const FIXED: [(&str, Source); 9] = [
    ("brand.id", Source::BrandId),
    ("brand.name", Source::BrandName),
    ("brand.website", Source::BrandWebsite),
    ("event.id", Source::EventId),
    ("event.type", Source::EventType),
    ("summary", Source::Summary),
    ("workflow.name", Source::WorkflowName),
    ("timestamp", Source::Timestamp),
    ("event.data", Source::EventData),
];

/// For messages: what may be named.
pub(super) fn known() -> String {
    let names: Vec<&str> = FIXED.iter().map(|(name, _)| *name).collect();
    format!("{}, event.data.*", names.join(", "))
}

impl Source {
    pub(super) fn named(name: &str) -> Result<Self, NotAVariable> {
        if name.len() > MAX_VARIABLE {
            return Err(NotAVariable::TooLong);
        }
        if let Some((_, source)) = FIXED.iter().find(|(known, _)| *known == name) {
            return Ok(source.clone());
        }
        let path = name.strip_prefix("event.data.").ok_or(NotAVariable::Unknown)?;
        path.parse().map(Source::InEventData).map_err(NotAVariable::Path)
    }
}
