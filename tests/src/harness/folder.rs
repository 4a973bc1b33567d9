//! Temporary folders: removed when dropped, and by the watchdog if it never comes to that.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::watchdog::Watchdog;

/// A fresh, empty folder that exists for as long as this value.
#[derive(Debug)]
pub struct TempFolder(PathBuf);

impl TempFolder {
    /// `name` is for the reader of a listing; a number makes it unique.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Watchdog::get()?.folder().join(format!("{name}-{number}"));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            // The watchdog removes what is left; a test must not fail for it, nor panic while it unwinds.
            tracing::debug!(%error, folder = %self.0.display(), "left a folder to the watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lasts_as_long_as_its_value() {
        let folder = TempFolder::new("folder").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(folder.join("file"), "content").unwrap();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
