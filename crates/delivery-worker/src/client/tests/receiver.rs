//! A receiver that says, byte for byte, what a test wants it to say.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_contract::attempt::{AttemptResult, FailureClass, Response};
use postrider_contract::egress::{AddressRule, WebhookUrl};
use postrider_contract::profile::TlsVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::client::{ClientParts, Endpoint, Exchange, HeaderCase, HttpClient, OutgoingRequest};

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a receiver does after a request was read.
#[derive(Clone)]
pub enum Step {
    Say(&'static [u8]),
    SayMany(Vec<u8>),
    /// The same again and again until the other side hangs up.
    Repeat(&'static [u8]),
    /// One byte at a time, a few milliseconds apart, for ever.
    Drip(&'static [u8]),
    /// Nothing more, but the connection stays open.
    Silence,
    /// Nothing more until the test lets it go on.
    Wait(Arc<Semaphore>),
    Close,
}

#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(usize, String)>>>);

impl Seen {
    /// Each request with the number of the connection it came on.
    pub fn requests(&self) -> Vec<(usize, String)> {
        self.0.lock().unwrap().clone()
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    pub seen: Seen,
}

impl Receiver {
    /// `script(connection, request)`, both counted from 0, says what to do with each request.
    pub async fn start(script: impl Fn(usize, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let (script, recorded) = (Arc::new(script), seen.clone());
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, recorded) = (Arc::clone(&script), recorded.clone());
                tokio::spawn(async move {
                    // A client that hangs up early is what several tests are about.
                    let _ended = converse(stream, connection, script.as_ref(), &recorded).await;
                });
            }
        });
        Receiver { address, seen }
    }

    pub async fn saying(steps: Vec<Step>) -> Self {
        Self::start(move |_, _| steps.clone()).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=1", self.address)
    }
}

async fn converse(
    mut stream: TcpStream,
    connection: usize,
    script: &(dyn Fn(usize, usize) -> Vec<Step> + Send + Sync),
    seen: &Seen,
) -> io::Result<()> {
    for request in 0.. {
        let text = read_request(&mut stream).await?;
        seen.0.lock().unwrap().push((connection, text));
        for step in script(connection, request) {
            match step {
                Step::Say(bytes) => stream.write_all(bytes).await?,
                Step::SayMany(bytes) => stream.write_all(&bytes).await?,
                Step::Repeat(bytes) => loop {
                    stream.write_all(bytes).await?;
                },
                Step::Drip(bytes) => loop {
                    stream.write_all(bytes).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                },
                Step::Silence => std::future::pending::<()>().await,
                Step::Wait(open) => open.acquire().await.map_err(io::Error::other)?.forget(),
                Step::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

/// One request with a `Content-Length` body, as text.
pub async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(text);
            }
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&chunk[..count]);
    }
}

pub fn parts() -> ClientParts {
    ClientParts::with_rule(AddressRule::default().with_loopback())
}

pub fn client() -> HttpClient {
    HttpClient::new(parts()).unwrap()
}

pub fn request(url: &str) -> OutgoingRequest {
    let url = WebhookUrl::from_stored(url).unwrap();
    let names = ["Host", "Content-Type", "X-Trcker-Signature", "webhook-id", "Content-Length"];
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(url.authority()).unwrap());
    for (name, value) in [(names[1], "application/json"), (names[2], "t=1,v1=00"), (names[3], "evt_1")] {
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
    }
    OutgoingRequest {
        endpoint: Arc::new(Endpoint::of(&url, TlsVersion::Tls12)),
        method: Method::POST,
        target: url.path_and_query().parse().unwrap(),
        headers,
        case: HeaderCase::of(names),
        body: Bytes::from_static(b"{\"n\":1}"),
        time_limit: Duration::from_secs(20),
    }
}

/// For calls that are meant to run into their limit; long enough to connect on a busy machine.
pub fn hasty(url: &str) -> OutgoingRequest {
    OutgoingRequest { time_limit: Duration::from_millis(800), ..request(url) }
}

pub async fn call(client: &HttpClient, request: OutgoingRequest) -> Exchange {
    client.call(request).await.expect("sockets")
}

pub fn response(exchange: &Exchange) -> &Response {
    match &exchange.result {
        AttemptResult::Response(response) => response,
        AttemptResult::Failure { class, detail } => panic!("{class:?}: {detail}"),
    }
}

pub fn failure(exchange: &Exchange) -> FailureClass {
    match &exchange.result {
        AttemptResult::Response(response) => panic!("{response:?}"),
        AttemptResult::Failure { class, .. } => *class,
    }
}

/// A resolver with a fixed answer; `None` does not resolve.
pub struct FixedResolver(pub Option<Vec<IpAddr>>);

#[async_trait::async_trait]
impl crate::client::Resolver for FixedResolver {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.0.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
