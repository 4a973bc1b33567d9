//! Receivers that behave badly: a process of their own, apart from the healthy one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Child;
use tokio::time::timeout;

use super::super::child::spawn_announcing;

/// Below the time limit of the profile in use, so that it is an answer and not a time-out.
const SLOW_ANSWER: Duration = Duration::from_secs(9);
/// As a receiver in another region answers.
const HOT_ANSWER: Duration = Duration::from_millis(50);
const DRIP_EVERY: Duration = Duration::from_millis(500);
/// One in a hundred of the fleet.
pub const BLACK_HOLES: usize = 100;
/// Connections after which a listener that accepts none answers no more.
const FILL_AT_MOST: usize = 8;
const NO_ANSWER: Duration = Duration::from_millis(200);

/// Runs them until standard input ends.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
    let mut addresses = vec![listener.local_addr().context("asking for the address")?];
    let mut black_holes = Vec::new();
    for _ in 0..BLACK_HOLES {
        let black_hole = BlackHole::open().await?;
        addresses.push(black_hole.address);
        black_holes.push(black_hole);
    }
    println!("{}", addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting")?;
                tokio::spawn(async move {
                    // A connection that breaks is the sender's to notice.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await);
                });
            }
            line = input.next_line() => if line.context("reading")?.is_none() { return Ok(()) },
        }
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    drop(request.into_body().collect().await);
    let mut response = Response::new(Full::default().boxed());
    match path.as_str() {
        "/ordinary" => {}
        "/slow" => tokio::time::sleep(SLOW_ANSWER).await,
        "/hot" => tokio::time::sleep(HOT_ANSWER).await,
        "/drip" => *response.body_mut() = dripping(),
        _ => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    Ok(response)
}

fn dripping() -> Body {
    let (drops, bucket) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while drops.send(Ok(Frame::data(Bytes::from_static(b".")))).await.is_ok() {
            tokio::time::sleep(DRIP_EVERY).await;
        }
    });
    BodyExt::boxed(StreamBody::new(drops_of(bucket)))
}

type Drop = Result<Frame<Bytes>, Infallible>;

fn drops_of(bucket: tokio::sync::mpsc::Receiver<Drop>) -> impl futures_util::Stream<Item = Drop> {
    futures_util::stream::unfold(bucket, async |mut bucket| bucket.recv().await.map(|one| (one, bucket)))
}

/// An address that answers no attempt to connect: a listener that never accepts, and whose queue is full, so that
/// the kernel drops what comes.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _filling: Vec<TcpStream>,
}

impl BlackHole {
    async fn open() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("making a socket")?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("binding a socket")?;
        let listener = socket.listen(0).context("listening")?;
        let address = listener.local_addr().context("asking for the address")?;
        let mut filling = Vec::new();
        while let Ok(connected) = timeout(NO_ANSWER, TcpStream::connect(address)).await {
            filling.push(connected.context("filling a listener's queue")?);
            anyhow::ensure!(
                filling.len() < FILL_AT_MOST,
                "this system's listeners accept without being asked"
            );
        }
        Ok(BlackHole { address, _listener: listener, _filling: filling })
    }
}

/// The process of the bad receivers, ended when this is dropped.
pub struct BadReceivers {
    _child: Child,
    address: SocketAddr,
    black_holes: Vec<SocketAddr>,
}

impl BadReceivers {
    pub async fn spawn() -> anyhow::Result<Self> {
        let (child, line) = spawn_announcing("be-bad-receivers").await?;
        let mut addresses = line
            .split(' ')
            .map(str::parse)
            .collect::<Result<Vec<SocketAddr>, _>>()
            .context("its addresses")?;
        let black_holes = addresses.split_off(1);
        Ok(BadReceivers { _child: child, address: addresses[0], black_holes })
    }

    /// Where the one with this behaviour is.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Where nobody answers.
    pub fn black_hole(&self, number: usize) -> String {
        format!("http://{}/", self.black_holes[number % self.black_holes.len()])
    }
}
