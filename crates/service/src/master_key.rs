//! The key under which secrets are encrypted at rest: given by the operator, or made beside the data at first start.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use postrider_contract::clock::Entropy;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

const KEY_BYTES: usize = 32;
/// Longer than any writing of 32 bytes with its line end; keeps us from reading a wrong file whole.
const MAX_FILE_BYTES: u64 = 256;

/// 32 bytes, wiped when dropped and never printed.
#[derive(Clone)]
pub struct MasterKey([u8; KEY_BYTES]);

/// A key that is not 32 bytes in base64 or hexadecimal. Says nothing of what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 32 bytes, written in base64 (44 characters) or hexadecimal (64 characters)")]
pub struct InvalidMasterKey;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("{}: others may read this key file; make it private (chmod 600) and consider the key known", path.display())]
    TooOpen { path: PathBuf },
    #[error("{}: not a master key file", path.display())]
    Invalid { path: PathBuf, source: InvalidMasterKey },
    #[error("{}: cannot read the master key file", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: cannot make the master key file", path.display())]
    Create { path: PathBuf, source: io::Error },
}

impl MasterKey {
    /// A new key.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = MasterKey([0; KEY_BYTES]);
        entropy.fill(&mut key.0);
        key
    }

    /// The key in the file at `path`; a new one, written there with mode 0600, if there is no file. Of two
    /// processes that start together both end with the same key.
    ///
    /// # Errors
    /// When the file is readable by others, holds no key, or cannot be read or made. It is never overwritten.
    pub fn load_or_create(path: &Path, entropy: &dyn Entropy) -> Result<Self, MasterKeyError> {
        match Self::load(path) {
            Err(MasterKeyError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let key = Self::generate(entropy);
                match key.write_new(path, entropy) {
                    Ok(()) => Ok(key),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::load(path),
                    Err(source) => Err(MasterKeyError::Create { path: path.to_owned(), source }),
                }
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, MasterKeyError> {
        let unreadable = |source| MasterKeyError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        // Of the file that was opened, not of whatever the path names by now.
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.mode() & 0o077 != 0 {
            return Err(MasterKeyError::TooOpen { path: path.to_owned() });
        }
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(unreadable)?;
        let parsed = std::str::from_utf8(&text).map_err(|_| InvalidMasterKey).and_then(str::parse);
        parsed.map_err(|source| MasterKeyError::Invalid { path: path.to_owned(), source })
    }

    /// Written whole beside its place and then linked into it: no reader ever sees half a key, and a file that is
    /// there already stays.
    fn write_new(&self, path: &Path, entropy: &dyn Entropy) -> io::Result<()> {
        let mut suffix = [0_u8; 8];
        entropy.fill(&mut suffix);
        let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".{}.new", hex::encode(suffix)));
        let draft = path.with_file_name(name);
        let text = Zeroizing::new(STANDARD.encode(self.0) + "\n");
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::hard_link(&draft, path)
        })();
        let removed = fs::remove_file(&draft);
        written?;
        removed?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The first four bytes of a hash of the key: tells keys apart without telling anything of the key.
    pub(crate) fn id(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(b"postrider master key id\0");
        hash.update(self.0);
        let digest = hash.finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

impl FromStr for MasterKey {
    type Err = InvalidMasterKey;

    fn from_str(text: &str) -> Result<Self, InvalidMasterKey> {
        let text = text.trim();
        // Hexadecimal first: 64 digits would read as base64, too, but of 48 bytes.
        let decoded = hex::decode(text).ok().filter(|bytes| bytes.len() == KEY_BYTES).or_else(|| {
            let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
            engines.iter().find_map(|engine| engine.decode(text).ok())
        });
        let bytes = Zeroizing::new(decoded.ok_or(InvalidMasterKey)?);
        bytes.as_slice().try_into().map(MasterKey).map_err(|_| InvalidMasterKey)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::system::SystemEntropy;

    /// A folder of this test's own, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let mut name = [0_u8; 8];
            SystemEntropy.fill(&mut name);
            let path = std::env::temp_dir().join(format!("postrider-key-{}", hex::encode(name)));
            fs::create_dir(&path).expect("a new folder");
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("our own folder");
        }
    }

    #[test]
    fn a_key_is_read_in_base64_and_in_hexadecimal() {
        let hexadecimal: MasterKey = "ab".repeat(32).parse().expect("a key");
        for text in [STANDARD.encode([0xab; 32]), URL_SAFE_NO_PAD.encode([0xab; 32]) + "\n"] {
            assert_eq!(text.parse::<MasterKey>().expect("a key").0, hexadecimal.0);
        }
        for text in ["", "short", &"ab".repeat(31), &STANDARD.encode([0; 33]), "%".repeat(44).as_str()] {
            assert_eq!(text.parse::<MasterKey>().expect_err("not a key"), InvalidMasterKey);
        }
        assert_eq!(format!("{hexadecimal:?}"), "MasterKey(***)");
    }

    #[test]
    fn a_key_is_made_once_private_and_found_again() {
        let folder = Folder::new();
        let path = folder.0.join("master.key");
        let made = MasterKey::load_or_create(&path, &SystemEntropy).expect("made");
        let found = MasterKey::load_or_create(&path, &SystemEntropy).expect("found");
        assert_eq!(made.0, found.0);
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1, "no draft is left behind");
    }

    #[test]
    fn many_that_start_together_end_with_one_key() {
        let folder = Folder::new();
        let path = folder.0.join("master.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| MasterKey::load_or_create(&path, &SystemEntropy))).collect();
            starts.into_iter().map(|start| start.join().expect("no panic").expect("a key").0).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_key_file_open_to_others_or_without_a_key_is_refused_and_kept() {
        let folder = Folder::new();
        let path = folder.0.join("master.key");
        fs::write(&path, "not a key").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode set");
        let refused = MasterKey::load_or_create(&path, &SystemEntropy);
        assert!(matches!(refused, Err(MasterKeyError::TooOpen { .. })), "{refused:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode set");
        let refused = MasterKey::load_or_create(&path, &SystemEntropy);
        assert!(matches!(refused, Err(MasterKeyError::Invalid { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).expect("still there"), b"not a key");
        let nowhere = MasterKey::load_or_create(&folder.0.join("none/master.key"), &SystemEntropy);
        assert!(matches!(nowhere, Err(MasterKeyError::Create { .. })), "{nowhere:?}");
    }
}
