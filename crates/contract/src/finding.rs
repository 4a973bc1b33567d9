//! What an examination of an installation found: one line for one thing looked at, and what to do about it.

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It could not be looked at from here. The advice says how it can.
    Unknown,
    /// Works, but will hurt: soon, under load, or in a failure.
    Warning,
    /// Events are refused, late, or at risk.
    Fault,
}

impl Verdict {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Well => "well",
            Verdict::Unknown => "unknown",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a part and a word, `broker.alarms`. Stable, for scripts.
    pub subject: &'static str,
    pub verdict: Verdict,
    /// What was seen, in a sentence.
    pub seen: String,
    /// What to do; absent where all is well.
    pub advice: Option<String>,
}

impl Finding {
    pub fn well(subject: &'static str, seen: impl Into<String>) -> Self {
        Finding { subject, verdict: Verdict::Well, seen: seen.into(), advice: None }
    }

    pub fn unknown(subject: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::with_advice(subject, Verdict::Unknown, seen, advice)
    }

    pub fn warning(subject: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::with_advice(subject, Verdict::Warning, seen, advice)
    }

    pub fn fault(subject: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::with_advice(subject, Verdict::Fault, seen, advice)
    }

    fn with_advice(
        subject: &'static str,
        verdict: Verdict,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Finding { subject, verdict, seen: seen.into(), advice: Some(advice.into()) }
    }
}
