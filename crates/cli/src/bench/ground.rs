//! What a scenario measures on: an installation, a receiver, and the processes to account for.

use super::cpu::{CpuSample, Watched};
use super::installation::Installation;
use super::memory::MemoryWatch;
use super::receiver::BenchReceiver;
use super::report::Cost;

pub struct Ground {
    pub installation: Installation,
    pub receiver: BenchReceiver,
    /// Processes of somebody else to account for.
    pub others: Vec<Watched>,
}

impl Ground {
    /// Everything to account for, at this moment.
    pub fn watched(&self) -> Vec<Watched> {
        let mut watched = self.others.clone();
        watched.extend(self.installation.processes());
        watched.push(Watched::new("receiver", self.receiver.pid()));
        watched.push(Watched::new("generator", std::process::id()));
        watched
    }

    /// What the watched processes use while `work` is done, and what it answers. What the log is behind by then, it
    /// writes afterwards, and that belongs to the cost.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn account_for<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Cost)> {
        let watched = self.watched();
        let memory = MemoryWatch::start(watched.clone());
        let before = CpuSample::take(&watched);
        let done = work.await?;
        self.installation.wait_for_log().await?;
        let cpu = CpuSample::take(&watched).since(&before);
        Ok((done, Cost { cpu, memory: memory.peaks() }))
    }
}
