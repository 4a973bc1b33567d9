//! The last one out: a small shell process that outlives the test process and cleans up behind it.
//!
//! Promise: every process that was announced here has ended, and the test process's folder is gone, soon after
//! the test process has ended, whether it returned, panicked or was killed. It works by a pipe: the shell reads
//! the announcements from it, and when the kernel closes it, because the test process is no more, it acts.
//! Neither a destructor nor an exit handler would do: statics have no destructors, and `kill -9` runs nothing.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::signal::Signal;

/// Announcements are `began PID SIGNAL` and `ended PID`. At the end each process gets its signal, has three
/// seconds to heed it, and is then killed.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
folder=$1
children=
runs() {
    kill -0 "$1" 2>/dev/null || return 1
    case $(cat "/proc/$1/stat" 2>/dev/null) in *") Z "*) return 1 ;; esac
}
while read -r verb pid signal; do
    case $verb in
    began) children="$children $pid:$signal" ;;
    ended)
        kept=
        for child in $children; do [ "${child%:*}" = "$pid" ] || kept="$kept $child"; done
        children=$kept ;;
    esac
done
for child in $children; do kill "-${child#*:}" "${child%:*}" 2>/dev/null; done
looks=0
while [ $looks -lt 60 ]; do
    left=
    for child in $children; do if runs "${child%:*}"; then left="$left $child"; fi; done
    [ -n "$left" ] || break
    looks=$((looks + 1))
    [ $looks -ne 30 ] || for child in $left; do kill -KILL "${child%:*}" 2>/dev/null; done
    sleep 0.1
done
rm -rf "$folder"
"#;

/// The watchdog of this test process.
#[derive(Debug)]
pub struct Watchdog {
    folder: PathBuf,
    announcements: Mutex<ChildStdin>,
}

impl Watchdog {
    /// The one of this process, started at the first call.
    pub fn get() -> Result<&'static Self> {
        static WATCHDOG: OnceLock<Result<Watchdog, String>> = OnceLock::new();
        WATCHDOG
            .get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|e| anyhow!("{e}"))
    }

    /// The folder in which everything that this test process writes has its place.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on `pid` is ended, first by `signal`, when the test process is gone.
    pub fn began(&self, pid: u32, signal: Signal) -> Result<()> {
        self.announce(&format!("began {pid} {}\n", signal.name()))
    }

    /// `pid` has ended and was collected: its number may soon belong to another process.
    pub fn ended(&self, pid: u32) -> Result<()> {
        self.announce(&format!("ended {pid}\n"))
    }

    fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("postrider-tests-{}", std::process::id()));
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that Ctrl-C ends the tests and not what cleans up behind them.
            .process_group(0)
            .spawn()
            .context("starting the watchdog")?;
        let announcements = shell.stdin.take().context("the watchdog has no standard input")?;
        // A process of the same id may have left a folder in a crash of the whole machine.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // PostgreSQL may run as another user, who must be able to pass through.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, announcements: Mutex::new(announcements) })
    }

    fn announce(&self, line: &str) -> Result<()> {
        let mut pipe = self.announcements.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(line.as_bytes()).context("telling the watchdog")
    }
}
