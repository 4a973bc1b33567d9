//! A server that answers as it is told to, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::client::{Connection, Output};

/// What was asked.
pub(super) struct Asked {
    /// `POST /v1/events?…`
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Default)]
struct State {
    answers: VecDeque<(u16, &'static str)>,
    asked: Vec<Asked>,
}

pub(super) struct FakeApi {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

impl FakeApi {
    /// Answers in this order; the last again and again.
    pub(super) async fn answering(answers: &[(u16, &'static str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state =
            Arc::new(Mutex::new(State { answers: answers.iter().copied().collect(), asked: Vec::new() }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        FakeApi { url, state }
    }

    pub(super) fn connection(&self) -> Connection {
        Connection {
            url: Some(self.url.clone()),
            key: Some("pk_test".to_owned()),
            tenant: Some("acme".to_owned()),
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().expect("no panic").asked)
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let mut state = state.lock().expect("no panic");
    state.asked.push(Asked { line: format!("{} {}", head.method, head.uri), headers: head.headers, body });
    let (status, text) = match state.answers.len() {
        1 => state.answers[0],
        _ => state.answers.pop_front().expect("an answer"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status.try_into().expect("a status");
    Ok(response)
}

/// What a command printed.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A command line, as it would be typed, against a server.
#[derive(clap::Parser)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: crate::client::ClientCommand,
}
