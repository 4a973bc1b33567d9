//! Pages of lists: `{data, next_cursor}`, by keyset over ids.

use std::time::Duration;

use postrider_service::cursor::ListIdentity;
use postrider_service::problem::{Code, Problem};
use postrider_service::query::Page;
use serde::Serialize;
use utoipa::ToSchema;

/// After a 503: the time a reconnect takes.
pub(crate) const RETRY_SOON: Duration = Duration::from_secs(2);

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListAnswer<T> {
    pub(crate) data: Vec<T>,
    /// Hand it back as `cursor` for what follows; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Where the page begins: after this id. `None` for the first page.
///
/// # Errors
/// 400 for a cursor that this list has not given.
pub(crate) fn position(identity: ListIdentity<'_>, page: &Page) -> Result<Option<String>, Problem> {
    let Some(cursor) = &page.cursor else { return Ok(None) };
    let position = identity.position(cursor)?;
    let refused = |_| Problem::new(Code::InvalidQuery, "cursor: not one that this list has given");
    String::from_utf8(position).map(Some).map_err(refused)
}

/// Makes the answer of up to one item more than the page holds; that one tells that there is more.
pub(crate) fn answer<I, T>(
    identity: ListIdentity<'_>,
    page: &Page,
    mut items: Vec<I>,
    id_of: impl Fn(&I) -> String,
    view: impl FnMut(I) -> T,
) -> ListAnswer<T> {
    let has_more = items.len() > page.limit();
    items.truncate(page.limit());
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|item| identity.cursor(id_of(item).as_bytes()));
    ListAnswer { data: items.into_iter().map(view).collect(), next_cursor }
}
