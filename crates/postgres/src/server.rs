//! How the server is reached: its URL, TLS, and what every connection is set to.
//!
//! `sslmode=require`, `verify-ca` and `verify-full` all mean TLS with a certificate that is verified, name
//! included: against the public certificate authorities and those given. Without any of these there is no TLS.
//!
//! A URL may name several hosts. Then only one that takes writes will do, unless the URL says otherwise.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::connect::Settings;
use crate::errors::{ConnectError, describe};

/// A peer that vanished is noticed within about half a minute, whatever the system's defaults are.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(crate) struct Server {
    config: Config,
    /// What the URL itself sets, and what is set for every connection.
    options: String,
    tls: Tls,
    /// For one host.
    connect_timeout: Duration,
    /// Of connections that are not a pool's.
    own_limit: Duration,
}

#[derive(Clone)]
enum Tls {
    Off,
    On(MakeRustlsConnect),
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Tls::Off => "Off",
            Tls::On(_) => "On",
        })
    }
}

/// A connection of its own, not the pool's; closed when dropped.
pub(crate) struct Dedicated {
    pub(crate) client: Client,
    driver: AbortOnDropHandle<()>,
}

impl Dedicated {
    /// Nothing more will come over it.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.is_finished()
    }
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let (url, wants_tls) = split_ssl_mode(&settings.url);
        let mut config: Config =
            url.parse().map_err(|error| ConnectError::Url { reason: describe(&error) })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ConnectError::Url { reason: "it names no host".to_owned() });
        }
        let own = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        // Last wins: durability is not for the URL to weaken. Every list has its index; a plan that was made
        // while a day was empty must not read that day whole once it is full. Nor may a page
        // of a hundred fetch and sort all that matches, which is what a bitmap does: in order, it stops at a hundred.
        let options = format!(
            "{own}-c synchronous_commit=on -c default_transaction_isolation=read\\ committed -c jit=off \
             -c enable_seqscan=off -c enable_bitmapscan=off"
        );
        config
            .application_name(settings.application_name.as_str())
            .connect_timeout(settings.connect_timeout)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(UNACKNOWLEDGED);
        if hosts(&config) > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = if wants_tls || config.get_ssl_mode() == SslMode::Require {
            config.ssl_mode(SslMode::Require);
            Tls::On(verified_tls(settings.ca_certificates.as_deref())?)
        } else {
            config.ssl_mode(SslMode::Disable);
            Tls::Off
        };
        let connect_timeout = settings.connect_timeout;
        Ok(Server { config, options, tls, connect_timeout, own_limit: settings.query_timeout })
    }

    /// The server ends what takes longer than `limit`: a statement, or a transaction that nothing comes for.
    fn limited(&self, limit: Duration) -> Config {
        let milliseconds = limit.as_millis();
        let mut config = self.config.clone();
        config.options(format!(
            "{} -c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds}",
            self.options
        ));
        config
    }

    /// How long making a connection may take: every host its time, and one more for the handshake.
    fn patience(&self) -> Duration {
        self.connect_timeout.saturating_mul(u32::try_from(hosts(&self.config)).unwrap_or(u32::MAX) + 1)
    }

    pub(crate) fn pool(&self, size: usize, limit: Duration) -> Result<Pool, ConnectError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let config = self.limited(limit);
        let manager = match &self.tls {
            Tls::Off => Manager::from_config(config, NoTls, recycling),
            Tls::On(tls) => Manager::from_config(config, tls.clone(), recycling),
        };
        let building = Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.connect_timeout))
            .create_timeout(Some(self.patience()))
            .build();
        building.map_err(|error| ConnectError::Url { reason: error.to_string() })
    }

    /// Opens a connection of its own. What the server announces (LISTEN) is told through `heard`.
    pub(crate) async fn open(
        &self,
        heard: Option<mpsc::Sender<()>>,
    ) -> Result<Dedicated, tokio_postgres::Error> {
        let config = self.limited(self.own_limit);
        match &self.tls {
            Tls::Off => open_with(&config, NoTls, heard).await,
            Tls::On(tls) => open_with(&config, tls.clone(), heard).await,
        }
    }

    /// As [`Server::open`], with the reason as whoever starts the program can use it. Bounded in time.
    pub(crate) async fn reach(&self) -> Result<Dedicated, ConnectError> {
        let server = self.address();
        // The library's own limit covers the socket; this one the handshake too.
        let Ok(opened) = tokio::time::timeout(self.patience(), self.open(None)).await else {
            return Err(ConnectError::Unreachable { server, reason: "no answer in time".to_owned() });
        };
        opened.map_err(|error| {
            if let Some(reason) = certificate_fault(&error) {
                return ConnectError::Untrusted { server, reason };
            }
            let reason = describe(&error);
            let database = self.database().to_owned();
            match error.code() {
                Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                    ConnectError::DatabaseMissing { server, database }
                }
                Some(code) if code.code().starts_with("28") => ConnectError::Refused { server, reason },
                Some(_) | None => ConnectError::Unreachable { server, reason },
            }
        })
    }

    /// `host:port`, for messages; never the password.
    pub(crate) fn address(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
        };
        format!("{host}:{}", self.config.get_ports().first().copied().unwrap_or(5432))
    }

    pub(crate) fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres")
    }
}

async fn open_with<T>(
    config: &Config,
    tls: T,
    heard: Option<mpsc::Sender<()>>,
) -> Result<Dedicated, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(drive(connection, heard)));
    Ok(Dedicated { client, driver })
}

/// Serves a connection until it ends. Whoever uses it learns of the end from their own next statement.
async fn drive<S>(mut connection: Connection<Socket, S>, heard: Option<mpsc::Sender<()>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => {
                if let Some(heard) = &heard {
                    // A full channel means that a wake-up is under way already.
                    heard.try_send(()).ok();
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(error = describe(&error), "a connection to the store ended");
                return;
            }
            None => return,
        }
    }
}

fn hosts(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

/// Why the server's certificate was not accepted, if that is what happened.
fn certificate_fault(error: &tokio_postgres::Error) -> Option<String> {
    let io = error.source()?.downcast_ref::<std::io::Error>()?;
    let tls = io.get_ref()?.downcast_ref::<rustls::Error>()?;
    if let rustls::Error::InvalidCertificate(reason) = tls { Some(reason.to_string()) } else { None }
}

/// The driver knows `disable`, `prefer` and `require`; the verifying modes are taken out of the URL here. True
/// where TLS was asked for.
fn split_ssl_mode(url: &str) -> (String, bool) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), false) };
    let is_mode =
        |pair: &&str| matches!(*pair, "sslmode=require" | "sslmode=verify-ca" | "sslmode=verify-full");
    let wants_tls = query.split('&').any(|pair| is_mode(&pair));
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_mode(pair)).collect();
    let separator = if kept.is_empty() { "" } else { "?" };
    (format!("{base}{separator}{}", kept.join("&")), wants_tls)
}

fn verified_tls(ca_certificates: Option<&[u8]>) -> Result<MakeRustlsConnect, ConnectError> {
    let refused = |reason: String| ConnectError::Certificates { reason };
    let mut roots = rustls::RootCertStore::empty();
    if let Some(pem) = ca_certificates {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| refused(error.to_string()))?;
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refused("they hold no certificate in PEM form".to_owned()));
        }
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifying_modes_ask_for_tls_and_leave_the_rest_of_the_url() {
        for (url, rest, wants_tls) in [
            ("postgres://h/d", "postgres://h/d", false),
            ("postgres://h/d?sslmode=verify-full", "postgres://h/d", true),
            ("postgres://h/d?sslmode=require&options=-cx%3D1", "postgres://h/d?options=-cx%3D1", true),
            ("postgres://h/d?sslmode=disable", "postgres://h/d?sslmode=disable", false),
        ] {
            assert_eq!(split_ssl_mode(url), (rest.to_owned(), wants_tls), "{url}");
        }
    }
}
