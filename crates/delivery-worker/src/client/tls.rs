//! TLS towards receivers: version 1.2 or newer, or 1.3 alone where a profile asks for it; public roots and those an
//! operator adds; HTTP/1.1 only.

use std::net::IpAddr;
use std::sync::Arc;

use postrider_contract::egress::Host;
use postrider_contract::profile::TlsVersion;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

/// Sessions kept for resumption: a resumed handshake is a fifth cheaper, and a session is a few hundred bytes.
const KEPT_SESSIONS: usize = 4096;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("a certificate of the extra authorities cannot be used")]
    Authority(#[source] rustls::Error),
    #[error("the cryptography provider does not do TLS 1.2 and 1.3")]
    Provider(#[source] rustls::Error),
}

/// A connector for each version that may be the oldest. Each keeps sessions of its own: one that an older version made
/// is not resumed where that version is not spoken.
pub struct Connectors {
    since_1_2: TlsConnector,
    since_1_3: TlsConnector,
}

impl Connectors {
    /// Connectors that trust the public roots and `extra_authorities`.
    ///
    /// # Errors
    /// When a certificate among `extra_authorities` is not one.
    pub fn new(extra_authorities: &[CertificateDer<'static>]) -> Result<Self, TlsSetupError> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for authority in extra_authorities {
            roots.add(authority.clone()).map_err(TlsSetupError::Authority)?;
        }
        let roots = Arc::new(roots);
        Ok(Connectors {
            since_1_2: connector(Arc::clone(&roots), &[&TLS13, &TLS12])?,
            since_1_3: connector(roots, &[&TLS13])?,
        })
    }

    pub fn since(&self, minimum: TlsVersion) -> &TlsConnector {
        match minimum {
            TlsVersion::Tls12 => &self.since_1_2,
            TlsVersion::Tls13 => &self.since_1_3,
        }
    }
}

fn connector(
    roots: Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<TlsConnector, TlsSetupError> {
    // Named here, since the process may hold other providers and an ambient default is whoever came first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsSetupError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(KEPT_SESSIONS);
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The name the certificate must be for: that of the URL.
pub fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).ok(),
        Host::Address(address) => Some(ServerName::from(IpAddr::clone(address))),
    }
}
