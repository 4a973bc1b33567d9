//! One HTTP/1.1 connection, driven by the task of the try that uses it.
//!
//! hyper splits a connection into a sender and a future that does the reading and writing. The future is polled
//! here, beside whatever the try waits for, so a connection costs no task of its own and no hand-over between
//! threads. While it is idle nobody polls it; [`Connection::is_usable`] does so once before it is used again, and
//! sees then if the receiver has closed it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postrider_contract::attempt::{BodyExtent, MAX_KEPT_BODY};
use tokio::time::Instant;

use super::stream::{FirstByte, Stream};

/// The most bytes a response's head may take. It may have 100 headers: that is hyper's own bound, which it checks on
/// the stack; a bound that is set, to the same number even, costs two allocations to a response.
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

type Driver = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// Why no response head came.
#[derive(Debug)]
pub enum SendFailure {
    /// The connection had ended before a byte of the request was written: nothing was sent.
    Unsent(Box<Request<Full<Bytes>>>),
    /// Some of it may have arrived.
    Sent(hyper::Error),
}

#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    first_byte: Arc<FirstByte>,
    address: SocketAddr,
    opened: Instant,
}

impl Connection {
    /// # Errors
    /// hyper's, of which it has none here today.
    pub async fn open(
        stream: Stream,
        first_byte: Arc<FirstByte>,
        address: SocketAddr,
    ) -> Result<Self, hyper::Error> {
        let (sender, driver) =
            http1::Builder::new().max_buf_size(MAX_RESPONSE_HEAD).handshake(TokioIo::new(stream)).await?;
        let driver = Some(Box::pin(driver));
        Ok(Connection { sender, driver, first_byte, address, opened: Instant::now() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// When the first byte of the answer came.
    pub fn first_byte(&self) -> Option<Instant> {
        self.first_byte.seen()
    }

    /// Whether the connection can take a request: still open, nothing left over from the last one.
    pub async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            Poll::Ready(self.driver.is_some() && self.sender.is_ready())
        })
        .await
    }

    /// Sends a request and waits for the response's head.
    ///
    /// # Errors
    /// When the connection ends first, or what comes back is not HTTP/1.1 within its limits.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendFailure> {
        self.first_byte.rearm();
        let mut response = std::pin::pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let answered = poll_fn(|cx| {
            drive(driver, cx);
            response.as_mut().poll(cx)
        });
        answered.await.map_err(|mut failure| match failure.take_message() {
            Some(request) => SendFailure::Unsent(Box::new(request)),
            None => SendFailure::Sent(failure.into_error()),
        })
    }

    /// Reads what is kept of a body into `kept`, which stays valid if this is cancelled.
    pub async fn read_body(&mut self, body: &mut Incoming, kept: &mut BytesMut) -> BodyExtent {
        loop {
            let driver = &mut self.driver;
            let frame = poll_fn(|cx| {
                if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                drive(driver, cx);
                Pin::new(&mut *body).poll_frame(cx)
            });
            match frame.await {
                None => return BodyExtent::Whole,
                Some(Err(_)) => return BodyExtent::CutOff,
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let room = MAX_KEPT_BODY - kept.len();
                    kept.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        return BodyExtent::Truncated;
                    }
                }
            }
        }
    }
}

/// Reads and writes what can be; drops the connection once it has ended, so that whoever waits for it is told.
fn drive(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}
