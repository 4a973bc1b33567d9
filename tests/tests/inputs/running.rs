//! What fails while it runs is answered with 503 and comes back by itself, without a restart.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::account::Account;
use postrider_tests::harness::process::Launch;
use postrider_tests::harness::{
    Api, RabbitMq, Server, ServerOptions, TempFolder, eventually, shared_postgres,
};
use postrider_tests::stage::{SOON, Stage, make_tenant, only_delivery, settled, text};
use serde_json::json;

/// A 503 that says when to come again.
fn is_come_again(answer: &postrider_tests::harness::Answer) -> Result<()> {
    ensure!(answer.status == 503, "wanted 503, got {answer}");
    let seconds = answer.header("retry-after").with_context(|| format!("no Retry-After: {answer}"))?;
    ensure!(
        seconds.parse::<u32>().is_ok_and(|seconds| (1..=3600).contains(&seconds)),
        "Retry-After {seconds}"
    );
    let code = answer.json()?["code"].clone();
    ensure!(code == "unavailable" || code == "in_doubt", "{answer}");
    Ok(())
}

async fn publish(api: &Api, data: &str) -> Result<postrider_tests::harness::Answer> {
    let body = format!(r#"{{"type":"a.b","data":{{"filler":"{data}"}}}}"#);
    api.post_with("/v1/events", &[], body).await
}

/// Publishes until it is accepted again; answers the delivery's id.
async fn accepted_again(api: &Api) -> Result<String> {
    eventually("events to be accepted again", SOON * 2, async || {
        let answer = publish(api, "again").await?;
        if answer.status == 202 {
            return Ok(Some(only_delivery(&answer.json()?)?));
        }
        is_come_again(&answer).map(|()| None)
    })
    .await
}

/// The disk is a file system of a few megabytes, which only root can make; anyone else sets a limit to the size
/// of files, which the engine meets in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_means_503_until_there_is_room() -> Result<()> {
    let folder = TempFolder::new("small")?;
    let Some(disk) = SmallDisk::mount(folder.path()).await? else { return Ok(()) };
    let server = Server::start(ServerOptions::embedded().folder(disk.path())).await?;
    let (_, key) = make_tenant(&server, "standard").await?;
    let api = server.api(&key);
    let receiver = postrider_tests::harness::Receiver::start().await?;
    let webhook = json!({"url": receiver.url("/hook"), "events": ["a.b"]});
    api.post("/v1/webhooks", &webhook).await?.require(201)?;
    let mut accepted = vec![text(&publish(&api, "first").await?.require(202)?.json()?, "id")?];

    let filler = disk.path().join("filler");
    fill(&filler)?;
    let big = "x".repeat(200_000);
    let mut refused = 0;
    for _ in 0..60 {
        let answer = publish(&api, &big).await?;
        if answer.status == 202 {
            accepted.push(text(&answer.json()?, "id")?);
        } else {
            is_come_again(&answer)?;
            refused += 1;
            if refused == 3 {
                break;
            }
        }
    }
    ensure!(refused == 3, "a full disk was not noticed");
    std::fs::remove_file(&filler)?;
    let id = accepted_again(&api).await?;
    eventually("the event to be delivered", SOON, async || {
        let answer = api.get(&format!("/v1/deliveries/{id}")).await?;
        Ok((answer.status == 200 && answer.json()?["status"] == "delivered").then_some(()))
    })
    .await?;
    settled(&api, SOON * 2).await?;
    for id in &accepted {
        let event = api.get(&format!("/v1/events/{id}")).await?.require(200)?.json()?;
        ensure!(event["deliveries"][0]["status"] == "delivered", "accepted and lost: {event}");
    }
    Ok(())
}

/// Takes all that is left.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let block = vec![0_u8; 64 * 1024];
    while file.write(&block).is_ok_and(|count| count == block.len()) {}
    Ok(())
}

/// A file system in memory that is unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    const SIZE: &str = "size=24m";

    /// `None` where this user, or this machine, does not let one be made.
    async fn mount(folder: &Path) -> Result<Option<Self>> {
        if !Account::own()?.is_root() {
            return Ok(None);
        }
        let path = folder.join("disk");
        std::fs::create_dir(&path)?;
        let logs = TempFolder::new("mount")?;
        let mount = Launch::new("mount", "mount", logs.path())
            .args(["-t", "tmpfs", "-o", Self::SIZE, "tmpfs"])
            .arg(&path);
        Ok(mount.run(SOON).await.ok().map(|()| SmallDisk(path)))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server in it may end a moment later.
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// The same without root: no file may grow any further.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_to_the_size_of_files_means_503_and_loses_nothing() -> Result<()> {
    let folder = TempFolder::new("limited")?;
    let options = ServerOptions::embedded().binary(&deaf_to_the_limit(folder.path())?);
    let stage = Stage::open_with(options, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let first = stage.publish("a.b", json!({})).await?;
    stage.wait_for_status(&only_delivery(&first)?, "delivered").await?;
    let pid = i32::try_from(stage.server.pid().context("not running")?)?;
    let soft = |bytes: u64| limit_files(pid, bytes);
    soft(4096)?;
    let refused = eventually("a publish to be refused", SOON, async || {
        let answer = publish(&stage.api, &"x".repeat(100_000)).await?;
        Ok((answer.status != 202).then_some(answer))
    })
    .await?;
    is_come_again(&refused)?;
    soft(u64::MAX)?;
    let id = accepted_again(&stage.api).await?;
    stage.wait_for_status(&id, "delivered").await?;
    let ledger = stage.wait_until_settled(SOON * 2).await?;
    ensure!(ledger["deliveries"]["failed"] == 0, "{ledger}");
    Ok(())
}

/// Starts the binary with the limit's signal ignored: without that the kernel ends a process at the limit, where on a
/// full disk its write fails.
fn deaf_to_the_limit(folder: &Path) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let script = folder.join("postrider");
    let binary = postrider_tests::harness::postrider::binary()?;
    std::fs::write(&script, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", binary.display()))?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
    Ok(script)
}

/// Sets how large files may be that a process writes, by `prlimit` of util-linux.
fn limit_files(pid: i32, bytes: u64) -> Result<()> {
    let limit = if bytes == u64::MAX { "unlimited".to_owned() } else { bytes.to_string() };
    let set = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--fsize={limit}:")])
        .output();
    let output = set.context("running prlimit")?;
    ensure!(output.status.success(), "prlimit: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// These need RabbitMQ and PostgreSQL.
mod cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_is_gone_means_503_until_it_is_back() -> Result<()> {
        let mut broker = RabbitMq::start().await?;
        let queue = broker.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let stage = Stage::open_with(ServerOptions::cluster(&queue, &store), "standard").await?;
        stage.webhook("/hook", "*", json!({})).await?;
        stage.publish("a.b", json!({})).await?;
        settled(&stage.api, SOON).await?;
        broker.stop().await?;
        for _ in 0..5 {
            is_come_again(&publish(&stage.api, "x").await?)?;
        }
        // What needs no broker is answered.
        stage.api.get("/v1/webhooks").await?.require(200)?;
        stage.server.admin().get("/livez").await?.require(200)?;
        broker.restart().await?;
        let id = accepted_again(&stage.api).await?;
        stage.wait_for_status(&id, "delivered").await?;
        Ok(())
    }

    /// A message that no queue takes comes back: never 202.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_that_no_queue_takes_is_not_accepted() -> Result<()> {
        let broker = RabbitMq::start().await?;
        let queue = broker.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let stage = Stage::open_with(ServerOptions::cluster(&queue, &store), "standard").await?;
        stage.webhook("/hook", "*", json!({})).await?;
        stage.publish("a.b", json!({})).await?;
        settled(&stage.api, SOON).await?;
        let connection = lapin::Connection::connect(&queue, lapin::ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let vhost = queue.rsplit('/').next().context("a virtual host")?.replace("%2f", "/");
        let mut taken = 0;
        for name in broker.ctl(&["list_queues", "-p", &vhost, "name"]).await?.lines().map(str::trim) {
            if name.starts_with("postrider.") && name.contains("deliver") {
                channel.queue_delete(name.into(), lapin::options::QueueDeleteOptions::default()).await?;
                taken += 1;
            }
        }
        ensure!(taken > 0, "no queue of deliveries was found");
        let answer = publish(&stage.api, "x").await?;
        ensure!(answer.status == 503 || answer.status == 202, "{answer}");
        if answer.status == 202 {
            // Only because the queue was made anew first, and then the event must arrive.
            stage.wait_for_status(&only_delivery(&answer.json()?)?, "delivered").await?;
        } else {
            is_come_again(&answer)?;
        }
        Ok(())
    }
}
