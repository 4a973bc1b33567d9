//! Lists: pages followed up to a limit, as one table or one JSON document.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::session::Session;
use crate::table::{Column, list};

/// The most that one page of the API holds.
const PAGE: u32 = 200;

/// How much of a list is shown.
#[derive(clap::Args, Clone, Debug)]
pub struct Limit {
    /// How many to show, newest first; further pages are fetched as needed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) limit: u32,
}

/// One page, its items byte for byte.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<Box<RawValue>>,
    pub(super) next_cursor: Option<String>,
}

impl Page {
    /// # Errors
    /// When the server cannot be reached, refuses, or answers with something else than a page.
    pub(super) async fn fetch(
        session: &Session,
        call: Call,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Self, ClientError> {
        let call = call.query("limit", Some(limit.min(PAGE))).query("cursor", cursor);
        session.call(call).await?.read()
    }

    /// # Errors
    /// Never in practice: what is in a page was read as JSON already.
    pub(super) fn values(&self) -> Result<Vec<Value>, ClientError> {
        self.data.iter().map(|item| value_of(item)).collect()
    }

    /// The document that a single page would have been.
    fn document(&self) -> String {
        let items: Vec<&str> = self.data.iter().map(|item| item.get()).collect();
        let cursor = self.next_cursor.as_ref().map_or(Value::Null, |cursor| Value::String(cursor.clone()));
        format!("{{\"data\":[{}],\"next_cursor\":{cursor}}}", items.join(","))
    }
}

pub(super) fn value_of(item: &RawValue) -> Result<Value, ClientError> {
    let unreadable =
        |error: serde_json::Error| ClientError::NotWell(format!("cannot read an item of a list: {error}"));
    serde_json::from_str(item.get()).map_err(unreadable)
}

/// Shows a list. `call` makes the request of its first page; `nothing` is said where it is empty.
///
/// # Errors
/// As any request.
pub(super) async fn show_list(
    session: &mut Session,
    call: impl Fn() -> Call,
    limit: &Limit,
    columns: &[Column],
    nothing: &str,
) -> Result<(), ClientError> {
    let all = fetch(session, call, limit.limit).await?;
    if session.output() == Output::Json {
        return session.json(all.document().as_bytes());
    }
    if all.data.is_empty() {
        return session.line(nothing);
    }
    let text = list(columns, &all.values()?, session.screen().layout());
    session.line(&text)?;
    if all.next_cursor.is_some() {
        session.line(&format!("… and more: --limit shows more than {}", limit.limit))?;
    }
    Ok(())
}

async fn fetch(session: &Session, call: impl Fn() -> Call, limit: u32) -> Result<Page, ClientError> {
    let mut all = Page::fetch(session, call(), limit, None).await?;
    loop {
        let rest = limit.saturating_sub(u32::try_from(all.data.len()).unwrap_or(u32::MAX));
        if rest == 0 {
            return Ok(all);
        }
        let Some(cursor) = all.next_cursor.take() else { return Ok(all) };
        let next = Page::fetch(session, call(), rest, Some(cursor)).await?;
        if next.data.is_empty() {
            return Ok(all);
        }
        all.data.extend(next.data);
        all.next_cursor = next.next_cursor;
    }
}
