//! Child processes that cannot be left behind.
//!
//! A child begins as a shell that waits for one line before it becomes the program. The line is sent once the
//! watchdog knows the child; if the test process dies in between, the shell reads the end of its input and
//! ends. So there is no moment at which a program runs unknown to the watchdog.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::account::Account;
use super::deadline::{eventually, eventually_blocking};
use super::signal::{self, Signal};
use super::watchdog::Watchdog;

const WAIT_FOR_THE_WORD: &str = r#"read -r word && exec "$@""#;

/// Where programs are looked for. Fixed, because a child's surroundings must not depend on the tester's.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a process may take to heed its signal when it is dropped, before it is killed.
const GRACE_WHEN_DROPPED: Duration = Duration::from_secs(5);

/// How much of a program's output is quoted when it fails, in bytes.
const QUOTED: usize = 3_000;

/// What to start and how. The environment holds `PATH`, `LANG` and what is added here, nothing else.
#[derive(Debug, Clone)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    output: PathBuf,
    errors: PathBuf,
    input: Vec<u8>,
    account: Option<Account>,
    end_with: Signal,
}

impl Launch {
    /// `program` by path or name, working in `folder`; its output is appended to `<folder>/<name>.out`.
    pub fn new(name: &str, program: impl AsRef<OsStr>, folder: &Path) -> Self {
        let output = folder.join(format!("{name}.out"));
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: vec![("PATH".into(), SEARCH_PATH.into()), ("LANG".into(), "C.UTF-8".into())],
            folder: folder.to_owned(),
            errors: output.clone(),
            output,
            input: Vec::new(),
            account: None,
            end_with: Signal::Kill,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Keeps standard error apart, in a file of its own.
    #[must_use]
    pub fn errors_to(mut self, file: PathBuf) -> Self {
        self.errors = file;
        self
    }

    /// What the program reads on standard input, where it otherwise finds the end at once.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Runs it as another user, which only root may.
    #[must_use]
    pub fn run_as(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    /// How it is ended when it is dropped or the test process is gone; by default it is killed.
    #[must_use]
    pub fn end_with(mut self, signal: Signal) -> Self {
        self.end_with = signal;
        self
    }

    /// Starts it.
    pub fn spawn(&self) -> Result<Process> {
        let append = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("opening {}", path.display()))
        };
        let watchdog = Watchdog::get()?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WAIT_FOR_THE_WORD, "sh"])
            .arg(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(append(&self.output)?)
            .stderr(append(&self.errors)?)
            .process_group(0);
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("the child has no standard input")?;
        let process = Process { child, status: None, end_with: self.end_with, errors: self.errors.clone() };
        watchdog.began(process.pid(), self.end_with)?;
        stdin.write_all(b"go\n").context("letting the child begin")?;
        if !self.input.is_empty() {
            let input = self.input.clone();
            // A thread, because a pipe holds only so much; a program need not read all of its input.
            std::thread::spawn(move || stdin.write_all(&input).ok());
        }
        Ok(process)
    }

    /// Runs it to its end, and fails with what it wrote if that is not a success.
    pub async fn run(&self, within: Duration) -> Result<()> {
        let mut process = self.spawn()?;
        let status = process.wait(within).await?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.program.display(), process.last_words());
        }
        Ok(())
    }

    /// The file that standard output goes to.
    pub fn output(&self) -> &Path {
        &self.output
    }
}

/// A child process. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
    end_with: Signal,
    errors: PathBuf,
}

impl Process {
    /// Its id. The program has the same one as the shell it began as.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none()
            && let Some(status) = self.child.try_wait().context("asking after a child")?
        {
            self.status = Some(status);
            Watchdog::get()?.ended(self.child.id())?;
        }
        Ok(self.status)
    }

    /// Sends it a signal; one that has ended gets none.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait()?.is_none() {
            signal::send(self.pid(), signal).with_context(|| format!("sending {}", signal.name()))?;
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("process {} to end", self.pid());
        eventually(&what, within, async || self.try_wait()).await
    }

    /// Kills it and collects it.
    pub fn kill(&mut self) -> Result<()> {
        if self.try_wait()?.is_none() {
            self.child.kill().context("killing a child")?;
            self.status = Some(self.child.wait().context("collecting a child")?);
            Watchdog::get()?.ended(self.child.id())?;
        }
        Ok(())
    }

    /// Fails, quoting its output, if it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended by itself with {status}:\n{}", self.last_words()),
        }
    }

    /// The end of what it wrote to standard error.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.errors).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(QUOTED)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let heeded = self.end_with != Signal::Kill
            && self.signal(self.end_with).is_ok()
            && eventually_blocking(GRACE_WHEN_DROPPED, || {
                self.try_wait().is_ok_and(|status| status.is_some())
            });
        if !heeded && let Err(error) = self.kill() {
            tracing::warn!(%error, pid = self.pid(), "left a process to the watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::TempFolder;
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_program_gets_its_input_and_nothing_of_our_surroundings() {
        let folder = TempFolder::new("process").unwrap();
        let script = ["-c", "cat; env"];
        let launch = Launch::new("env", "sh", folder.path()).args(script).env("A", "b").input("hello\n");
        launch.run(SOON).await.unwrap();
        let text = std::fs::read_to_string(launch.output()).unwrap();
        assert!(text.starts_with("hello\n") && text.contains("\nA=b\n"), "{text}");
        assert!(!text.contains("CARGO") && !text.contains("HOME="), "{text}");
    }

    #[tokio::test]
    async fn a_failing_program_is_quoted() {
        let folder = TempFolder::new("process").unwrap();
        let launch = Launch::new("sad", "sh", folder.path()).args(["-c", "echo alas >&2; exit 3"]);
        let error = launch.run(SOON).await.unwrap_err().to_string();
        assert!(error.contains("alas") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let folder = TempFolder::new("process").unwrap();
        let process = Launch::new("cat", "tail", folder.path()).args(["-f", "/dev/null"]).spawn().unwrap();
        let pid = process.pid();
        assert!(signal::is_running(pid));
        drop(process);
        assert!(!signal::is_running(pid));
    }
}
