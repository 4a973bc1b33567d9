//! Pages of lists, as answered: `{data, next_cursor}`.

use postrider_service::cursor::ListIdentity;
use postrider_service::query::Page;
use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListAnswer<T> {
    pub(crate) data: Vec<T>,
    /// Hand it back as `cursor` for what follows; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Makes the answer of up to one item more than the page holds; that one tells that there is more.
pub(crate) fn answer<I, T>(
    identity: ListIdentity<'_>,
    page: &Page,
    items: Vec<I>,
    id_of: impl Fn(&I) -> String,
    view: impl FnMut(I) -> T,
) -> ListAnswer<T> {
    let (items, next_cursor) = identity.cut(page, items, id_of);
    ListAnswer { data: items.into_iter().map(view).collect(), next_cursor }
}
