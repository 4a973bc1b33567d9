//! A private PostgreSQL: a server as a child process on a free loopback port, its data in a temporary folder.
//!
//! Durability is as by default (`fsync`, `synchronous_commit`), so what was committed survives [`Postgres::kill`].
//! Root runs it as the user `postgres`, anyone else as oneself. It listens on TCP only, trusts everyone there,
//! and keeps its shared memory in its folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

use super::account::Account;
use super::certificates::Certificates;
use super::deadline::eventually;
use super::folder::TempFolder;
use super::port::PortLease;
use super::process::{Launch, Process};
use super::signal::{self, Signal};
use super::watchdog::Watchdog;

/// How long making the first files may take; 1 to 3 s are usual.
const INITIALISE: Duration = Duration::from_secs(120);
/// How long a start may take, recovery after a kill included.
const START: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(60);

/// A running, killed or stopped private server. Dropping it ends everything that belongs to it.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Process>,
    port: PortLease,
    programs: PathBuf,
    account: Option<Account>,
    next_database: AtomicUsize,
    folder: TempFolder,
}

impl Postgres {
    /// Makes a fresh one and starts it.
    pub async fn start() -> Result<Self> {
        let programs = find_programs()?;
        let account = if Account::own()?.is_root() { Some(Account::named("postgres")?) } else { None };
        let folder = TempFolder::new("postgres")?;
        if let Some(account) = account {
            std::os::unix::fs::chown(folder.path(), Some(account.uid), Some(account.gid))?;
        }
        let next_database = AtomicUsize::new(0);
        let mut server =
            Self { server: None, port: PortLease::take()?, programs, account, next_database, folder };
        server.initialise().await.context("making PostgreSQL's first files")?;
        server.launch().await?;
        Ok(server)
    }

    /// A copy of this server that follows it, as the second node of a pair does. It takes no writes.
    pub async fn start_standby(&self) -> Result<Self> {
        let folder = TempFolder::new("standby")?;
        if let Some(account) = self.account {
            std::os::unix::fs::chown(folder.path(), Some(account.uid), Some(account.gid))?;
        }
        let next_database = AtomicUsize::new(0);
        let (programs, account) = (self.programs.clone(), self.account);
        let mut standby =
            Self { server: None, port: PortLease::take()?, programs, account, next_database, folder };
        standby
            .program("pg_basebackup")
            .arg("-R")
            .args(["-c", "fast", "-X", "stream", "--no-sync", "-d", &self.url("postgres")])
            .arg("-D")
            .arg(standby.folder.join("data"))
            .run(INITIALISE)
            .await
            .context("copying PostgreSQL's files")?;
        standby.set(&format!("port = {}", standby.port.number()))?;
        standby.launch().await?;
        Ok(standby)
    }

    /// Makes a standby take writes.
    pub async fn promote(&self) -> Result<()> {
        let client = connect(&self.url("postgres")).await?;
        client.batch_execute("SELECT pg_promote(true, 60)").await.context("promoting a standby")
    }

    /// Adds a line to the settings; in force from the next start on.
    pub fn set(&self, line: &str) -> Result<()> {
        use std::io::Write as _;
        let file = self.folder.join("data/postgresql.conf");
        writeln!(std::fs::OpenOptions::new().append(true).open(file)?, "{line}")?;
        Ok(())
    }

    /// Starts it again with its write-ahead log in this folder of another disk.
    pub async fn move_log_to(&mut self, folder: &Path) -> Result<()> {
        self.stop().await?;
        let log = self.folder.join("data/pg_wal");
        let moved = Command::new("mv").arg(&log).arg(folder).status().context("moving the log")?;
        anyhow::ensure!(moved.success(), "moving the log: {moved}");
        std::os::unix::fs::symlink(folder.join("pg_wal"), log)?;
        self.launch().await
    }

    /// Changes a setting of the running server. Sessions that are open have it from their next statement on.
    pub async fn alter(&self, setting: &str) -> Result<()> {
        let client = connect(&self.url("postgres")).await?;
        client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await?;
        let before = self.settings_read_at().await?;
        client.batch_execute("SELECT pg_reload_conf()").await.context("changing a setting")?;
        // That only asks for it. A session that begins with the new settings began after all others were told.
        eventually("the server to read its settings again", START, async || {
            Ok((self.settings_read_at().await? != before).then_some(()))
        })
        .await
    }

    /// When a session that begins now finds that the settings were read.
    async fn settings_read_at(&self) -> Result<SystemTime> {
        let client = connect(&self.url("postgres")).await?;
        Ok(client.query_one("SELECT pg_conf_load_time()", &[]).await?.get(0))
    }

    /// Speaks TLS with this certificate, besides speaking without.
    pub async fn speak_tls(&mut self, certificates: &Certificates) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        for (name, from) in [("server.crt", certificates.certificate()), ("server.key", certificates.key())] {
            let file = self.folder.join("data").join(name);
            std::fs::copy(&from, &file)?;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
            if let Some(account) = self.account {
                std::os::unix::fs::chown(&file, Some(account.uid), Some(account.gid))?;
            }
        }
        self.set("ssl = on")?;
        self.restart().await
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Whose files it reads and writes, where that is not oneself.
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port.number())
    }

    /// Makes an empty database that no test was given before, and returns its URL.
    pub async fn create_database(&self) -> Result<String> {
        let name = format!("test_{}", self.next_database.fetch_add(1, Ordering::Relaxed));
        let client = connect(&self.url("postgres")).await.context("connecting to make a database")?;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.context("making a database")?;
        Ok(self.url(&name))
    }

    /// `kill -9` of the server and of the processes that serve its connections.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            let serving = signal::children_of(server.pid());
            // The server first: it would take the end of another as a crash to be mended.
            server.kill()?;
            for pid in serving.into_iter().filter(|pid| signal::is_running(*pid)) {
                // They end by themselves when they notice, so it may have happened already.
                signal::send(pid, Signal::Kill).ok();
            }
        }
        Ok(())
    }

    /// Whether it has ended, though nobody asked it to.
    pub fn has_ended(&mut self) -> Result<bool> {
        let server = self.server.as_mut().context("PostgreSQL was not started")?;
        Ok(server.try_wait()?.is_some())
    }

    /// A stop that ends the connections but loses nothing.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.signal(Signal::Interrupt)?;
            server.wait(STOP).await.context("stopping PostgreSQL")?;
        }
        Ok(())
    }

    /// Starts it again on the same port with the same data; a running one is stopped in order first.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes it and everything that serves its connections: they stay open and nothing answers.
    pub fn freeze(&self) -> Result<()> {
        let watchdog = Watchdog::get()?;
        self.signal_all(Signal::Stop, |pid| watchdog.began(pid, Signal::Kill))
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        let watchdog = Watchdog::get()?;
        self.signal_all(Signal::Continue, |pid| watchdog.ended(pid))
    }

    /// The ids of its processes at this moment.
    pub fn pids(&self) -> Vec<u32> {
        let Some(server) = &self.server else { return Vec::new() };
        std::iter::once(server.pid()).chain(signal::children_of(server.pid())).collect()
    }

    /// Where its data and logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Frozen processes do not notice that their server is gone, so the watchdog is told of each in `tell`.
    fn signal_all(&self, signal: Signal, tell: impl Fn(u32) -> Result<()>) -> Result<()> {
        let server = self.server.as_ref().context("PostgreSQL is not running")?;
        signal::send(server.pid(), signal).with_context(|| format!("sending {}", signal.name()))?;
        for pid in signal::children_of(server.pid()) {
            tell(pid)?;
            // A connection may have ended since the list was made.
            signal::send(pid, signal).ok();
        }
        Ok(())
    }

    async fn initialise(&self) -> Result<()> {
        let data = self.folder.join("data");
        self.program("initdb")
            .arg("-D")
            .arg(&data)
            // Not synced: if the machine itself fails now, so does the test.
            .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .run(INITIALISE)
            .await?;
        let settings = data.join("postgresql.conf");
        let mut text = std::fs::read_to_string(&settings)?;
        text.push_str(&format!("port = {}\n", self.port.number()));
        text.push_str("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n");
        text.push_str("dynamic_shared_memory_type = mmap\nmax_connections = 300\n");
        std::fs::write(&settings, text)?;
        Ok(())
    }

    async fn launch(&mut self) -> Result<()> {
        // An immediate shutdown, unlike being killed, gives back the machine's shared memory.
        let launch = self.program("postgres").arg("-D").arg(self.folder.join("data")).end_with(Signal::Quit);
        let url = self.url("postgres");
        let mut server = launch.spawn().context("starting PostgreSQL")?;
        let ready = eventually("PostgreSQL to answer", START, async || {
            match server.ensure_running() {
                Ok(()) => Ok(connect(&url).await.ok().map(drop)),
                // After a kill it refuses to start until the last process that served a connection is gone.
                Err(error) if server.last_words().contains("is still in use") => {
                    tracing::debug!(%error, "starting PostgreSQL once more");
                    std::fs::write(self.folder.join("postgres.out"), "")?;
                    server = launch.spawn()?;
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        ready.await.context("starting PostgreSQL")?;
        self.server = Some(server);
        Ok(())
    }

    fn program(&self, name: &str) -> Launch {
        let launch = Launch::new(name, self.programs.join(name), self.folder.path());
        match self.account {
            Some(account) => launch.run_as(account),
            None => launch,
        }
    }

    /// The number of the shared memory segment that a killed server leaves in the machine, if one was killed.
    fn left_shared_memory(&self) -> Option<String> {
        // Seventh line of the file that an orderly end removes: key and id.
        let lock = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).ok()?;
        Some(lock.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some()
            && let Err(error) = self.thaw()
        {
            tracing::debug!(%error, "PostgreSQL ended before it was dropped");
        }
        drop(self.server.take());
        if let Some(id) = self.left_shared_memory()
            && let Err(error) = Command::new("ipcrm").args(["-m", &id]).output()
        {
            tracing::debug!(%error, id, "left 56 bytes of shared memory behind");
        }
    }
}

/// Connects, and serves the connection for as long as the client lives.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a test's connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

/// The folder with the newest server's programs.
fn find_programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") {
        for entry in entries.flatten() {
            let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
            versions.extend(version.map(|version| (version, entry.path().join("bin"))));
        }
    }
    versions.retain(|(_, folder)| folder.join("initdb").exists() && folder.join("postgres").exists());
    versions.sort();
    if let Some((_, newest)) = versions.pop() {
        return Ok(newest);
    }
    let found =
        Command::new("sh").args(["-c", "command -v initdb"]).output().context("looking for initdb")?;
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    match path.parent() {
        Some(folder) if found.status.success() => Ok(folder.to_owned()),
        _ => bail!("PostgreSQL is not installed; run tests/install-services.sh"),
    }
}
