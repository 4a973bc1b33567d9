//! A start that cannot succeed ends at once, non-zero, with one line that says what to do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use postrider_tests::harness::port::PortLease;
use postrider_tests::harness::postgres;
use postrider_tests::harness::postrider::{ADMIN_KEY, MASTER_KEY, Output, run};
use postrider_tests::harness::{Server, ServerOptions, TempFolder, shared_postgres, shared_rabbitmq};

const MASTER: (&str, &str) = ("POSTRIDER_MASTER_KEY", MASTER_KEY);

/// Runs `serve` with this and a free port; it must fail, with these words in its one line.
async fn refused(arguments: &[&str], environment: &[(&str, &str)], words: &[&str]) -> Result<()> {
    let port = PortLease::take()?;
    let listen = format!("127.0.0.1:{}", port.number());
    let arguments = [&["serve", "--listen", &listen], arguments].concat();
    let output = start(&arguments, environment).await?;
    is_one_line(&output, words).with_context(|| format!("{arguments:?} {environment:?}"))
}

async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    run(arguments, &[environment, &[("POSTRIDER_ADMIN_KEY", ADMIN_KEY)]].concat(), b"").await
}

fn is_one_line(output: &Output, words: &[&str]) -> Result<()> {
    let Output { status, stdout, stderr } = output;
    ensure!(!status.success() && status.code().is_some(), "ended with {status}: {stdout}{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    ensure!(lines.len() == 1 && lines[0].starts_with("error: "), "not one line: {stderr:?}");
    for word in words {
        ensure!(stderr.contains(word), "{word:?} is not said: {stderr}");
    }
    // A cause that its effect has quoted already would stand there twice.
    let parts: Vec<&str> = lines[0].split(": ").collect();
    ensure!(parts.windows(2).all(|pair| pair[0] != pair[1]), "said twice: {stderr}");
    ensure!(!stderr.contains("panicked") && !stderr.contains(MASTER_KEY), "{stderr}");
    // A log may say that it began, but not that it serves.
    ensure!(!stdout.contains("Postrider 0"), "greeted and then failed: {stdout}");
    Ok(())
}

fn path(folder: &Path) -> Result<&str> {
    folder.to_str().context("not UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let listen = taken.local_addr()?.to_string();
    let output = start(&["serve", "--listen", &listen], &[]).await?;
    is_one_line(&output, &[&listen, "in use"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_does_not_get_the_data_of_the_first() -> Result<()> {
    let server = Server::start(ServerOptions::embedded()).await?;
    let data = server.folder().join("data");
    refused(&["--data", path(&data)?], &[], &["used by another process", "data"]).await?;
    server.admin().get("/v1/tenants").await?.require(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_not_ours_is_left_alone() -> Result<()> {
    let folder = TempFolder::new("data")?;
    let file = folder.join("queue.db");
    let garbage = b"not a database at all, but long enough to be read as a header of one. ".repeat(100);
    std::fs::write(&file, &garbage)?;
    refused(
        &["--data", path(folder.path())?],
        &[],
        &["queue.db", "not a file of this program", "another data directory"],
    )
    .await?;
    ensure!(std::fs::read(&file)? == garbage, "the file was changed");

    // An empty table of another program: SQLite's own header, no mark of ours.
    let foreign = base64::engine::general_purpose::STANDARD.decode(FOREIGN_SQLITE_HEAD)?;
    let mut page = foreign;
    page.resize(4096, 0);
    std::fs::write(&file, &page)?;
    refused(&["--data", path(folder.path())?], &[], &["queue.db"]).await?;
    ensure!(std::fs::read(&file)? == page, "the file was changed");
    Ok(())
}

/// The first 100 bytes of a database with application id 0x0BADF00D.
const FOREIGN_SQLITE_HEAD: &str = "U1FMaXRlIGZvcm1hdCAzABAAAQEAQCAgAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAAEAAAAAAAAAAAAAAABAAAAAAAAAAALrfANAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAC52iA0AAAAAEAAA";

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_file_is_said_to_be_damaged() -> Result<()> {
    let mut server = Server::start(ServerOptions::embedded()).await?;
    let ended = server.terminate().await?;
    ensure!(ended.success(), "asked to end as soon as it was ready, it ended with {ended}");
    let data = server.folder().join("data");
    let file = data.join("queue.db");
    let mut bytes = std::fs::read(&file)?;
    for byte in bytes.iter_mut().skip(100) {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, &bytes)?;
    // Else what stands beside it would mend it.
    let beside = std::fs::metadata(data.join("queue.db-wal")).map_or(0, |log| log.len());
    assert_eq!(beside, 0, "all is in the file itself");
    refused(&["--data", path(&data)?], &[], &["queue.db"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_one_is_named() -> Result<()> {
    let folder = TempFolder::new("data")?;
    let file = folder.join("file");
    std::fs::write(&file, "")?;
    refused(&["--data", path(&file)?], &[], &["cannot use", "file"]).await?;
    refused(&["--data", path(&file.join("below"))?], &[], &["cannot use", "below"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_that_cannot_be_read_is_named() -> Result<()> {
    let folder = TempFolder::new("configuration")?;
    let file = folder.join("postrider.toml");
    let given = ["--config", path(&file)?];
    refused(&given, &[], &["cannot read the configuration file", "postrider.toml"]).await?;
    refused(&["--config", path(folder.path())?], &[], &["cannot read the configuration file"]).await?;
    std::fs::write(&file, "[server]\nlisten = [\n")?;
    refused(&given, &[], &["postrider.toml", "not TOML", "line "]).await?;
    std::fs::write(&file, [0xff, 0xfe, 0x00])?;
    refused(&given, &[], &["postrider.toml"]).await?;
    std::fs::write(&file, "[server]\nport = 1\n")?;
    refused(&given, &[], &["server.port", "not a setting"]).await?;
    std::fs::write(&file, "[sever]\nlisten = \"127.0.0.1:1\"\n")?;
    refused(&given, &[], &["sever", "not a setting"]).await?;
    std::fs::write(&file, "[server]\ngrace = 5\n")?;
    refused(&given, &[], &["server.grace"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named_one_and_all() -> Result<()> {
    refused(&[], &[("POSTRIDER_NONSENSE", "1")], &["POSTRIDER_NONSENSE", "not a setting"]).await?;
    refused(&["--role", "ingest,dj"], &[], &["dj", "ingest, worker, status and manage"]).await?;
    refused(&["--role", "ingest"], &[], &["server.roles", "--queue", "--store"]).await?;
    refused(&["--queue", "amqp://127.0.0.1"], &[MASTER], &["engine.store", "engine.queue"]).await?;
    refused(&["--store", "postgres://127.0.0.1/x"], &[MASTER], &["engine.queue", "engine.store"]).await?;
    refused(&["--queue", "http://127.0.0.1", "--store", "postgres://127.0.0.1/x"], &[MASTER], &["amqp://"])
        .await?;
    refused(&["--queue", "amqp://127.0.0.1", "--store", "mysql://127.0.0.1/x"], &[MASTER], &["postgres://"])
        .await?;
    let cluster = ["--queue", "amqp://127.0.0.1", "--store", "postgres://127.0.0.1/x"];
    refused(&cluster, &[], &["security.master_key", "POSTRIDER_MASTER_KEY"]).await?;

    let many =
        [("POSTRIDER_LOG_FORMAT", "purple"), ("POSTRIDER_WORKER_SLOTS", "0"), ("POSTRIDER_NONSENSE", "1")];
    let output = start(&["serve", "--role", "dj"], &many).await?;
    ensure!(!output.status.success());
    ensure!(output.stderr.lines().count() == 5, "one line for each of four problems: {}", output.stderr);
    for path in ["server.roles", "log.format", "worker.slots", "POSTRIDER_NONSENSE"] {
        ensure!(output.stderr.contains(path), "{path} is not named: {}", output.stderr);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_master_key_is_refused() -> Result<()> {
    for key in [
        "short",
        "not base64 at all, though it has some length!",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
    ] {
        refused(&[], &[("POSTRIDER_MASTER_KEY", key)], &["POSTRIDER_MASTER_KEY", "32 bytes"]).await?;
    }
    let folder = TempFolder::new("data")?;
    let file = folder.join("master.key");
    std::fs::write(&file, MASTER_KEY)?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    refused(&["--data", path(folder.path())?], &[], &["master.key", "chmod 600"]).await?;
    std::fs::write(&file, "short")?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600))?;
    refused(&["--data", path(folder.path())?], &[], &["master.key", "32 bytes"]).await
}

/// These need RabbitMQ and PostgreSQL.
mod cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_not_as_expected_is_named() -> Result<()> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let server = shared_postgres().await?;
        let store = server.create_database().await?;
        let nobody = PortLease::take()?;
        let silent = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let away = format!("postgres://postgres@127.0.0.1:{}/x", nobody.number());
        refused(
            &["--queue", &queue, "--store", &away],
            &[MASTER],
            &["cannot reach PostgreSQL", "is it running"],
        )
        .await?;
        let closed = format!("postgres://postgres@127.0.0.1:{silent}/x");
        refused(&["--queue", &queue, "--store", &closed], &[MASTER], &["PostgreSQL"]).await?;
        let missing = server.url("no_such_database");
        refused(&["--queue", &queue, "--store", &missing], &[MASTER], &["no_such_database"]).await?;
        let stranger = store.replace("postgres@", "nobody_known@");
        refused(&["--queue", &queue, "--store", &stranger], &[MASTER], &["nobody_known"]).await?;

        // Another program's tables under names that ours would take.
        let client = postgres::connect(&store).await?;
        client.batch_execute("CREATE TABLE events (a int); CREATE TABLE deliveries (b int)").await?;
        refused(
            &["--queue", &queue, "--store", &store],
            &[MASTER],
            &["already exists", "database of its own"],
        )
        .await?;
        // The migration's own list of steps may be begun; no step is taken by half.
        let theirs =
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'refinery%'";
        let tables = client.query(theirs, &[]).await?;
        ensure!(tables.len() == 2, "tables were made beside another program's");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_is_not_as_expected_is_named() -> Result<()> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let nobody = PortLease::take()?;
        let away = format!("amqp://guest:guest@127.0.0.1:{}/%2f", nobody.number());
        refused(&["--queue", &away, "--store", &store], &[MASTER], &["RabbitMQ", "is it running"]).await?;
        let stranger = queue.replace("guest@", "wrong@").replace("guest:guest", "guest:wrong");
        let stranger =
            if stranger == queue { queue.replace("amqp://", "amqp://guest:wrong@") } else { stranger };
        refused(&["--queue", &stranger, "--store", &store], &[MASTER], &["check the name and password"])
            .await?;
        let missing =
            format!("{}no_such_host", queue.rsplit_once('/').context("no virtual host")?.0.to_owned() + "/");
        refused(&["--queue", &missing, "--store", &store], &[MASTER], &["no_such_host"]).await?;

        let silent = TcpListener::bind("127.0.0.1:0")?;
        let mute = format!("amqp://guest:guest@{}/%2f", silent.local_addr()?);
        refused(&["--queue", &mute, "--store", &store], &[MASTER], &["at 127.0.0.1:"]).await?;
        let web = Server::start(ServerOptions::embedded()).await?;
        let http = format!("amqp://guest:guest@{}/%2f", web.address());
        refused(&["--queue", &http, "--store", &store], &[MASTER], &["at 127.0.0.1:"]).await
    }
}
