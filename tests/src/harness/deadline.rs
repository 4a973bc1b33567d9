//! Waiting with a deadline. The one place where a test may look again after a moment: whatever announces
//! itself (a request at the receiver, the end of a process's output) is waited for by signal instead.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long to leave between two looks. Short, because it bounds how much a wait adds to a test; not shorter,
/// because the machine is busy with what is being waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// What changes for so many times as long as it may stand still comes to no end.
const PACES: u32 = 10;

/// Looks again and again until `look` answers `Some`, which is returned.
///
/// `Ok(None)` means "not yet", `Err` ends the wait at once. After `within` it fails, naming `what`; a look that
/// is still running then is dropped.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let search = async {
        let mut moments = tokio::time::interval(BETWEEN_LOOKS);
        moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            moments.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(within, search).await {
        Ok(result) => result,
        Err(_) => Err(anyhow!("waited {within:?} in vain for {what}")),
    }
}

/// As [`eventually`], for what takes the longer the busier the machine is: it fails after `within` without any change of
/// what the looks find that do not end it, and after ten times that in any case.
pub async fn eventually_at_its_pace<T, Seen: PartialEq>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<ControlFlow<T, Seen>>,
) -> Result<T> {
    let mut moments = tokio::time::interval(BETWEEN_LOOKS);
    moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut last, mut ends_at) = (None, Instant::now() + within);
    let ends_for_good = Instant::now() + within * PACES;
    loop {
        moments.tick().await;
        match tokio::time::timeout_at(ends_at.into(), look()).await.ok().transpose()? {
            Some(ControlFlow::Break(found)) => return Ok(found),
            Some(ControlFlow::Continue(seen)) if last.as_ref() != Some(&seen) => {
                (last, ends_at) = (Some(seen), (Instant::now() + within).min(ends_for_good));
            }
            Some(ControlFlow::Continue(_)) | None => {}
        }
        if Instant::now() >= ends_at {
            let why = if ends_at < ends_for_good { "nothing changed for" } else { "it took many times" };
            return Err(anyhow!("waited in vain for {what}: {why} {within:?}"));
        }
    }
}

/// A fault's own duration, where the fault is that something is away for so long. Nothing else is to be waited for by it.
pub async fn fault_lasts(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// As [`eventually`], for places that cannot be async, such as `Drop`. Answers whether it came true in time.
pub fn eventually_blocking(within: Duration, mut look: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if look() {
            return true;
        }
        if start.elapsed() >= within {
            return false;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_true_is_returned() {
        let mut looks = 0;
        let found = eventually("the third look", Duration::from_secs(30), async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }

    #[tokio::test]
    async fn what_never_comes_true_fails_by_name() {
        let error = eventually("rain", Duration::from_millis(30), async || Ok(None::<()>)).await.unwrap_err();
        assert!(error.to_string().contains("rain"), "{error}");
    }

    #[tokio::test]
    async fn what_moves_is_waited_for_beyond_the_limit_and_what_stands_still_is_not() {
        let within = Duration::from_millis(50);
        let started = Instant::now();
        let mut looks = 0;
        let found = eventually_at_its_pace("what is slow", within, async || {
            looks += 1;
            Ok(if started.elapsed() > 4 * within {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(looks)
            })
        });
        found.await.unwrap();
        let stands_still =
            eventually_at_its_pace("rain", within, async || Ok(ControlFlow::<(), _>::Continue(7)));
        let error = stands_still.await.unwrap_err();
        assert!(error.to_string().contains("rain"), "{error}");
    }

    #[tokio::test]
    async fn an_error_ends_the_wait_at_once() {
        let error =
            eventually("rain", Duration::from_secs(30), async || Err::<Option<()>, _>(anyhow!("drought")))
                .await
                .unwrap_err();
        assert_eq!(error.to_string(), "drought");
    }
}
