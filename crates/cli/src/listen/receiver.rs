//! The HTTP server of `listen`: one connection, one task; one request at a time on each; everything bounded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postrider_contract::clock::Clock;
use postrider_contract::signature::ReceivedRequest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::behaviour::Behaviour;
use super::checking::{Checking, Verdict, identity};
use super::head_tap::HeadTap;
use super::record::Record;
use super::repeats::Repeats;
use super::replay::{Replay, not_answered};
use super::report::{BodyShown, Findings, Received};
use crate::table::{Hue, Screen, printable};

/// Sixteen times what an event may have.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// A worker's default window is 256 for one webhook.
const MAX_CONNECTIONS: usize = 1_024;
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// After an accept that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener does with a request, beside printing it.
pub(super) struct Duties {
    pub(super) checking: Checking,
    pub(super) behaviour: Behaviour,
    /// Answers in place of the behaviour, which only delays it then.
    pub(super) replay: Option<Replay>,
    pub(super) record: Option<Record>,
    pub(super) shown: BodyShown,
}

pub(super) struct Receiver {
    checking: Checking,
    behaviour: Behaviour,
    replay: Option<Replay>,
    shown: BodyShown,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    stop: CancellationToken,
}

/// What is printed on and written to, and what is counted: together, so that numbers and lines are in one order.
struct Book {
    screen: Screen,
    record: Option<Record>,
    repeats: Repeats,
    requests: u64,
    wrong_signatures: u64,
}

impl Receiver {
    pub(super) fn new(
        duties: Duties,
        clock: Arc<dyn Clock>,
        screen: Screen,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let Duties { checking, behaviour, replay, record, shown } = duties;
        let book = Book { screen, record, repeats: Repeats::default(), requests: 0, wrong_signatures: 0 };
        Arc::new(Receiver { checking, behaviour, replay, shown, clock, book: Mutex::new(book), stop })
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
        let tap = HeadTap::default();
        let stream = TokioIo::new(tap.on(stream));
        let service = service_fn(|request| {
            let (receiver, tap) = (Arc::clone(self), tap.clone());
            async move { receiver.answer(request, &tap).await.into_response() }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            // Remembered, so that a request is replayed with its names as they were written.
            .preserve_header_case(true)
            .serve_connection(stream, service)
            .await;
        if let Err(error) = served
            && !error.is_incomplete_message()
            && !error.is_timeout()
            // Of those that are closed as they were told to be it was said already.
            && !error.is_user()
        {
            self.say(&format!("a connection ended early: {error}"));
        }
    }

    async fn answer(&self, request: Request<Incoming>, tap: &HeadTap) -> Answer {
        let at = self.clock.now();
        let (head, body) = request.into_parts();
        let headers = tap.headers(&head.headers);
        let body = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                self.say(&format!("a request's body could not be read: {error}"));
                return Answer::new(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new());
            }
        };
        tap.reopen();
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let received = Received { number: 0, at, method: head.method, target, headers, body };
        self.take(received, head.extensions).await
    }

    /// Notes and prints a request at once, waits if it is told to, and prints what it is answered with. `case` is how
    /// the names of the headers were written.
    async fn take(&self, mut received: Received, case: Extensions) -> Answer {
        let answer = self.note(&mut received);
        let number = received.number;
        let waiting = Waiting { receiver: self, number, is_over: false };
        if let Some(delay) = self.behaviour.delay {
            tokio::time::sleep(delay).await;
        }
        let Some(replay) = &self.replay else {
            waiting.over();
            if let Some(delay) = self.behaviour.delay {
                self.say_answered(number, answer.hue(), &format!("{answer} after {delay:?}"));
            }
            return answer;
        };
        let replayed = replay.send(&received, case).await;
        waiting.over();
        let url = printable(replay.url());
        match replayed {
            Ok(answer) => {
                self.say_answered(number, answer.hue(), &format!("replayed to {url}: {answer}"));
                answer
            }
            Err(why) => {
                let answer = not_answered();
                let text = format!("replayed to {url}, which {}: {answer}", printable(&why));
                self.say_answered(number, answer.hue(), &text);
                answer
            }
        }
    }

    /// Gives a request its number, prints and keeps it, and draws its answer.
    fn note(&self, received: &mut Received) -> Answer {
        let mut book = self.book();
        book.requests += 1;
        received.number = book.requests;
        let (mut text, times) = self.report(received, &mut book);
        let answer = self.behaviour.next_answer(times);
        if self.behaviour.delay.is_none() && self.replay.is_none() {
            text.push_str(&format!("    → {}\n", book.screen.paint(answer.hue(), &answer.to_string())));
        }
        let kept = book.record.as_mut().map(|record| record.write(received));
        if let Some(Err(error)) = kept {
            // Said once; what is in the file is whole.
            book.record = None;
            text.push_str(&format!("    cannot record it, nor what comes after it: {error}\n"));
        }
        self.print(&mut book, &text);
        answer
    }

    fn say_answered(&self, number: u64, hue: Option<Hue>, answered: &str) {
        let mut book = self.book();
        let line = book.screen.paint(hue, answered);
        self.print(&mut book, &format!("#{number}  → {line}\n"));
    }

    /// What there is to say, and how often its delivery has come.
    fn report(&self, received: &Received, book: &mut Book) -> (String, Option<u64>) {
        let query = received.target.split_once('?').map_or("", |(_, query)| query);
        let request = ReceivedRequest { headers: &received.headers, query, body: &received.body };
        let profile = self.checking.profile_of(&received.headers);
        let verdict = self.checking.check(&profile, request, received.at);
        if matches!(verdict, Verdict::Refused(_)) {
            book.wrong_signatures += 1;
        }
        let times = identity(&profile, request).map(|identity| book.repeats.note(&identity));
        let findings = Findings { profile: profile.name().as_str(), verdict: &verdict, times };
        (received.text(&findings, self.shown, &book.screen), times)
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
