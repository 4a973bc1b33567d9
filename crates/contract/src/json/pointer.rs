//! JSON pointers (RFC 6901), which say where something stands in a document.

use serde_path_to_error::{Path, Segment};

/// The place that a reader had come to. A member that its form does not have may be named anything.
#[must_use]
pub fn pointer_of(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer = match segment {
            Segment::Seq { index } => format!("{pointer}/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer_below(&pointer, key),
            // The place is not known past here; what is known stands.
            Segment::Unknown => break,
        };
    }
    pointer
}

/// The place of a member of what stands at `pointer`.
#[must_use]
pub fn pointer_below(pointer: &str, member: &str) -> String {
    format!("{pointer}/{}", pointer_step(member))
}

/// A member's name as one step of a pointer: `~` and `/` in it are escaped.
#[must_use]
pub fn pointer_step(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_step_whatever_it_holds() {
        for (name, pointer) in [("a", "/data/a"), ("", "/data/"), ("a/b", "/data/a~1b"), ("~1", "/data/~01")]
        {
            assert_eq!(pointer_below("/data", name), pointer);
        }
    }
}
