//! Files that are named on a command line, `-` for standard input: read whole, and no more of them than anybody needs.

use std::io::{self, Read};

/// Why a file is not there to work with. Whoever asked for it says what it was to be.
#[derive(Debug, thiserror::Error)]
pub enum InputFileError {
    #[error("cannot read it")]
    Unreadable(#[from] io::Error),
    #[error("it is longer than allowed")]
    TooLong,
}

/// What messages call it.
#[must_use]
pub fn place_of(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// # Errors
/// When it cannot be read, or is longer than `limit` bytes, of which it reads one more at the most.
pub fn read_input(path: &str, limit: u64) -> Result<Vec<u8>, InputFileError> {
    let mut bytes = Vec::new();
    if path == "-" {
        io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    }
    let is_whole = u64::try_from(bytes.len()).is_ok_and(|length| length <= limit);
    if is_whole { Ok(bytes) } else { Err(InputFileError::TooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_up_to_its_limit() {
        let file = std::env::temp_dir().join(format!("postrider-input-{}", std::process::id()));
        let path = file.display().to_string();
        std::fs::write(&file, "12345").expect("written");
        assert_eq!(read_input(&path, 5).expect("read"), b"12345");
        assert!(matches!(read_input(&path, 4), Err(InputFileError::TooLong)));
        std::fs::remove_file(&file).expect("removed");
        assert!(matches!(read_input(&path, 5), Err(InputFileError::Unreadable(_))));
    }
}
