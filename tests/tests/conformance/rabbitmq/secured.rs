//! `amqps://`: the broker proves who it is, and whoever cannot is not talked to.

use std::path::Path;

use postrider_contract::clock::Clock;
use postrider_contract::ports::WorkKind;
use postrider_rabbitmq::{ConnectError, Settings};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::soon;
use postrider_tests::harness::{Certificates, Knobs, RabbitMq, TlsSetup};

use super::broker::{connect, publish, settings, try_connect};

async fn broker(tls: TlsSetup) -> RabbitMq {
    let knobs = Knobs { tls: Some(tls), ..Knobs::default() };
    RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts")
}

fn trusting(url: &str, authority: &Path) -> Settings {
    let mut settings = settings(url);
    settings.tls.authorities_pem = Some(std::fs::read_to_string(authority).expect("a certificate"));
    settings
}

#[tokio::test]
async fn a_broker_with_a_certificate_of_a_known_authority_is_used_and_no_other() {
    let broker = broker(TlsSetup::default()).await;
    let (url, authority) = broker.tls_url().expect("it speaks tls");
    let queue = connect(trusting(&url, authority)).await.work_queue();
    publish(&*queue, &Sample::numbered(1, SystemClock.now())).await.expect("it is confirmed");
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    soon(source.next()).await.expect("it arrives").ticket.acknowledge();

    let other = Certificates::make(&TlsSetup::default()).expect("another authority");
    for settings in [trusting(&url, other.authority()), settings(&url)] {
        let error = try_connect(settings).await.err().expect("it is not trusted");
        assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
        assert!(error.to_string().contains("engine.ca_file"), "it says what to set: {error}");
    }
}

#[tokio::test]
async fn a_broker_with_a_certificate_for_another_name_is_refused() {
    let broker = broker(TlsSetup::misnamed()).await;
    let (url, authority) = broker.tls_url().expect("it speaks tls");
    let error = try_connect(trusting(&url, authority)).await.err().expect("it is another's");
    assert!(matches!(error, ConnectError::OtherName { .. }), "{error:?}");
    assert!(error.to_string().contains("engine.queue"), "it says what to set: {error}");
}
