//! The HTTP server of `listen`: one connection, one task; one request at a time on each; everything bounded.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Clock;
use postrider_contract::signature::ReceivedRequest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::behaviour::Behaviour;
use super::checking::{Checking, Verdict, identity};
use super::repeats::Repeats;
use super::report::{BodyShown, Findings, Received};
use crate::table::{Hue, Screen, hue_of};

/// Sixteen times what an event may have.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// A worker's default window is 256 for one webhook.
const MAX_CONNECTIONS: usize = 1_024;
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// After an accept that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Receiver {
    checking: Checking,
    behaviour: Behaviour,
    clock: Arc<dyn Clock>,
    shown: BodyShown,
    book: Mutex<Book>,
    stop: CancellationToken,
}

/// What is printed on, and what is counted: together, so that numbers and lines are in one order.
struct Book {
    screen: Screen,
    repeats: Repeats,
    requests: u64,
    wrong_signatures: u64,
}

impl Receiver {
    pub(super) fn new(
        checking: Checking,
        behaviour: Behaviour,
        clock: Arc<dyn Clock>,
        shown: BodyShown,
        screen: Screen,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let book = Book { screen, repeats: Repeats::default(), requests: 0, wrong_signatures: 0 };
        Arc::new(Receiver { checking, behaviour, clock, shown, book: Mutex::new(book), stop })
    }

    pub(super) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    pub(super) fn say(&self, text: &str) {
        let mut book = self.book();
        self.print(&mut book, text);
    }

    /// Until it is told to stop, or nobody reads what it prints; then says what came.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = accept(&listener, &free) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Some((stream, permit)) => {
                    let receiver = Arc::clone(&self);
                    connections.spawn(async move {
                        receiver.serve_connection(stream).await;
                        drop(permit);
                    });
                }
                None => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        connections.shutdown().await;
        let summary = self.book().summary();
        self.say(&summary);
    }

    async fn serve_connection(self: &Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let receiver = Arc::clone(self);
            async move { Ok::<_, Infallible>(receiver.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served
            && !error.is_incomplete_message()
            && !error.is_timeout()
        {
            self.say(&format!("a connection ended early: {error}"));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let at = self.clock.now();
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                self.say(&format!("a request's body could not be read: {error}"));
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return response;
            }
        };
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| Header {
            name: name.as_str().into(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        let headers = head.headers.iter().map(header).collect();
        let received = Received { number: 0, at, method: head.method, target, headers, body };
        let response = self.behaviour.next_answer();
        self.take(received, &response).await;
        response
    }

    /// Notes and prints a request at once, waits if it is told to, and prints what it is answered with.
    async fn take(&self, mut received: Received, response: &Response<Full<Bytes>>) {
        let answered = answer_text(response);
        let number = {
            let mut book = self.book();
            book.requests += 1;
            received.number = book.requests;
            let mut text = self.report(&received, &mut book);
            if self.behaviour.delay.is_none() {
                let hue = answer_hue(response);
                text.push_str(&format!("    → {}\n", book.screen.paint(hue, &answered)));
            }
            self.print(&mut book, &text);
            received.number
        };
        let Some(delay) = self.behaviour.delay else { return };
        let waiting = Waiting { receiver: self, number, is_over: false };
        tokio::time::sleep(delay).await;
        waiting.over();
        let mut book = self.book();
        let line = book.screen.paint(answer_hue(response), &format!("{answered} after {delay:?}"));
        self.print(&mut book, &format!("#{number}  → {line}\n"));
    }

    fn report(&self, received: &Received, book: &mut Book) -> String {
        let request = ReceivedRequest { headers: &received.headers, body: &received.body };
        let profile = self.checking.profile_of(&received.headers);
        let verdict = self.checking.check(&profile, request, received.at);
        if matches!(verdict, Verdict::Refused(_)) {
            book.wrong_signatures += 1;
        }
        let times = identity(&profile, request).map(|identity| book.repeats.note(&identity));
        let findings = Findings { profile: profile.name().as_str(), verdict: &verdict, times };
        received.text(&findings, self.shown, &book.screen)
    }

    /// When nobody reads any more there is nothing left to do here.
    fn print(&self, book: &mut Book, text: &str) {
        if book.screen.line(text).is_err() {
            self.stop.cancel();
        }
    }

    /// A panic while printing leaves counts that are still usable.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(free).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, permit))
}

/// Tells of a sender that hung up while it was made to wait: hyper drops the answer then.
struct Waiting<'a> {
    receiver: &'a Receiver,
    number: u64,
    is_over: bool,
}

impl Waiting<'_> {
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over && !self.receiver.stop.is_cancelled() {
            self.receiver.say(&format!("#{}  the sender hung up before it was answered\n", self.number));
        }
    }
}

fn answer_text(response: &Response<Full<Bytes>>) -> String {
    let status = response.status();
    let retry_after = response.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = retry_after.map(|seconds| format!(", Retry-After: {seconds}")).unwrap_or_default();
    format!("{status}{wait}")
}

fn answer_hue(response: &Response<Full<Bytes>>) -> Option<Hue> {
    hue_of(if response.status().is_success() { "delivered" } else { "failed" })
}

impl Book {
    fn summary(&self) -> String {
        let count =
            |number: u64, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
        format!(
            "\n{}, {}, {}",
            count(self.requests, "request", "requests"),
            count(self.repeats.distinct(), "distinct event", "distinct events"),
            count(self.wrong_signatures, "wrong signature", "wrong signatures"),
        )
    }
}
