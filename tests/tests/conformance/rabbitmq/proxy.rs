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
        let accepting = accept(listener, broker.to_owned(), Arc::clone(&mood), Arc::clone(&cuts));
        Proxy { url, mood, cuts, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) }
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

    pub fn refuse(&self) {
        self.mood.send_replace(Mood::Refusing);
        self.cut();
    }

    pub fn pass(&self) {
        self.mood.send_replace(Mood::Passing);
    }
}

async fn accept(
    listener: TcpListener,
    broker: String,
    mood: Arc<watch::Sender<Mood>>,
    cuts: Arc<watch::Sender<u32>>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *mood.borrow() == Mood::Refusing {
            continue;
        }
        let Ok(server) = TcpStream::connect(&broker).await else {
            continue;
        };
        let (mut cut, mood) = (cuts.subscribe(), mood.subscribe());
        tokio::spawn(async move {
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            tokio::select! {
                () = pump(client_reads, server_writes, None) => {}
                () = pump(server_reads, client_writes, Some(mood)) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mood: Option<watch::Receiver<Mood>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(size @ 1..) = from.read(&mut buffer).await {
        if let Some(mood) = &mut mood
            && mood.wait_for(|mood| *mood != Mood::Silent).await.is_err()
        {
            return;
        }
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}
