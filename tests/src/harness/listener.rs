//! `postrider listen` as a child process: the receiver that users try webhooks out with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::deadline::eventually;
use super::folder::TempFolder;
use super::postrider::binary;
use super::process::{Launch, Process};

/// How long it may take to say something.
const SOON: Duration = Duration::from_secs(30);

/// A running listener on a free port. Dropping it ends it.
#[derive(Debug)]
pub struct Listener {
    _process: Process,
    output: PathBuf,
    url: String,
    folder: TempFolder,
}

impl Listener {
    /// Starts it with these arguments and waits until it listens.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let folder = TempFolder::new("listener")?;
        let launch = Launch::new("listener", binary()?, folder.path())
            .args(["listen", "--port", "0"])
            .args(arguments)
            .env("HOME", folder.path());
        let mut process = launch.spawn()?;
        let output = launch.output().to_owned();
        let url = eventually("the listener to listen", SOON, async || {
            process.ensure_running()?;
            Ok(listened_on(&read(&output)))
        });
        let url = url.await?;
        Ok(Self { _process: process, output, url, folder })
    }

    /// The URL of `path`, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The folder it works in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that it printed so far.
    pub fn printed(&self) -> String {
        read(&self.output)
    }

    /// Waits until it has printed these words.
    pub async fn prints(&self, words: &str) -> Result<()> {
        let what = format!("{words:?} to be printed");
        let seen = eventually(&what, SOON, async || Ok(self.printed().contains(words).then_some(())));
        seen.await.with_context(|| self.printed())
    }
}

fn read(output: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(output).unwrap_or_default()).into_owned()
}

/// Once the whole greeting is there.
fn listened_on(printed: &str) -> Option<String> {
    let (greeting, _) = printed.split_once("register it:")?;
    let url = greeting.split_whitespace().find(|word| word.starts_with("http://"))?;
    Some(url.trim_end_matches(',').to_owned())
}
