//! `listen`: a receiver on this machine, for trying webhooks out.
//!
//! Prints each request as a person reads it, checks its signature as a receiver of the profile would, from the
//! profile's own data, recognises repeats, and answers as it is told to: at once, late, with an error, or by chance.

mod behaviour;
mod checking;
mod pretty;
mod receiver;
mod repeats;
mod report;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use http::StatusCode;
use postrider_contract::profile::Span;
use postrider_service::system::{SystemClock, SystemEntropy};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::secret_argument::SecretArgument;
use crate::table::Screen;
use behaviour::{Behaviour, FailRate};
use checking::Checking;
use receiver::Receiver;
use report::BodyShown;

/// Receives webhooks on this machine: prints each request and checks its signature
///
/// The profile is found out by the signature's header, unless --profile names
/// one. Without --secret signatures are not checked. To see retries, let it
/// misbehave: --respond, --fail-rate, --delay.
///
/// Examples:
///   postrider listen
///   postrider listen --secret whsec_… --port 9001
///   postrider listen --respond 500                      every request fails
///   postrider listen --respond 429 --retry-after 5s     … and says when to come back
///   postrider listen --fail-rate 0.3 --delay 2s         slow, and fails by chance
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Listen {
    /// Where to listen; 0 takes any free port
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on; 0.0.0.0 for every address of this machine
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The webhook's signing secret, as it was shown when it was registered: itself, @file, or @- for standard input;
    /// may be repeated
    #[arg(long = "secret", value_name = "SECRET|@FILE")]
    secrets: Vec<SecretArgument>,
    /// The delivery contract: a built-in profile's name, or a profile's file (.toml, .json)
    #[arg(long)]
    profile: Option<String>,
    /// The status code to answer with
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = behaviour::parse_status)]
    respond: StatusCode,
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
    /// Prints bodies whole, not just their beginning
    #[arg(long)]
    full: bool,
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

    async fn run_until(self, stop: CancellationToken, screen: Screen) -> anyhow::Result<()> {
        let shown = if self.full { BodyShown::Whole } else { BodyShown::Excerpt };
        let secrets = self.secrets.into_iter().map(SecretArgument::resolve).collect::<Result<_, _>>();
        let checking = Checking::new(self.profile.as_deref(), secrets.context("--secret")?)?;
        let behaviour = Behaviour {
            status: self.respond,
            body: self.body.into(),
            delay: self.delay.map(Span::duration),
            fail_rate: self.fail_rate,
            retry_after: self.retry_after.map(Span::duration),
            entropy: Arc::new(SystemEntropy),
        };
        let listener = bind(&self.host, self.port).await?;
        let address = listener.local_addr().context("cannot tell the address listened on")?;
        let receiver = Receiver::new(checking, behaviour, Arc::new(SystemClock), shown, screen, stop);
        receiver.say(&greeting(address, receiver.behaviour()));
        receiver.serve(listener).await;
        Ok(())
    }
}

fn greeting(address: SocketAddr, behaviour: &Behaviour) -> String {
    // An address that means "all of them" cannot be called; this machine can be called by the loopback.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { url_host(address) };
    let url = format!("http://{host}:{}", address.port());
    format!(
        "listening on {url}, answering {behaviour}; Ctrl-C ends it\n\
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
