//! TLS: who is trusted, and that nothing is sent to who is not.

use std::net::SocketAddr;
use std::sync::Arc;

use postrider_contract::attempt::{FailureClass, Phase};
use postrider_contract::profile::TlsVersion;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::receiver::{OK, call, failure, hasty, parts, read_request, request, response};
use crate::client::{ClientParts, Endpoint, HttpClient, OutgoingRequest};

/// A certificate authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    fn client(&self) -> HttpClient {
        let extra_authorities = vec![self.0.der().clone()];
        HttpClient::new(ClientParts { extra_authorities, ..parts() }).unwrap()
    }
}

fn config(identity: (CertificateDer<'static>, KeyPair)) -> ServerConfig {
    config_of(identity, rustls::ALL_VERSIONS)
}

fn config_of(
    (certificate, key): (CertificateDer<'static>, KeyPair),
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

/// Answers every request with `OK`; says how many came.
async fn serve(config: ServerConfig) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::<std::sync::atomic::AtomicUsize>::default();
    let (counted, acceptor) = (Arc::clone(&count), TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                while read_request(&mut stream).await.is_ok() {
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if stream.write_all(OK).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}

fn url(address: SocketAddr) -> String {
    format!("https://localhost:{}/", address.port())
}

#[tokio::test]
async fn a_trusted_receiver_is_spoken_to_and_its_connection_kept() {
    let authority = Authority::new();
    let mut config = config(authority.issue(|_| ()));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (address, count) = serve(config).await;
    let client = authority.client();
    for number in 0..3 {
        let exchange = call(&client, request(&url(address))).await;
        assert_eq!(response(&exchange).status, 200);
        assert_eq!(exchange.timings.tls.is_some(), number == 0);
    }
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_receiver_that_cannot_be_trusted_is_sent_nothing() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let wrong_name = ours.issue(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    });
    let expired = ours.issue(|params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    for certificate in [wrong_name, expired, theirs.issue(|_| ()), (own.der().clone(), key)] {
        let (address, count) = serve(config(certificate)).await;
        let exchange = call(&ours.client(), request(&url(address))).await;
        assert_eq!(failure(&exchange), FailureClass::Tls, "{exchange:?}");
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
}

/// What the connection that is open was made with must not be good enough by chance.
#[tokio::test]
async fn a_receiver_that_speaks_no_version_as_new_as_the_profile_asks_for_is_sent_nothing() {
    let authority = Authority::new();
    let (address, count) = serve(config_of(authority.issue(|_| ()), &[&rustls::version::TLS12])).await;
    let client = authority.client();
    let asking_for = |address, minimum_tls| {
        let asked = request(&url(address));
        let endpoint = Arc::new(Endpoint { minimum_tls, ..Endpoint::clone(&asked.endpoint) });
        OutgoingRequest { endpoint, ..asked }
    };
    assert_eq!(response(&call(&client, asking_for(address, TlsVersion::Tls12)).await).status, 200);
    let exchange = call(&client, asking_for(address, TlsVersion::Tls13)).await;
    assert_eq!(failure(&exchange), FailureClass::Tls, "{exchange:?}");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);

    let (newer, _) = serve(config(authority.issue(|_| ()))).await;
    assert_eq!(response(&call(&client, asking_for(newer, TlsVersion::Tls13)).await).status, 200);
}

#[tokio::test]
async fn a_receiver_that_demands_a_certificate_of_us_is_a_tls_failure() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(|_| ());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    let (address, count) = serve(builder.with_single_cert(vec![certificate], key).unwrap()).await;
    let exchange = call(&authority.client(), request(&url(address))).await;
    assert_eq!(failure(&exchange), FailureClass::Tls, "{exchange:?}");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_handshake_that_stalls_or_is_none_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalled = url(listener.local_addr().unwrap());
    let exchange = call(&Authority::new().client(), hasty(&stalled)).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Tls));

    let plain = super::receiver::Receiver::saying(vec![super::receiver::Step::Say(OK)]).await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Not TLS, and the client is expected to hang up on it.
            let _ended = stream.write_all(OK).await;
        }
    });
    let exchange = call(&Authority::new().client(), request(&stalled)).await;
    assert_eq!(failure(&exchange), FailureClass::Tls);
    assert_eq!(plain.seen.requests().len(), 0);
}
