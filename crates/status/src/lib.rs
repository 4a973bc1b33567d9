//! Status: the only writer of the log, and what follows from knowing it: releasing from the waiting room, healing
//! of overdue deliveries, retention, and the answers to "where is my event?".

mod disabling;
mod duties;
mod gathering;
mod healing;
mod http;
mod releasing;
mod rerendering;
mod retention;
mod strays;
mod tries;
mod window;
mod writing;

pub use disabling::Disabling;
pub use duties::{Duties, DutyParts};
pub use gathering::Gathering;
pub use healing::HealingBounds;
pub use http::{StatusState, description, routes};
pub use rerendering::Rerendering;
pub use retention::Retention;
pub use strays::{StrayParts, run_strays};
pub use tries::TryBoard;
pub use writing::run_writer;

#[cfg(test)]
mod tests;
