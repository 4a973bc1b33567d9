//! Carrying out a behaviour on a connection.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncWrite};

use super::behaviour::Behaviour;
use super::request::Wire;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It serves the next request.
    Keep,
    /// It is closed.
    Close,
}

/// How much a dripping body promises, in bytes: more than anyone waits for.
const DRIPPED: usize = 1024 * 1024;

/// Answers one request of the given method.
pub async fn give<S>(wire: &mut Wire<S>, method: &str, behaviour: Behaviour) -> Result<After>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut behaviour = behaviour;
    loop {
        behaviour = match behaviour {
            Behaviour::Respond { status, headers, body } => {
                let mut answer = head(status, &headers);
                // These two have no body, and must not say how long it is.
                if status != 204 && status >= 200 {
                    answer.push_str(&format!("Content-Length: {}\r\n", body.len()));
                }
                let mut answer = (answer + "\r\n").into_bytes();
                if method != "HEAD" && status != 204 && status != 304 {
                    answer.extend_from_slice(&body);
                }
                wire.write(&answer).await?;
                return Ok(After::Keep);
            }
            Behaviour::Delay { wait, then } => {
                if tokio::time::timeout(wait, wire.closed()).await.is_ok() {
                    return Ok(After::Close);
                }
                *then
            }
            Behaviour::Wait { gate, then } => {
                tokio::select! {
                    () = gate.passed() => {}
                    () = wire.closed() => return Ok(After::Close),
                }
                *then
            }
            Behaviour::DripHeaders { beat } => {
                wire.write(head(200, &[]).as_bytes()).await?;
                drip(wire, beat, b"X-Drop: 0123456789\r\n", usize::MAX).await?;
                return Ok(After::Close);
            }
            Behaviour::DripBody { beat } => {
                wire.write(format!("{}Content-Length: {DRIPPED}\r\n\r\n", head(200, &[])).as_bytes()).await?;
                drip(wire, beat, b".", DRIPPED).await?;
                return Ok(After::Close);
            }
            Behaviour::CloseBeforeStatus => return Ok(After::Close),
            Behaviour::CloseMidBody { sent, promised } => {
                let mut answer = format!("{}Content-Length: {promised}\r\n\r\n", head(200, &[])).into_bytes();
                answer.resize(answer.len() + sent, b'.');
                wire.write(&answer).await?;
                return Ok(After::Close);
            }
            Behaviour::EndlessBody => {
                wire.write(format!("{}Transfer-Encoding: chunked\r\n\r\n", head(200, &[])).as_bytes())
                    .await?;
                let chunk = [b"1000\r\n".as_slice(), &[b'.'; 0x1000], b"\r\n"].concat();
                loop {
                    wire.write(&chunk).await?;
                }
            }
            Behaviour::HeaderBomb { bytes } => {
                wire.write(header_bomb(bytes).as_bytes()).await?;
                return Ok(After::Keep);
            }
            Behaviour::Raw(bytes) => {
                wire.write(&bytes).await?;
                return Ok(After::Close);
            }
            Behaviour::Hang => {
                wire.closed().await;
                return Ok(After::Close);
            }
            Behaviour::InTurn { .. } | Behaviour::FirstOfEach { .. } => {
                bail!("a behaviour that counts requests stands inside another")
            }
        };
    }
}

/// An answer without a body whose headers have at least so many bytes.
fn header_bomb(bytes: usize) -> String {
    let mut answer = head(200, &[]);
    let start = answer.len();
    let mut number = 0;
    while answer.len() - start < bytes {
        answer.push_str(&format!("X-Fragment-{number}: {:.>1000}\r\n", ""));
        number += 1;
    }
    answer + "Content-Length: 0\r\n\r\n"
}

/// A status line and these headers, without the empty line that ends them.
fn head(status: u16, headers: &[(String, String)]) -> String {
    let reason =
        http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("-");
    let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text
}

/// Writes `pattern` over and over, a byte at each beat, `count` bytes in all or until the client is gone.
async fn drip<S>(wire: &mut Wire<S>, beat: Duration, pattern: &[u8], count: usize) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for byte in pattern.iter().cycle().take(count) {
        if tokio::time::timeout(beat, wire.closed()).await.is_ok() {
            break;
        }
        wire.write(&[*byte]).await?;
    }
    Ok(())
}
