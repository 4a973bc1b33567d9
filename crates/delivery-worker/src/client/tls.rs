//! TLS towards receivers: version 1.2 or newer, public roots and those an operator adds, HTTP/1.1 only.

use std::net::IpAddr;
use std::sync::Arc;

use postrider_contract::egress::Host;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
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

/// A connector that trusts the public roots and `extra_authorities`.
///
/// # Errors
/// When a certificate among `extra_authorities` is not one.
pub fn connector(extra_authorities: &[CertificateDer<'static>]) -> Result<TlsConnector, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for authority in extra_authorities {
        roots.add(authority.clone()).map_err(TlsSetupError::Authority)?;
    }
    // Named here, since the process may hold other providers and an ambient default is whoever came first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
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
