//! What the tests of the parts have in common.

pub(crate) mod fixture;
