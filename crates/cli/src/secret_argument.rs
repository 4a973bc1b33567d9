//! A secret on a command line: itself, or better where it stands, since every user of a machine sees the arguments of
//! its processes.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::str::FromStr;

use crate::input_file::{InputFileError, place_of, read_input};

/// The longest secret that is read from a file; the longest in use are keys of a few hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A secret as it was given: `@file`, `@-` for standard input, or itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretArgument(String);

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretArgumentError {
    #[error("cannot read the secret in {place}")]
    Unreadable { place: String, source: io::Error },
    #[error("the secret in {place} is longer than {} KiB", MAX_BYTES / 1024)]
    TooLong { place: String },
    #[error("the secret in {place} is not text")]
    NotText { place: String },
    #[error("there is no secret in {place}")]
    Empty { place: String },
}

impl SecretArgument {
    /// The secret. What is read loses the end of its last line, which editors and `echo` add.
    ///
    /// # Errors
    /// When it is elsewhere and cannot be read from there.
    pub fn resolve(self) -> Result<String, SecretArgumentError> {
        let Some(path) = self.0.strip_prefix('@') else { return Ok(self.0) };
        let place = place_of(path).to_owned();
        let bytes = match read_input(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(InputFileError::Unreadable(source)) => {
                return Err(SecretArgumentError::Unreadable { place, source });
            }
            Err(InputFileError::TooLong) => return Err(SecretArgumentError::TooLong { place }),
        };
        let Ok(mut text) = String::from_utf8(bytes) else {
            return Err(SecretArgumentError::NotText { place });
        };
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        if text.is_empty() { Err(SecretArgumentError::Empty { place }) } else { Ok(text) }
    }
}

impl FromStr for SecretArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(SecretArgument(text.to_owned()))
    }
}

impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArgument(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<String, SecretArgumentError> {
        text.parse::<SecretArgument>().expect("never refused").resolve()
    }

    #[test]
    fn a_secret_is_given_as_it_is_or_by_its_file() {
        assert_eq!(resolve("whsec_abc").expect("itself"), "whsec_abc");
        let file = std::env::temp_dir().join(format!("postrider-secret-{}", std::process::id()));
        let given = format!("@{}", file.display());
        std::fs::write(&file, "whsec_abc \n").expect("written");
        assert_eq!(resolve(&given).expect("read"), "whsec_abc ", "only the end of the line goes");
        std::fs::write(&file, "\n").expect("written");
        assert!(matches!(resolve(&given), Err(SecretArgumentError::Empty { .. })));
        std::fs::write(&file, [0xff, 0xfe]).expect("written");
        assert!(matches!(resolve(&given), Err(SecretArgumentError::NotText { .. })));
        std::fs::write(&file, "a".repeat(65 * 1024)).expect("written");
        assert!(matches!(resolve(&given), Err(SecretArgumentError::TooLong { .. })));
        std::fs::remove_file(&file).expect("removed");
        assert!(matches!(resolve(&given), Err(SecretArgumentError::Unreadable { .. })));
    }

    #[test]
    fn a_secret_is_not_shown_by_debugging() {
        let secret: SecretArgument = "whsec_abc".parse().expect("never refused");
        assert!(!format!("{secret:?}").contains("abc"));
    }
}
