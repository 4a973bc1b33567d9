//! `listen`: a receiver on this machine, for trying webhooks out.
//!
//! Prints each request as a person reads it, checks its signature as a receiver of the profile would, from the
//! profile's own data, recognises repeats, and answers as it is told to: at once, late, with an error, by chance, drop by
//! drop, half-way, not at all, or as another server does.

mod answer;
mod behaviour;
mod checking;
mod head_tap;
mod pretty;
mod receiver;
mod record;
mod repeats;
mod replay;
mod report;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use http::{HeaderValue, StatusCode};
use postrider_contract::profile::{HeaderName, Span};
use postrider_service::system::{SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::secret_argument::SecretArgument;
use crate::table::{Screen, printable};
use answer::Way;
use behaviour::{Behaviour, FailRate};
use checking::Checking;
use receiver::{Duties, Receiver};
use record::Record;
use replay::Replay;
use report::BodyShown;

/// Receives webhooks on this machine: prints each request and checks its signature
///
/// The profile is found out by the headers, unless --profile names one. Without
/// --secret signatures are not checked. To see retries, let it misbehave.
///
/// What came is kept with --record, for `postrider profiles check --capture`, or
/// sent on with --replay-to, as it came, to a server that is to answer it.
///
/// Examples:
///   postrider listen
///   postrider listen --secret whsec_… --port 9001
///   postrider listen --respond 500                      every request fails
///   postrider listen --respond 429 --retry-after 5s     … and says when to come back
///   postrider listen --respond 503 --recover-after 2    the third try of each is taken
///   postrider listen --fail-rate 0.3 --delay 2s         slow, and fails by chance
///   postrider listen --drip 1s                          a body that takes for ever
///   postrider listen --close half-way                   … or breaks off
///   postrider listen --redirect https://example.com/    sends the sender elsewhere
///   postrider listen --replay-to http://127.0.0.1:3000  looks on while that one answers
///   postrider listen --record captured.json             keeps what another sender sends
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Listen {
    /// Where to listen; 0 takes any free port
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on; 0.0.0.0 for every address of this machine
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The webhook's signing secret, as it was shown when it was registered, or its public key (whpk_…): itself, @file,
    /// or @- for standard input; may be repeated
    #[arg(long = "secret", value_name = "SECRET|@FILE")]
    secrets: Vec<SecretArgument>,
    /// The delivery contract: a built-in profile's name, or a profile's file (.toml, .json)
    #[arg(long)]
    profile: Option<String>,
    /// The name that the webhook chose for the signature's header
    #[arg(long, value_name = "NAME", requires = "profile")]
    signature_header: Option<HeaderName>,
    /// Adds every request to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    record: Option<String>,
    /// Prints bodies whole, not just their beginning
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    misbehaving: Misbehaving,
}

/// How requests are answered.
#[derive(clap::Args)]
#[command(next_help_heading = "Answers")]
struct Misbehaving {
    /// The status code to answer with (default: 200, with --redirect 302)
    #[arg(long, value_name = "STATUS", value_parser = behaviour::parse_status)]
    respond: Option<StatusCode>,
    /// The body to answer with
    #[arg(long, default_value = "")]
    body: String,
    /// How long to wait before answering: 500ms, 10s
    #[arg(long, value_name = "DURATION")]
    delay: Option<Span>,
    /// How many of the requests are answered with 500 instead, by chance: 0 to 1
    #[arg(long, value_name = "SHARE")]
    fail_rate: Option<FailRate>,
    /// Sends Retry-After with every answer that is not a success
    #[arg(long, value_name = "DURATION")]
    retry_after: Option<Span>,
    /// Answers with a redirect to this URL
    #[arg(long, value_name = "URL", value_parser = behaviour::parse_location)]
    redirect: Option<HeaderValue>,
    /// Sends the answer's head at once, and its body byte by byte, with so long before each
    #[arg(long, value_name = "DURATION", conflicts_with = "close")]
    drip: Option<Span>,
    /// Closes the connection before it answers, or half-way through the answer's body
    #[arg(long, value_enum, value_name = "WHEN")]
    close: Option<Closing>,
    /// Answers so many tries of each delivery like this, and all later ones with 200
    #[arg(long, value_name = "TRIES")]
    recover_after: Option<u64>,
    /// Sends each request on to this server, as it came, and answers as it does; without a path of its own the URL
    /// gets the one that was asked for
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["respond", "body", "fail_rate", "retry_after", "redirect", "drip", "close", "recover_after"]
    )]
    replay_to: Option<Replay>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Before,
    HalfWay,
}

impl Misbehaving {
    /// # Errors
    /// What does not go together.
    fn behaviour(self) -> anyhow::Result<Behaviour> {
        let ordinary = if self.redirect.is_some() { StatusCode::FOUND } else { StatusCode::OK };
        let way = match (self.drip, self.close) {
            (Some(pause), _) => Way::Dripping(pause.duration()),
            (None, Some(Closing::Before)) => Way::ClosedBefore,
            (None, Some(Closing::HalfWay)) => Way::ClosedHalfDone,
            (None, None) => Way::AtOnce,
        };
        let behaviour = Behaviour {
            status: self.respond.unwrap_or(ordinary),
            body: self.body.into(),
            delay: self.delay.map(Span::duration),
            fail_rate: self.fail_rate,
            retry_after: self.retry_after.map(Span::duration),
            redirect: self.redirect,
            way,
            recover_after: self.recover_after,
            entropy: Arc::new(SystemEntropy),
        };
        behaviour.check().map_err(anyhow::Error::msg)?;
        Ok(behaviour)
    }
}

impl Listen {
    /// Listens until Ctrl-C (or SIGTERM), then says what came.
    ///
    /// # Errors
    /// When the secret or the profile is not usable, or the port cannot be had.
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            asked_to_stop().await;
            stopping.cancel();
        });
        self.run_until(stop, Screen::stdout()).await
    }

    async fn run_until(mut self, stop: CancellationToken, screen: Screen) -> anyhow::Result<()> {
        let shown = if self.full { BodyShown::Whole } else { BodyShown::Excerpt };
        let secrets = self.secrets.into_iter().map(SecretArgument::resolve).collect::<Result<_, _>>();
        let secrets = secrets.context("--secret")?;
        let record = self.record.map(|path| Record::open(&path).with_context(|| format!("--record {path}")));
        let replay = self.misbehaving.replay_to.take();
        let duties = Duties {
            checking: Checking::new(self.profile.as_deref(), secrets, self.signature_header)?,
            behaviour: self.misbehaving.behaviour()?,
            replay,
            record: record.transpose()?,
            shown,
        };
        let listener = bind(&self.host, self.port).await?;
        let address = listener.local_addr().context("cannot tell the address listened on")?;
        let greeting = greeting(address, &duties);
        let receiver = Receiver::new(duties, Arc::new(SystemClock), screen, stop);
        receiver.say(&greeting);
        receiver.serve(listener).await;
        Ok(())
    }
}

fn greeting(address: SocketAddr, duties: &Duties) -> String {
    // An address that means "all of them" cannot be called; this machine can be called by the loopback.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { url_host(address) };
    let url = format!("http://{host}:{}", address.port());
    let answering = match &duties.replay {
        Some(replay) => format!("as {} does", printable(replay.url())),
        None => duties.behaviour.to_string(),
    };
    format!(
        "listening on {url}, answering {answering}; Ctrl-C ends it\n\
         register it: postrider webhooks register --url {url}/ --on '*'\n"
    )
}

fn url_host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

async fn bind(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind((host, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            anyhow::bail!("port {port} on {host} is in use: choose another with --port")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            anyhow::bail!("this user may not listen on port {port}: choose one above 1023 with --port")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {host} port {port}")),
    }
}

#[cfg(unix)]
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal's own effect ends the process.
        drop(tokio::signal::ctrl_c().await);
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() {
    drop(tokio::signal::ctrl_c().await);
}
