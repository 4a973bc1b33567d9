//! Which RabbitMQ is at the other end.
//!
//! A broker says so in the first frame of a connection, `connection.start`, which the client library keeps to
//! itself. So the first frame is asked for once more, on a socket of its own, before the first connection. Over
//! TLS this is left out: an older broker then fails at the first queue that it cannot declare.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// A frame's type, channel and payload size.
const FRAME_HEADER: usize = 7;
/// The frame is some 500 bytes; a peer that announces more than this is no broker.
const LONGEST_START: usize = 16 * 1024;
/// The `version` field of the server's properties: short string, then the mark of a long string.
const FIELD: &[u8] = b"\x07versionS";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// The first with TTL and at-least-once dead-lettering on quorum queues.
    pub const NEEDED: Version = Version { major: 3, minor: 10 };

    pub(crate) fn parse(text: &str) -> Option<Version> {
        let mut numbers = text.split(['.', '-', '+']);
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Version { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Asks the broker at `host:port`; `Ok(None)` if it answered but did not say.
///
/// # Errors
/// When nothing there speaks AMQP within `limit`.
pub(crate) async fn ask_version(host: &str, port: u16, limit: Duration) -> io::Result<Option<Version>> {
    tokio::time::timeout(limit, read_version(host, port)).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")))
    })
}

async fn read_version(host: &str, port: u16) -> io::Result<Option<Version>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(PROTOCOL_HEADER).await?;
    let mut header = [0_u8; FRAME_HEADER];
    stream.read_exact(&mut header).await.map_err(|_| not_amqp())?;
    let [kind, _, _, size @ ..] = header;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if kind != 1 || size > LONGEST_START {
        return Err(not_amqp());
    }
    let mut payload = vec![0_u8; size];
    stream.read_exact(&mut payload).await.map_err(|_| not_amqp())?;
    Ok(find_version(&payload))
}

fn not_amqp() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what listens there does not speak AMQP 0-9-1")
}

fn find_version(start: &[u8]) -> Option<Version> {
    let at = start.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let (size, rest) = start.get(at..)?.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    Version::parse(std::str::from_utf8(rest.get(..size)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_among_the_servers_properties() {
        let mut start =
            b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x30\x07productS\x00\x00\x00\x08RabbitMQ".to_vec();
        start.extend_from_slice(b"\x07versionS\x00\x00\x00\x063.10.8\x00\x00\x00\x05PLAIN");
        assert_eq!(find_version(&start), Some(Version { major: 3, minor: 10 }));
        assert_eq!(find_version(b"\x07versionS\x00\x00\x00\xff3.10"), None);
        assert_eq!(find_version(b""), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        for (text, enough) in [
            ("3.9.29", false),
            ("3.10.0", true),
            ("3.13.7+1.g1", true),
            ("4.1.0-rc.1", true),
            ("2.99", false),
        ] {
            let version = Version::parse(text).expect("a version");
            assert_eq!(version >= Version::NEEDED, enough, "{text}");
        }
        assert_eq!(Version::parse("new"), None);
    }
}
