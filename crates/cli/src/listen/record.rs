//! Keeps what came in a file, in the form that `profiles check --capture` reads.

use std::fs::File;
use std::io::{self, Write};

use super::report::Received;
use crate::capture::{CapturedRequest, HeaderNames, write_line};

/// A file that grows by a line for each request.
pub(super) struct Record {
    file: File,
}

impl Record {
    /// What is in the file already stays.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &str) -> io::Result<Self> {
        Ok(Record { file: File::options().create(true).append(true).open(path)? })
    }

    /// # Errors
    /// When the disk does not take it.
    pub(super) fn write(&mut self, received: &Received) -> io::Result<()> {
        let line = write_line(&captured(received))?;
        self.file.write_all(line.as_bytes())
    }
}

fn captured(received: &Received) -> CapturedRequest {
    let host = received.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.map(|host| String::from_utf8_lossy(&host.value).into_owned()).unwrap_or_default();
    CapturedRequest {
        number: usize::try_from(received.number).unwrap_or(usize::MAX),
        at: Some(received.at),
        method: received.method.as_str().to_owned(),
        url: format!("http://{host}{}", received.target),
        headers: received.headers.clone(),
        names: HeaderNames::AsSent,
        body: received.body.clone(),
        event: None,
    }
}
