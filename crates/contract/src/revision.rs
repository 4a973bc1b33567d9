//! The revision of configuration: one number that grows with every change of any object of the installation.

use serde::{Deserialize, Serialize};

/// Zero is "before the first change". An object's revision is that of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    pub const ZERO: Revision = Revision(0);

    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Revision(number)
    }

    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}
