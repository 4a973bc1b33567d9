//! `If-Match`: change this only if it is still at the revision that the caller has seen.

use axum::extract::FromRequestParts;
use http::header::IF_MATCH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use postrider_contract::revision::Revision;
use postrider_service::problem::{Code, Problem};

use crate::state::ManageState;

/// What the caller's `If-Match` asks for. A value that is no revision of ours never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Absent, or `*`.
    Any,
    /// One of these.
    Revisions(Vec<u64>),
}

impl IfMatch {
    fn read(headers: &HeaderMap) -> Self {
        let mut revisions = Vec::new();
        let mut is_given = false;
        for value in headers.get_all(IF_MATCH) {
            is_given = true;
            for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if tag == "*" {
                    return IfMatch::Any;
                }
                revisions.extend(tag.trim_matches('"').parse::<u64>());
            }
        }
        if is_given { IfMatch::Revisions(revisions) } else { IfMatch::Any }
    }

    /// # Errors
    /// 412 if it is at another revision.
    pub(crate) fn check(&self, revision: Revision) -> Result<(), Problem> {
        match self {
            IfMatch::Any => Ok(()),
            IfMatch::Revisions(revisions) if revisions.contains(&revision.number()) => Ok(()),
            IfMatch::Revisions(_) => Err(Problem::new(
                Code::PreconditionFailed,
                "it was changed since the revision that If-Match names",
            )),
        }
    }
}

impl IfMatch {
    /// The same for what may not be there: then no revision that was named matches.
    ///
    /// # Errors
    /// 412 if it is at another revision, or not there.
    pub(crate) fn check_present(&self, revision: Option<Revision>) -> Result<(), Problem> {
        match (self, revision) {
            (IfMatch::Any, _) => Ok(()),
            (IfMatch::Revisions(_), Some(revision)) => self.check(revision),
            (IfMatch::Revisions(_), None) => Err(Problem::new(
                Code::PreconditionFailed,
                "it is not there, so it is not at the revision that If-Match names",
            )),
        }
    }
}

impl FromRequestParts<ManageState> for IfMatch {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ManageState) -> Result<Self, Self::Rejection> {
        Ok(IfMatch::read(&parts.headers))
    }
}

/// The tag of a revision, as `ETag` carries it.
pub(crate) fn entity_tag(revision: Revision) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", revision.number())).expect("a quoted number is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_revision_that_was_named_matches() {
        let revision = Revision::from_number(7);
        for (value, is_met) in [
            ("\"7\"", true),
            ("7", true),
            ("*", true),
            ("\"6\", \"7\"", true),
            ("\"stale\"", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(value));
            assert_eq!(IfMatch::read(&headers).check(revision).is_ok(), is_met, "{value}");
        }
        assert_eq!(IfMatch::read(&HeaderMap::new()), IfMatch::Any);
    }
}
