//! What the log tells of requests that were answered with a 5xx: the first ten of each code in every second, since what
//! every request meets while something is away must not be a flood of the log too.

use std::collections::HashMap;
use std::time::Duration;

use super::RequestId;
use crate::problem::{Code, Problem};
use crate::sparing::Sparing;

/// Of each code; enough for whoever looks for one request among few.
const LINES_A_SECOND: u32 = 10;

#[derive(Debug)]
pub(super) struct ServerErrors(HashMap<Code, Sparing>);

impl ServerErrors {
    pub(super) fn new() -> Self {
        let sparing = || Sparing::new(LINES_A_SECOND, Duration::from_secs(1));
        ServerErrors(Code::ALL.into_iter().map(|code| (code, sparing())).collect())
    }

    /// Those that are not told as warnings are there for whoever has the log tell everything.
    pub(super) fn tell(&self, problem: &Problem, request_id: &RequestId) {
        let request_id = request_id.as_str();
        match self.told(problem.code()) {
            Some(untold) => tracing::warn!(request_id, untold, "answered {problem}"),
            None => tracing::debug!(request_id, "answered {problem}"),
        }
    }

    fn told(&self, code: Code) -> Option<u64> {
        self.0.get(&code).and_then(Sparing::tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_one_kind_hides_no_other() {
        let errors = ServerErrors::new();
        let flood: Vec<_> = (0..1_000).map(|_| errors.told(Code::Unavailable)).collect();
        let told = usize::try_from(LINES_A_SECOND).expect("a small number");
        assert_eq!(flood.iter().flatten().count(), told);
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Unavailable) {
            assert_eq!(errors.told(code), Some(0), "{code}");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(errors.told(Code::Unavailable), Some(1_000 - u64::from(LINES_A_SECOND)));
    }
}
