//! The first ten minutes of the README, typed: every client command, against a real server.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postrider::{ADMIN_KEY, Output, binary};
use postrider_tests::harness::process::{Launch, Process};
use postrider_tests::harness::signal::Signal;
use postrider_tests::harness::{Server, TempFolder, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, server_options, text};
use serde_json::Value;

on_both_engines!(the_first_ten_minutes_can_be_typed);

const SECRET: &str = "a-secret-of-my-own";

async fn the_first_ten_minutes_can_be_typed(engine: EngineKind) -> Result<()> {
    let server = Server::start(server_options(engine).await?).await?;
    let desk = Desk::open(&server).await?;
    let listener = desk.listener("listener", &[]).await?;
    let webhook = register(&desk, &listener.url()?).await?;
    let delivery = send(&desk, &listener).await?;
    look(&desk, &delivery).await?;
    test(&desk, &webhook, &listener).await?;
    tail(&desk).await?;
    hold(&desk, &webhook).await?;
    change(&desk, &webhook).await?;
    end(&desk, &webhook).await
}

/// Somebody at a terminal, with a tenant and its key.
struct Desk<'s> {
    server: &'s Server,
    key: String,
    folder: TempFolder,
}

impl<'s> Desk<'s> {
    async fn open(server: &'s Server) -> Result<Self> {
        let folder = TempFolder::new("desk")?;
        let mut desk = Desk { server, key: ADMIN_KEY.to_owned(), folder };
        let made = ["tenants", "create", "--id", "acme", "--name", "Acme", "--profile", "trcker"];
        desk.says(&made, &["acme", "trcker"]).await?;
        desk.says(&["tenants", "list"], &["acme"]).await?;
        desk.says(&["tenants", "show", "acme"], &["Acme"]).await?;
        desk.says(&["tenants", "update", "acme", "--name", "Acme Inc"], &["Acme Inc"]).await?;
        let scopes = ["--scopes", "publish,read,manage"];
        let create = [&["keys", "create", "--tenant", "acme", "--name", "demo"][..], &scopes].concat();
        let spare = desk.json(&create).await?;
        let (id, key) = (text(&spare, "id")?, text(&spare, "key")?);
        desk.says(&["keys", "list", "--tenant", "acme"], &[&id, "demo"]).await?;
        desk.says(&["keys", "revoke", "--tenant", "acme", &id], &["revoked"]).await?;
        desk.key = key;
        desk.refused(&["events", "list"], 1, &["401", "revoked"]).await?;
        desk.key = ADMIN_KEY.to_owned();
        desk.says(&create, &["shown once", "export POSTRIDER_KEY="]).await?;
        desk.key = text(&desk.json(&create).await?, "key")?;
        Ok(desk)
    }

    async fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.server.cli(&self.key, arguments).await
    }

    /// It must succeed, print these words, and nothing on standard error.
    async fn says(&self, arguments: &[&str], words: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        ensure!(output.stderr.is_empty(), "{arguments:?} complained: {}", output.stderr);
        let printed = output.require_success().with_context(|| format!("{arguments:?}"))?;
        for word in words {
            ensure!(printed.contains(word), "{arguments:?} does not say {word:?}: {printed}");
        }
        Ok(printed)
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.says(&[arguments, &["--output", "json"]].concat(), &[]).await?;
        serde_json::from_str(&printed).with_context(|| format!("{arguments:?} printed {printed}"))
    }

    /// It must fail with this exit code, print these words on standard error, and each cause once.
    async fn refused(&self, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
        let output = self.run(arguments).await?;
        ensure!(output.status.code() == Some(code), "{arguments:?} ended with {output:?}");
        for word in words {
            let count = output.stderr.matches(word).count();
            ensure!(count == 1, "{arguments:?} says {word:?} {count} times: {}", output.stderr);
        }
        Ok(())
    }

    /// Waits until a command's output has these words.
    async fn until(&self, arguments: &[&str], words: &str) -> Result<()> {
        eventually(&format!("{arguments:?} to say {words:?}"), SOON, async || {
            Ok(self.run(arguments).await?.stdout.contains(words).then_some(()))
        })
        .await
    }

    fn begin(&self, name: &str, arguments: &[&str]) -> Result<Running> {
        let launch = Launch::new(name, binary()?, self.folder.path())
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("POSTRIDER_URL", format!("http://{}", self.server.address()))
            .env("POSTRIDER_KEY", &self.key);
        Ok(Running { process: launch.spawn()?, output: launch.output().to_owned() })
    }

    async fn listener(&self, name: &str, more: &[&str]) -> Result<Running> {
        let secret = self.secret_file()?;
        let fixed = ["listen", "--port", "0", "--profile", "trcker", "--secret", &secret];
        let listener = self.begin(name, &[&fixed[..], more].concat())?;
        listener.prints("listening on").await?;
        Ok(listener)
    }

    /// The argument that names a file with the secret.
    fn secret_file(&self) -> Result<String> {
        let file = self.folder.join("secret");
        std::fs::write(&file, format!("{SECRET}\n"))?;
        Ok(format!("@{}", file.display()))
    }
}

/// A command that runs until Ctrl-C.
struct Running {
    process: Process,
    output: PathBuf,
}

impl Running {
    fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    async fn prints(&self, words: &str) -> Result<()> {
        let what = format!("{words:?} to be printed");
        let seen = eventually(&what, SOON, async || Ok(self.printed().contains(words).then_some(())));
        seen.await.with_context(|| self.printed())
    }

    fn url(&self) -> Result<String> {
        let printed = self.printed();
        let url = printed.split_whitespace().find(|word| word.starts_with("http://"));
        Ok(format!("{}/", url.context("no URL")?.trim_end_matches(',')))
    }

    /// Ctrl-C, which is no failure.
    async fn interrupt(mut self) -> Result<()> {
        self.process.signal(Signal::Interrupt)?;
        let status = self.process.wait(SOON).await?;
        ensure!(status.success(), "ended with {status}: {}", self.printed());
        Ok(())
    }
}

fn example(name: &str) -> String {
    format!("@{}/../examples/{name}.json", env!("CARGO_MANIFEST_DIR"))
}

async fn register(desk: &Desk<'_>, url: &str) -> Result<String> {
    desk.says(&["webhooks", "list"], &["no webhooks yet"]).await?;
    let secret = desk.secret_file()?;
    let arguments =
        ["webhooks", "register", "--name", "demo", "--on", "conversion.*", "--url", url, "--secret", &secret];
    let webhook = text(&desk.json(&arguments).await?, "id")?;
    desk.says(&["webhooks", "list"], &[&webhook, "active"]).await?;
    desk.says(&["webhooks", "show", &webhook], &[url, "conversion.*"]).await?;
    let not_there = [&arguments[..9], &["@nofile"]].concat();
    desk.refused(&not_there, 2, &["nofile", "No such file"]).await?;
    let postback = format!("{url}pb?cid={{click_id}}");
    let arguments = ["webhooks", "create", "--postback", "--on", "cap.reached", "--url", &postback];
    let made = text(&desk.json(&[&arguments[..], &["--success-status", "200"]].concat()).await?, "id")?;
    let post = ["webhooks", "update", &made, "--method", "POST", "--form", "cid={click_id}"];
    desk.says(&post, &["postback", "POST", "{click_id}"]).await?;
    desk.says(&["webhooks", "delete", &made], &["deleted"]).await?;
    Ok(webhook)
}

async fn send(desk: &Desk<'_>, listener: &Running) -> Result<String> {
    let data = example("conversion.created");
    let arguments = ["events", "send", "conversion.created", "--data", &data];
    desk.says(&arguments, &["accepted: evt_", "dlv_"]).await?;
    listener.prints("signature ok").await?;
    let accepted = desk.json(&arguments).await?;
    let delivery = text(&accepted["deliveries"][0], "id")?;
    desk.until(&["deliveries", "show", &delivery], "delivered").await?;
    let event = text(&accepted, "id")?;
    desk.says(&["events", "show", &event], &[&event, &delivery, "conversionId"]).await?;
    desk.says(&["events", "list", "--since", "1h"], &[&event, "conversion.created"]).await?;
    let told = ["goes to 1 of 1 webhooks", "gets it", "X-Trcker-Signature: t=", "conversionId"];
    desk.says(&["events", "explain", "--event", &event], &told).await?;
    desk.says(&["events", "explain", "conversion.created"], &told).await?;
    let batch = desk.folder.join("events.ndjson");
    std::fs::write(&batch, "{\"type\":\"partner.approved\",\"data\":{}}\n".repeat(3))?;
    let batch = batch.to_str().context("not UTF-8")?;
    desk.says(&["events", "send-batch", batch], &["accepted 3"]).await?;
    desk.refused(&["events", "send", "a.b", "--data", "@nofile"], 2, &["nofile", "No such file"]).await?;
    desk.refused(&["events", "show", "evt_nonsense"], 1, &["404"]).await?;
    Ok(delivery)
}

async fn look(desk: &Desk<'_>, delivery: &str) -> Result<()> {
    desk.says(&["deliveries", "show", delivery], &["#1", "200 OK"]).await?;
    desk.says(&["deliveries", "show", delivery, "--body"], &["conversionId"]).await?;
    desk.says(&["deliveries", "list", "--status", "delivered", "--code", "200"], &[delivery]).await?;
    desk.says(&["deliveries", "list", "--status", "failed"], &["no deliveries"]).await?;
    desk.refused(&["deliveries", "list", "--code", "99"], 2, &["100..=599"]).await?;
    Ok(())
}

async fn test(desk: &Desk<'_>, webhook: &str, listener: &Running) -> Result<()> {
    let arguments = ["webhooks", "test", webhook];
    desk.says(&arguments, &["conversion.", ": 200 in ", "postrider deliveries show dlv_"]).await?;
    let raw = desk.json(&arguments).await?;
    ensure!(raw["attempt"]["response"]["status"] == 200 && raw["webhook_id"] == webhook, "{raw}");
    let broken = desk.listener("broken listener", &["--respond", "500"]).await?;
    desk.says(&["webhooks", "update", webhook, "--url", &broken.url()?], &[webhook]).await?;
    let url = broken.url()?;
    // The change is heard of within a moment.
    eventually("the test to meet the listener that fails", SOON, async || {
        let output = desk.run(&arguments).await?;
        Ok((output.status.code() == Some(1) && output.stdout.contains(": 500 (retry, status 500) in "))
            .then_some(()))
    })
    .await
    .with_context(|| format!("at {url}"))?;
    broken.interrupt().await?;
    desk.says(&["webhooks", "update", webhook, "--url", &listener.url()?], &[webhook]).await?;
    Ok(())
}

async fn tail(desk: &Desk<'_>) -> Result<()> {
    let tail = desk.begin("tail", &["deliveries", "tail", "--last", "1", "--interval", "100ms"])?;
    tail.prints("dlv_").await?;
    let data = example("conversion.approved");
    let sent = desk.json(&["events", "send", "conversion.approved", "--data", &data]).await?;
    tail.prints(&text(&sent["deliveries"][0], "id")?).await?;
    tail.interrupt().await
}

async fn hold(desk: &Desk<'_>, webhook: &str) -> Result<()> {
    desk.says(&["webhooks", "pause", webhook], &["paused"]).await?;
    let data = example("conversion.rejected");
    let sent = desk.json(&["events", "send", "conversion.rejected", "--data", &data]).await?;
    let delivery = text(&sent["deliveries"][0], "id")?;
    desk.until(&["deliveries", "list", "--status", "held"], &delivery).await?;
    desk.says(&["webhooks", "test", webhook], &["not tried yet"]).await?;
    desk.says(&["webhooks", "resume", webhook, "--rate", "100"], &["active"]).await?;
    desk.until(&["deliveries", "show", &delivery], "delivered").await
}

async fn change(desk: &Desk<'_>, webhook: &str) -> Result<()> {
    desk.says(&["webhooks", "rotate", webhook, "--overlap", "1h"], &["secret", "shown once"]).await?;
    let rotated = desk.json(&["webhooks", "rotate", webhook]).await?;
    text(&rotated, "secret")?;
    desk.refused(&["webhooks", "update", webhook], 2, &["say what to change"]).await?;
    // The server and the key are given by variables: the usage line must not ask for them.
    let output = desk.run(&["webhooks", "register", "--on", "a"]).await?;
    ensure!(output.status.code() == Some(2) && output.stderr.contains("--url <URL>"), "{output:?}");
    ensure!(!output.stderr.contains("--server") && !output.stderr.contains("--key"), "{}", output.stderr);
    Ok(())
}

async fn end(desk: &Desk<'_>, webhook: &str) -> Result<()> {
    desk.until(&["ledger"], "balanced: every accepted event").await?;
    let ledger = desk.json(&["ledger"]).await?;
    ensure!(ledger["events"]["unmatched"] == 3 && ledger["balanced"] == true, "{ledger}");
    desk.says(&["webhooks", "delete", webhook], &["deleted"]).await?;
    desk.says(&["webhooks", "list"], &["no webhooks yet"]).await?;
    let admin = desk.server.cli(ADMIN_KEY, &["ledger", "--all"]).await?;
    ensure!(admin.stdout.contains("balanced"), "{admin:?}");
    desk.server.cli(ADMIN_KEY, &["tenants", "delete", "acme"]).await?.require_success()?;
    Ok(())
}
