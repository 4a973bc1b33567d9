//! A file system in memory that is soon full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::account::Account;

const CHUNK: usize = 64 * 1024;

/// Mounted until it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// So many MiB at a new place in this folder, for a server that runs as somebody else. `None` where nobody may mount,
    /// which standard error is told.
    pub fn mount(parent: &Path, mebibytes: u32, account: Option<Account>) -> Option<Self> {
        let account = account.context("only the superuser may mount a small file system");
        let mounted = account.and_then(|account| mount(parent, mebibytes, account));
        mounted.inspect_err(|error| eprintln!("not tried: {error:#}")).ok()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn mount(parent: &Path, mebibytes: u32, account: Account) -> Result<SmallDisk> {
    let folder = parent.join("small");
    std::fs::create_dir(&folder)?;
    let options = format!("size={mebibytes}m,uid={},gid={},mode=0700", account.uid, account.gid);
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&folder).output()?;
    anyhow::ensure!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
    Ok(SmallDisk(folder))
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still have files open there.
        Command::new("umount").arg("-l").arg(&self.0).output().ok();
    }
}

/// Takes all the space that is left where this file is, until it is removed.
pub fn take_all_space(path: &Path) -> Result<()> {
    let mut filler = File::create(path).with_context(|| format!("{}", path.display()))?;
    for size in [CHUNK, 4096, 1] {
        loop {
            match filler.write(&vec![0; size]) {
                Ok(written) if written > 0 => {}
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
