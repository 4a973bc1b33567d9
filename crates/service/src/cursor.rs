//! Where a list goes on: opaque to clients, bound to one tenant and one kind of list.
//!
//! A cursor holds nothing secret and grants nothing, since every query is limited to its tenant anyway. Its tag
//! (a hash over version, kind, tenant and position) makes sure that one that was changed, or belongs elsewhere, is
//! refused rather than misread. It is not a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};
use crate::query::Page;

/// Raised when the meaning of positions changes: cursors of before are then refused.
const VERSION: u8 = 1;
const TAG_BYTES: usize = 8;
/// Far above any position (two ids and a time).
const MAX_TEXT: usize = 512;

/// The list a cursor belongs to: its name (`deliveries`, with its filters where they matter) and its tenant.
#[derive(Clone, Copy, Debug)]
pub struct ListIdentity<'a> {
    pub kind: &'a str,
    pub tenant: &'a str,
}

impl ListIdentity<'_> {
    /// The cursor for what comes after `position`, in whatever bytes the list uses for it.
    #[must_use]
    pub fn cursor(&self, position: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.tag(position));
        bytes.extend_from_slice(position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a cursor of this very list.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn position(&self, cursor: &str) -> Result<Vec<u8>, Problem> {
        if cursor.len() > MAX_TEXT {
            return Err(not_of_this_list());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| not_of_this_list())?;
        let (version, rest) = bytes.split_first().ok_or_else(not_of_this_list)?;
        let (tag, position) = rest.split_at_checked(TAG_BYTES).ok_or_else(not_of_this_list)?;
        if *version != VERSION || tag != self.tag(position) {
            return Err(not_of_this_list());
        }
        Ok(position.to_vec())
    }

    /// Where a page begins, in text: after this position. `None` for the first page.
    ///
    /// # Errors
    /// 400 for a cursor that this list has not given.
    pub fn begins_after(&self, page: &Page) -> Result<Option<String>, Problem> {
        let Some(cursor) = &page.cursor else { return Ok(None) };
        let position = String::from_utf8(self.position(cursor)?);
        position.map(Some).map_err(|_| not_of_this_list())
    }

    /// Cuts up to one item more than the page holds, which tells that there is more, down to the page; with it the
    /// cursor for what follows.
    pub fn cut<I>(
        &self,
        page: &Page,
        mut items: Vec<I>,
        position_of: impl Fn(&I) -> String,
    ) -> (Vec<I>, Option<String>) {
        let has_more = items.len() > page.limit();
        items.truncate(page.limit());
        let last = items.last().filter(|_| has_more);
        let next_cursor = last.map(|item| self.cursor(position_of(item).as_bytes()));
        (items, next_cursor)
    }

    fn tag(&self, position: &[u8]) -> [u8; TAG_BYTES] {
        let mut hash = Sha256::new();
        for part in [&[VERSION][..], self.kind.as_bytes(), self.tenant.as_bytes(), position] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut tag = [0_u8; TAG_BYTES];
        tag.copy_from_slice(&digest[..TAG_BYTES]);
        tag
    }
}

/// The one refusal of a cursor, whatever is wrong with it.
#[must_use]
pub fn not_of_this_list() -> Problem {
    Problem::new(Code::InvalidQuery, "cursor: not one that this list has given")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: ListIdentity<'_> = ListIdentity { kind: "deliveries", tenant: "tnt_a" };

    #[test]
    fn a_position_comes_back_from_its_cursor() {
        for position in [&b""[..], b"2026-11-21", &[0, 255, 128]] {
            assert_eq!(LIST.position(&LIST.cursor(position)).expect("its own cursor"), position);
        }
    }

    #[test]
    fn a_cursor_of_another_tenant_or_list_or_a_changed_one_is_refused() {
        let cursor = LIST.cursor(b"position");
        let foreign = [
            ListIdentity { tenant: "tnt_b", ..LIST }.cursor(b"position"),
            ListIdentity { kind: "events", ..LIST }.cursor(b"position"),
            "'; DROP TABLE attempts--".to_owned(),
            String::new(),
            "AQ".to_owned(),
            "A".repeat(10_000),
        ];
        for text in foreign {
            assert_eq!(LIST.position(&text).expect_err(&text).code(), Code::InvalidQuery);
        }
        for place in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(LIST.position(&changed).is_err(), "{changed}");
        }
    }
}
