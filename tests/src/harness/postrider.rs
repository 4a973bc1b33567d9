//! The real binary, run as users run it: a child process that is configured by flags and environment.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::deadline::eventually;
use super::folder::TempFolder;
use super::http::Api;
use super::port::PortLease;
use super::process::{Launch, Process};
use super::signal::Signal;

/// How long a server may take until it is ready; one has migrations and topology to make.
const READY: Duration = Duration::from_secs(60);
/// How long an orderly stop may take: longer than the grace period, so that only a hang exceeds it.
const STOP: Duration = Duration::from_secs(60);
/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// The admin key of every server in tests.
pub const ADMIN_KEY: &str = "test-admin-key-0123456789abcdef0123456789abcdef";
/// The master key of every cluster server in tests: 32 bytes, base64.
pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a server is started with, beyond `serve` and `--listen`, which the harness adds.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
    binary: Option<PathBuf>,
}

impl ServerOptions {
    /// All roles on the embedded engine, in development mode: http and loopback receivers allowed.
    pub fn embedded() -> Self {
        Self::default().arg("--dev")
    }

    /// All roles on RabbitMQ and PostgreSQL, in development mode.
    pub fn cluster(queue: &str, store: &str) -> Self {
        Self::default()
            .args(["--dev", "--queue", queue, "--store", store])
            .env("POSTRIDER_MASTER_KEY", MASTER_KEY)
    }

    /// Only these roles, separated by commas.
    #[must_use]
    pub fn roles(self, roles: &str) -> Self {
        self.args(["--role", roles])
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Works in this folder, whose `data` is the data folder, instead of a fresh one.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs this binary instead of the one under test: an older one beside the new, say.
    #[must_use]
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }
}

/// A running, killed or ended server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Option<Process>,
    launch: Launch,
    binary: PathBuf,
    port: PortLease,
    folder: PathBuf,
    own_folder: TempFolder,
}

/// What a command printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// Fails, quoting what was written, unless it was a success; returns standard output.
    pub fn require_success(self) -> Result<String> {
        ensure!(self.status.success(), "ended with {}:\n{}{}", self.status, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// The binary under test, which cargo builds beside the folder of the test binaries.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding the test binary")?;
    let path =
        own.ancestors().skip(1).map(|folder| folder.join("postrider-under-test")).find(|path| path.exists());
    path.with_context(|| {
        format!("no postrider-under-test near {}; build the whole test package", own.display())
    })
}

/// Runs the binary with these arguments, input and environment to its end, in a folder of its own.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Result<Output> {
    let folder = TempFolder::new("command")?;
    let errors = folder.join("command.err");
    let mut launch = Launch::new("command", binary()?, folder.path())
        .args(arguments)
        .env("HOME", folder.path())
        .errors_to(errors.clone())
        .input(input);
    for (name, value) in environment {
        launch = launch.env(name, value);
    }
    let status =
        launch.spawn()?.wait(COMMAND).await.with_context(|| format!("postrider {}", arguments.join(" ")))?;
    let text =
        |path: &Path| -> Result<String> { Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()) };
    Ok(Output { status, stdout: text(launch.output())?, stderr: text(&errors)? })
}

impl Server {
    /// Starts one and waits until it is ready.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let mut server = Self::prepare(options)?;
        server.launch().await?;
        Ok(server)
    }

    fn prepare(options: ServerOptions) -> Result<Self> {
        let binary = match options.binary {
            Some(binary) => binary,
            None => binary()?,
        };
        let own_folder = TempFolder::new("postrider")?;
        let port = PortLease::take()?;
        let folder = options.folder.unwrap_or_else(|| own_folder.path().to_owned());
        let mut launch = Launch::new("server", &binary, &folder)
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{}", port.number())])
            .args(&options.arguments)
            .env("HOME", &folder)
            .env("POSTRIDER_ADMIN_KEY", ADMIN_KEY);
        for (name, value) in &options.environment {
            launch = launch.env(name, value);
        }
        Ok(Self { process: None, launch, binary, port, folder, own_folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }

    /// A client with the admin key.
    pub fn admin(&self) -> Api {
        Api::new(self.address()).with_key(ADMIN_KEY)
    }

    /// A client with this key.
    pub fn api(&self, key: &str) -> Api {
        Api::new(self.address()).with_key(key)
    }

    /// Runs a command of the binary against this server, with this key.
    pub async fn cli(&self, key: &str, arguments: &[&str]) -> Result<Output> {
        let url = format!("http://{}", self.address());
        run(arguments, &[("POSTRIDER_URL", &url), ("POSTRIDER_KEY", key)], b"").await
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.as_mut().context("the server is not running")?.signal(signal)
    }

    /// `SIGTERM`, and how it ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Terminate)?;
        self.wait(STOP).await
    }

    /// Waits for it to end.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("the server is not running")?;
        let status = process.wait(within).await.context("waiting for the server to end")?;
        self.process = None;
        Ok(status)
    }

    /// Starts it again as before, on the same port and folder; a running one is asked to end first.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.terminate().await?;
        }
        self.launch().await
    }

    /// Sets an environment variable from its next start on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.launch = self.launch.clone().env(name, value);
    }

    /// Starts it again as before and waits for nothing: for one that may end before it is ready.
    pub fn spawn(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server is still running");
        self.process = Some(self.launch.spawn().context("starting the server")?);
        Ok(())
    }

    /// Its id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The most memory that it has held so far, in bytes, as the kernel counts it.
    pub fn peak_memory(&self) -> Result<u64> {
        let pid = self.pid().context("the server is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading its memory")?;
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak of memory")?;
        let kib = peak.split_whitespace().next().context("no number")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Everything that it and those before it wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.launch.output()).unwrap_or_default()).into_owned()
    }

    /// Waits until `text` stands in the log.
    pub async fn wait_for_log(&self, text: &str, within: Duration) -> Result<()> {
        let what = format!("{text:?} in the server's log");
        eventually(&what, within, async || Ok(self.log().contains(text).then_some(()))).await
    }

    /// The folder it works in; on the embedded engine its data is in `data` there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The binary it runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    async fn launch(&mut self) -> Result<()> {
        let mut process = self.launch.spawn().context("starting the server")?;
        let api = Api::new(self.address());
        let ready = eventually("the server to be ready", READY, async || {
            process.ensure_running()?;
            // Not yet listening, or not yet ready, is what is being waited out.
            Ok(api.get("/readyz").await.ok().filter(|answer| answer.status.is_success()).map(drop))
        });
        ready.await.with_context(|| format!("starting postrider in {}", self.own_folder.path().display()))?;
        self.process = Some(process);
        Ok(())
    }
}
