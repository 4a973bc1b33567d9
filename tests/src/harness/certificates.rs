//! Certificates for a receiver or a private server, good ones and bad ones, from an authority made for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::folder::TempFolder;

/// Whether the certificate's time is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It is.
    Current,
    /// It ended in 2020.
    Expired,
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Only12,
    /// 1.3 alone.
    Only13,
}

/// What a server that speaks TLS is like.
#[derive(Debug, Clone)]
pub struct TlsSetup {
    /// The names and addresses that its certificate is for.
    pub names: Vec<String>,
    /// Whether its certificate's time is right.
    pub validity: Validity,
    /// Which versions it speaks.
    pub versions: Versions,
}

impl Default for TlsSetup {
    /// A server that nobody would complain about.
    fn default() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        Self { names, validity: Validity::Current, versions: Versions::Both }
    }
}

impl TlsSetup {
    /// One whose certificate is for another name.
    pub fn misnamed() -> Self {
        Self { names: vec!["elsewhere.example".to_owned()], ..Self::default() }
    }

    /// One whose certificate has expired.
    pub fn expired() -> Self {
        Self { validity: Validity::Expired, ..Self::default() }
    }
}

/// What was made for one server: an authority, and a certificate by it. The files, all PEM, last as long as this.
#[derive(Debug)]
pub struct Certificates {
    server: Arc<ServerConfig>,
    folder: TempFolder,
    authority: PathBuf,
}

impl Certificates {
    /// Makes an authority and a certificate by it.
    pub fn make(setup: &TlsSetup) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::new(setup.names.clone())?;
        if setup.validity == Validity::Expired {
            server.not_before = date_time_ymd(2019, 1, 1);
            server.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &issuer)?;

        let folder = TempFolder::new("certificates")?;
        let file = folder.join("authority.pem");
        std::fs::write(&file, authority_certificate.pem()).context("writing an authority's certificate")?;
        std::fs::write(folder.join("certificate.pem"), certificate.pem()).context("writing a certificate")?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).context("writing a key")?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let versions = match setup.versions {
            Versions::Both => rustls::ALL_VERSIONS.to_vec(),
            Versions::Only12 => vec![&rustls::version::TLS12],
            Versions::Only13 => vec![&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Self { server: Arc::new(config), folder, authority: file })
    }

    /// What turns accepted connections into TLS ones.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.server))
    }

    /// The file of the authority to trust.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The file of the server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// The file of the certificate's key.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}
