//! What stands in the queues and is not ours, or not of our time: rubbish, the first wire version, one that is newer
//! than we are. What can be read is worked on, the rest is set aside with its reason; nothing of it is dropped, and
//! nobody else notices.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use postrider_rabbitmq::QueueName;
use postrider_tests::harness::{ServerOptions, Stranger, eventually, shared_postgres, shared_rabbitmq};
use postrider_tests::load::{Chance, Naming, is_long};
use postrider_tests::stage::SOON;

use super::trial::Trial;

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_of_rubbish_harms_nobody() -> anyhow::Result<()> {
        super::a_producer_of_rubbish_harms_nobody().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_old_wire_version_is_read_and_a_newer_one_is_set_aside() -> anyhow::Result<()> {
        super::an_old_wire_version_is_read_and_a_newer_one_is_set_aside().await
    }
}

/// What a source says of a message that it sets aside.
const SETS_ASIDE: &str = "setting aside a message that cannot be read";
/// What ingest says of a message of a producer that it refuses.
const REFUSES: &str = "refused a producer's message";
/// The queues that only Postrider should write to.
const INNER: [QueueName; 5] =
    [QueueName::First, QueueName::Retry, QueueName::Release, QueueName::Large, QueueName::Journal];

async fn open(test: &str) -> Result<(Stranger, Trial)> {
    let queue = shared_rabbitmq().await?.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let trial = Trial::open(test, ServerOptions::cluster(&queue, &store)).await?;
    Ok((Stranger::connect(&queue).await?, trial))
}

/// Waits until so many lines of the server's log hold this, and answers them.
async fn lines(trial: &Trial, text: &str, count: usize) -> Result<Vec<String>> {
    let what = format!("{count} lines with {text:?}");
    eventually(&what, SOON, async || {
        let log = trial.stage.server.log();
        let found: Vec<String> = log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        Ok((found.len() >= count).then_some(found))
    })
    .await
}

/// Bytes that mean nothing, from none to some thousand.
fn rubbish(chance: &Chance) -> Vec<u8> {
    let length = [0, 1, 7, 600, 5_000][usize::try_from(chance.between(0, 4)).unwrap_or(0)];
    let bytes = (0..length).map(|_| u8::try_from(chance.between(0, 255)).unwrap_or(0));
    // The first byte of what is ours says that a version follows.
    bytes.enumerate().map(|(at, byte)| if at == 0 && byte == 8 { 9 } else { byte }).collect()
}

async fn a_producer_of_rubbish_harms_nobody() -> Result<()> {
    let each = if is_long() { 2_000 } else { 40 };
    let (stranger, mut trial) = open("rubbish").await?;
    let load = trial.load(Naming::Mixed);
    for number in 0..each {
        for queue in INNER {
            stranger.put(queue, &rubbish(&trial.chance)).await?;
        }
        let (key, id) = match trial.chance.between(0, 3) {
            0 => ("nobody".to_owned(), Some(format!("m-{number}"))),
            1 => (trial.stage.tenant.clone(), None),
            _ => (trial.stage.tenant.clone(), Some(format!("m-{number}"))),
        };
        stranger.produce(&key, id.as_deref(), &rubbish(&trial.chance)).await?;
    }
    let aside = lines(&trial, SETS_ASIDE, each * INNER.len()).await?;
    ensure!(aside.len() == each * INNER.len(), "{} messages were set aside", aside.len());
    let refused = lines(&trial, REFUSES, each).await?;
    ensure!(refused.len() == each, "{} messages were refused", refused.len());
    trial.some_time(&load).await?;
    trial.check(load, 0).await?;
    Ok(())
}

/// A sample of the first version, and the same bytes under a version that is not known yet.
fn golden(name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto/golden/v1");
    let old = std::fs::read(folder.join(name)).with_context(|| format!("reading {name}"))?;
    ensure!(old.starts_with(&[8, 1]), "{name} does not begin with its version");
    let mut newer = old.clone();
    newer[1] = 2;
    Ok((old, newer))
}

async fn an_old_wire_version_is_read_and_a_newer_one_is_set_aside() -> Result<()> {
    let (stranger, mut trial) = open("wire versions").await?;
    let load = trial.load(Naming::Mixed);
    let samples = [
        (QueueName::First, "work-deliver.bin"),
        (QueueName::First, "work-fan-out.bin"),
        (QueueName::Release, "work-deliver-again.bin"),
        (QueueName::Journal, "journal-batch.bin"),
    ];
    for (queue, name) in samples {
        let (old, newer) = golden(name)?;
        stranger.put(queue, &old).await?;
        stranger.put(queue, &newer).await?;
    }
    trial.some_time(&load).await?;
    let aside = lines(&trial, SETS_ASIDE, samples.len()).await?;
    let newer = aside.iter().filter(|line| line.contains("format version 2 is not known")).count();
    ensure!((newer, aside.len()) == (samples.len(), samples.len()), "{aside:?}");
    trial.check(load, 0).await?;
    Ok(())
}
