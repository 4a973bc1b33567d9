//! The query of a request as a type: what the type does not know is refused, not ignored.

use std::num::NonZeroU16;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::value::Error as ProbeError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::problem::{Code, Problem};

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;

/// The parameters of a route, as a struct whose fields are the parameters. Unknown and doubled ones are refused.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

/// The parameters of a list: its page, and its filters as a struct.
#[derive(Clone, Debug)]
pub struct ListQuery<T> {
    pub page: Page,
    pub filters: T,
}

/// For a list without filters.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
pub struct NoFilters {}

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    limit: NonZeroU16,
    /// As the client sent it; [`crate::cursor::ListIdentity::position`] opens it.
    pub cursor: Option<String>,
}

impl Page {
    /// 1 to 200; 50 where nothing was said.
    #[must_use]
    pub fn limit(&self) -> usize {
        usize::from(self.limit.get())
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Query)
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ListQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_list(parts.uri.query().unwrap_or_default())
    }
}

fn parse_list<T: DeserializeOwned>(query: &str) -> Result<ListQuery<T>, Problem> {
    let (mut of_page, mut of_filters) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if name == "limit" || name == "cursor" { of_page.push(pair) } else { of_filters.push(pair) }
    }
    let asked: PageParameters = parse(&of_page.join("&"))?;
    let limit = asked.limit.map_or(Ok(DEFAULT_LIMIT), |text| text.parse::<u16>());
    let limit =
        limit.ok().and_then(NonZeroU16::new).filter(|limit| limit.get() <= MAX_LIMIT).ok_or_else(|| {
            Problem::new(Code::InvalidQuery, format!("limit: must be a whole number from 1 to {MAX_LIMIT}"))
        })?;
    Ok(ListQuery { page: Page { limit, cursor: asked.cursor }, filters: parse(&of_filters.join("&"))? })
}

#[derive(serde::Deserialize)]
struct PageParameters {
    /// Read by ourselves, so that every wrong one is refused in the same words.
    limit: Option<String>,
    cursor: Option<String>,
}

/// Parses a query as `T`, a plain struct.
///
/// # Errors
/// 400 with the parameter's name.
pub fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let refused = |detail: String| Problem::new(Code::InvalidQuery, detail);
    let known = known_parameters::<T>();
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|error| refused(format!("not a query: {error}")))?;
    if let Some((unknown, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        let unknown: String = unknown.chars().take(64).collect();
        return Err(refused(match known {
            [] => format!("{unknown:?}: this route takes no such parameter"),
            known => format!("{unknown:?}: no such parameter; there are: {}", known.join(", ")),
        }));
    }
    let deserializer = serde_urlencoded::Deserializer::new(form_pairs(query));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        refused(if path == "." { inner.to_string() } else { format!("{path}: {inner}") })
    })
}

fn form_pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// The field names of a struct, which a derived `Deserialize` tells to whoever it asks for a struct.
fn known_parameters<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe always answers with an error: what counts is what it was asked.
    drop(T::deserialize(FieldProbe { names: &mut names }));
    names
}

struct FieldProbe<'a> {
    names: &'a mut &'static [&'static str],
}

impl<'de> Deserializer<'de> for FieldProbe<'_> {
    type Error = ProbeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeError> {
        Err(ProbeError::custom("a query is parsed into a plain struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        *self.names = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use postrider_contract::clock::Timestamp;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Filters {
        since: Option<Timestamp>,
        event_type: Option<String>,
    }

    fn list(query: &str) -> Result<ListQuery<Filters>, Problem> {
        parse_list(query)
    }

    #[test]
    fn a_page_has_a_default_and_bounds() {
        let found = list("").expect("an empty query");
        assert_eq!((found.page.limit(), found.page.cursor), (50, None));
        assert_eq!(list("limit=200&cursor=abc").expect("a page").page.limit(), 200);
        for query in [
            "limit=0",
            "limit=-1",
            "limit=1.5",
            "limit=201",
            "limit=99999999999",
            "limit=",
            "limit=1&limit=2",
        ] {
            let problem = list(query).expect_err(query);
            assert_eq!(problem.code(), Code::InvalidQuery, "{query}");
            assert!(problem.detail().contains("limit"), "{query}: {}", problem.detail());
        }
        let problem = list("limit=99999999999").expect_err("too large");
        assert_eq!(problem.detail(), "limit: must be a whole number from 1 to 200");
    }

    #[test]
    fn an_unknown_parameter_is_refused_by_name() {
        for query in ["order=password", "since_=1", "LIMIT=1", "limit%20=1", "=", "x"] {
            assert_eq!(list(query).expect_err(query).code(), Code::InvalidQuery, "{query}");
        }
        assert!(list("order=password").expect_err("unknown").detail().contains("\"order\""));
        assert!(parse_list::<NoFilters>("limit=5").is_ok());
        assert!(parse_list::<NoFilters>("status=failed").is_err());
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_parameter_that_holds_it() {
        let problem = list("since=not-a-date").expect_err("not a date");
        assert_eq!(problem.code(), Code::InvalidQuery);
        assert!(problem.detail().starts_with("since: "), "{}", problem.detail());
        let found = list("since=2026-11-21T00%3A00%3A00Z&event_type=cap.reached").expect("filters").filters;
        assert_eq!(found.event_type.as_deref(), Some("cap.reached"));
        assert!(found.since.is_some());
    }
}
