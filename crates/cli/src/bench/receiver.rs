//! The receiver: a process of its own, so that its CPU can be told apart. Answers 200 at once and counts; or fails
//! the first tries of what comes to a path, and looks how punctually the next ones come.

mod arrivals;
mod process;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use self::arrivals::Counts;
pub use self::arrivals::{Arrivals, FailingPath, Lateness};
pub use self::process::BenchReceiver;

/// Runs the receiver in this process until its standard input ends: its parent is gone then.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
    println!("{}", listener.local_addr().context("asking for the address")?);
    let counts = Arc::new(Mutex::new(Counts::new(Vec::new())?));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting")?;
                tokio::spawn(serve_connection(stream, Arc::clone(&counts)));
            }
            line = input.next_line() => if line.context("reading")?.is_none() { return Ok(()) },
        }
    }
}

async fn serve_connection(stream: TcpStream, counts: Arc<Mutex<Counts>>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| answer(request, Arc::clone(&counts)));
    // A connection that breaks is the sender's to notice.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    counts: Arc<Mutex<Counts>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, text) = match target.as_str() {
        "/arrivals" => (StatusCode::OK, serde_json::to_vec(&counts.arrivals()).unwrap_or_default()),
        "/lateness" => (StatusCode::OK, serde_json::to_vec(&counts.lateness()).unwrap_or_default()),
        "/forget" => (forget(&mut counts, &body), Vec::new()),
        _ => (counts.note(&target, &body, Instant::now()), Vec::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

/// Begins anew; the body lists the paths that fail.
fn forget(counts: &mut Counts, body: &[u8]) -> StatusCode {
    let Ok(failing) = serde_json::from_slice(body) else { return StatusCode::BAD_REQUEST };
    match Counts::new(failing) {
        Ok(fresh) => {
            *counts = fresh;
            StatusCode::OK
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
