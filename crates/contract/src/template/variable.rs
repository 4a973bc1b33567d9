//! The variables of a template, by name.

/// The longest name of a variable, in bytes.
pub const MAX_VARIABLE: usize = 256;
/// The most steps from `event.data` to a value: each may cost one more look at what it leads through.
pub const MAX_STEPS: usize = 16;

/// Where a variable's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    BrandId,
    BrandName,
    BrandWebsite,
    EventId,
    EventType,
    Summary,
    WorkflowName,
    Timestamp,
    /// A value of the event's data, by the number it is found under.
    EventData(usize),
}

/// A variable as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Fixed(Source),
    /// The steps from the event's data to a value; none for all of it.
    EventData(Vec<String>),
}

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAVariable {
    #[error("is not known")]
    Unknown,
    #[error("has an empty step")]
    EmptyStep,
    #[error("has more than {MAX_STEPS} steps below event.data")]
    TooManySteps,
    #[error("is longer than {MAX_VARIABLE} bytes")]
    TooLong,
}

/// All that may be named, `event.data.*` apart.
const FIXED: [(&str, Source); 8] = [
    ("brand.id", Source::BrandId),
    ("brand.name", Source::BrandName),
    ("brand.website", Source::BrandWebsite),
    ("event.id", Source::EventId),
    ("event.type", Source::EventType),
    ("summary", Source::Summary),
    ("workflow.name", Source::WorkflowName),
    ("timestamp", Source::Timestamp),
];

/// For messages: what may be named.
pub(super) fn known() -> String {
    let names: Vec<&str> = FIXED.iter().map(|(name, _)| *name).collect();
    format!("{}, event.data.*", names.join(", "))
}

impl Named {
    pub(super) fn parse(name: &str) -> Result<Self, NotAVariable> {
        if name.len() > MAX_VARIABLE {
            return Err(NotAVariable::TooLong);
        }
        if let Some((_, source)) = FIXED.iter().find(|(known, _)| *known == name) {
            return Ok(Named::Fixed(*source));
        }
        if name == "event.data" {
            return Ok(Named::EventData(Vec::new()));
        }
        let path = name.strip_prefix("event.data.").ok_or(NotAVariable::Unknown)?;
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        if steps.iter().any(String::is_empty) {
            return Err(NotAVariable::EmptyStep);
        }
        if steps.len() > MAX_STEPS {
            return Err(NotAVariable::TooManySteps);
        }
        Ok(Named::EventData(steps))
    }
}
