//! TLS to the server: verified by name and authority, whatever the mode is called.

use postrider_tests::harness::{Certificates, TlsSetup};

use super::*;

async fn server_with(certificates: &Certificates) -> (Postgres, String) {
    let mut server = Postgres::start().await.expect("PostgreSQL starts");
    server.speak_tls(certificates).await.expect("it speaks TLS");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    (server, url)
}

fn trusting(url: &str, certificates: Option<&Certificates>) -> Settings {
    let authority = certificates.map(|own| std::fs::read(own.authority()).expect("a file"));
    Settings { ca_certificates: authority, ..settings(url) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_trusted_by_its_own_authority_and_by_no_other() {
    let certificates = Certificates::make(&TlsSetup::default()).expect("certificates are made");
    let (_server, url) = server_with(&certificates).await;
    let in_use = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE ssl AND application_name = 'postrider' AND datname = current_database()";
    for mode in ["require", "verify-ca", "verify-full"] {
        let url_with = format!("{url}?sslmode={mode}");
        let store = soon(PostgresStore::connect(trusting(&url_with, Some(&certificates)))).await;
        let store = store.expect("the store is there");
        let sample = Sample::numbered(1, SystemClock.now());
        apply(&store, vec![sample.accepted()]).await.expect("it is written");
        assert!(count(&url, in_use).await > 0, "{mode}: over TLS");

        let stranger = Certificates::make(&TlsSetup::default()).expect("certificates are made");
        for wrong in [Some(&stranger), None] {
            let refused = soon(PostgresStore::connect(trusting(&url_with, wrong))).await;
            let refused = refused.expect_err("not trusted");
            assert!(matches!(refused, ConnectError::Untrusted { .. }), "{mode}: {refused}");
            assert!(refused.to_string().contains("engine.ca_file"), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused() {
    let misnamed = Certificates::make(&TlsSetup::misnamed()).expect("certificates are made");
    let (_server, url) = server_with(&misnamed).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{url}?sslmode={mode}");
        let refused = soon(PostgresStore::connect(trusting(&url, Some(&misnamed)))).await;
        assert!(matches!(refused, Err(ConnectError::Untrusted { .. })), "{mode}: {refused:?}");
    }
    assert!(soon(PostgresStore::connect(trusting(&url, None))).await.is_ok(), "not asked for, not used");
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_said_so() {
    let url = "postgres://postgres@127.0.0.1:1/x?sslmode=verify-full";
    for pem in ["", "no certificate"] {
        let settings = Settings { ca_certificates: Some(pem.into()), ..settings(url) };
        let refused = soon(PostgresStore::connect(settings)).await.expect_err("no authorities");
        assert!(matches!(refused, ConnectError::Certificates { .. }), "{refused}");
    }
}
