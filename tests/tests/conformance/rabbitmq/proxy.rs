//! A proxy between an engine and its broker, which can cut, refuse, and fall silent.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Passing,
    /// The broker's answers are kept back; connections stay open.
    Silent,
    /// Connections are cut, and new ones as soon as they come.
    Refusing,
}

pub struct Proxy {
    url: String,
    mood: Arc<watch::Sender<Mood>>,
    /// Counts cuts: a connection that is older than the newest cut ends.
    cuts: Arc<watch::Sender<u32>>,
    /// Counts swallowings: a connection that is older than the newest gets no more answers, ever.
    swallowings: Arc<watch::Sender<u32>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    /// In front of the broker that `url` names.
    pub async fn before(url: &str) -> Proxy {
        let (head, rest) = url.split_once('@').expect("user and host");
        let (broker, vhost) = rest.split_once('/').expect("host and virtual host");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("{head}@{}/{vhost}", listener.local_addr().expect("its address"));
        let (mood, cuts) = (Arc::new(watch::Sender::new(Mood::Passing)), Arc::new(watch::Sender::new(0)));
        let swallowings = Arc::new(watch::Sender::new(0));
        let way = Way {
            broker: broker.to_owned(),
            mood: Arc::clone(&mood),
            cuts: Arc::clone(&cuts),
            swallowings: Arc::clone(&swallowings),
        };
        let accepting = accept(listener, way);
        Proxy { url, mood, cuts, swallowings, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Cuts what is open; new connections pass.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn fall_silent(&self) {
        self.mood.send_replace(Mood::Silent);
    }

    /// What is open stays open, and whatever the broker says on it from now on is lost; new connections pass.
    pub fn swallow(&self) {
        self.swallowings.send_modify(|swallowings| *swallowings += 1);
    }

    pub fn refuse(&self) {
        self.mood.send_replace(Mood::Refusing);
        self.cut();
    }

    pub fn pass(&self) {
        self.mood.send_replace(Mood::Passing);
    }
}

/// What every connection is subject to.
struct Way {
    broker: String,
    mood: Arc<watch::Sender<Mood>>,
    cuts: Arc<watch::Sender<u32>>,
    swallowings: Arc<watch::Sender<u32>>,
}

async fn accept(listener: TcpListener, way: Way) {
    let Way { broker, mood, cuts, swallowings } = way;
    while let Ok((client, _)) = listener.accept().await {
        if *mood.borrow() == Mood::Refusing {
            continue;
        }
        let Ok(server) = TcpStream::connect(&broker).await else {
            continue;
        };
        let (mut cut, mood, swallowed) = (cuts.subscribe(), mood.subscribe(), swallowings.subscribe());
        tokio::spawn(async move {
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            tokio::select! {
                () = pump(client_reads, server_writes, None) => {}
                () = pump(server_reads, client_writes, Some((mood, swallowed))) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held_up: Option<(watch::Receiver<Mood>, watch::Receiver<u32>)>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        if let Some((mood, swallowed)) = &mut held_up {
            if mood.wait_for(|mood| *mood != Mood::Silent).await.is_err() {
                return;
            }
            // Never marked as seen, so this holds for the rest of the connection.
            if swallowed.has_changed().unwrap_or(true) {
                continue;
            }
        }
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
