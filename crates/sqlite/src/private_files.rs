//! Folders and files for this user alone: they hold payloads, hashes of keys and sealed secrets.
//!
//! Modes are given when something is made, so that there is no moment at which others could open it, whatever the
//! process's umask. What is there already keeps its mode: its owner may have opened it to a group on purpose.
//! SQLite gives a `-wal` and a `-shm` the mode of the file they belong to.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes a folder, and those above it that are missing.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Makes an empty file, which to SQLite is a new database; one that is there stays as it is.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a file for writing, made if it is not there.
pub(crate) fn open_or_make(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)
}
