//! What only the binary of the fault tests can be told: to die at a named place, and to run with a wrong clock.
//!
//! Without the cargo feature `failpoints` there is nothing of it.

#[cfg(feature = "failpoints")]
pub use armed::{arm_failpoints, clock};
#[cfg(not(feature = "failpoints"))]
pub use unarmed::{arm_failpoints, clock};

#[cfg(not(feature = "failpoints"))]
mod unarmed {
    use std::sync::Arc;

    use postrider_contract::clock::Clock;
    use postrider_service::system::SystemClock;

    #[expect(clippy::unnecessary_wraps, reason = "the same shape as with failpoints")]
    pub fn arm_failpoints() -> anyhow::Result<()> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same shape as with failpoints")]
    pub fn clock() -> anyhow::Result<Arc<dyn Clock>> {
        Ok(Arc::new(SystemClock))
    }
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::Context;
    use postrider_contract::clock::{Clock, Timestamp};
    use postrider_contract::profile::Span;
    use postrider_service::failpoint::{Failpoints, arm};
    use postrider_service::system::SystemClock;

    use crate::config::variable;

    /// Takes the faults of this run from `POSTRIDER_FAILPOINTS`.
    pub fn arm_failpoints() -> anyhow::Result<()> {
        let Some(text) = variable("POSTRIDER_FAILPOINTS") else { return Ok(()) };
        let failpoints: Failpoints = text.parse().context("POSTRIDER_FAILPOINTS")?;
        arm(failpoints).map_err(|_| anyhow::anyhow!("failpoints are armed already"))
    }

    /// The machine's clock, ahead by `POSTRIDER_CLOCK_AHEAD` (`2h`).
    pub fn clock() -> anyhow::Result<Arc<dyn Clock>> {
        let Some(text) = variable("POSTRIDER_CLOCK_AHEAD") else { return Ok(Arc::new(SystemClock)) };
        let by = text.parse::<Span>().context("POSTRIDER_CLOCK_AHEAD")?.duration();
        tracing::warn!(?by, "this process runs with a clock that is ahead");
        Ok(Arc::new(Ahead { by }))
    }

    #[derive(Debug)]
    struct Ahead {
        by: Duration,
    }

    impl Clock for Ahead {
        fn now(&self) -> Timestamp {
            SystemClock.now().plus(self.by)
        }
    }
}
