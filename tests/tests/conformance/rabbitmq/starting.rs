//! A broker that is not there or not as expected is one clear line.

use std::collections::HashSet;

use postrider_contract::clock::Clock;
use postrider_rabbitmq::{ConnectError, QueueName, Settings, TopologyAtStart};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::soon;
use postrider_tests::harness::shared_rabbitmq;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::broker::{Raw, connect, fresh_url, name_of, publish, settings, try_connect};

async fn problem(settings: Settings) -> ConnectError {
    let error = try_connect(settings).await.err().expect("it does not connect");
    let line = error.to_string();
    assert!(!line.contains('\n') && !line.contains("guest:"), "{line}");
    error
}

#[tokio::test]
async fn a_url_that_is_none_is_told() {
    let error = problem(settings("http://guest:guest@localhost")).await;
    assert!(matches!(error, ConnectError::InvalidUrl { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told_with_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let error = problem(settings(&format!("amqp://guest:guest@{address}/%2f"))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn something_else_on_the_port_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let error = problem(settings(&format!("amqp://guest:guest@{address}/%2f"))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    serving.abort();
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let url = fresh_url().await.replace("guest:guest@", "guest:wrong@");
    let error = problem(settings(&url)).await;
    assert!(matches!(error, ConnectError::AccessRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_virtual_host_that_is_missing_is_told() {
    let url = fresh_url().await;
    let (head, _) = url.rsplit_once('/').expect("a virtual host");
    let error = problem(settings(&format!("{head}/nowhere"))).await;
    assert!(matches!(&error, ConnectError::VhostRefused { vhost, .. } if vhost == "nowhere"), "{error:?}");
}

#[tokio::test]
async fn an_older_broker_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut start = b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x12\x07versionS\x00\x00\x00\x063.9.29".to_vec();
    start.extend_from_slice(b"\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US");
    let mut frame = vec![1, 0, 0];
    frame.extend_from_slice(&u32::try_from(start.len()).expect("short").to_be_bytes());
    frame.extend_from_slice(&start);
    frame.push(0xce);
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(&frame).await.ok();
        }
    });
    let error = problem(settings(&format!("amqp://guest:guest@{address}/%2f"))).await;
    assert!(matches!(error, ConnectError::TooOld { .. }), "{error:?}");
    assert!(error.to_string().contains("3.9") && error.to_string().contains("3.10"), "{error}");
    serving.abort();
}

#[tokio::test]
async fn a_queue_that_is_different_is_told_with_its_name_and_argument() {
    let url = fresh_url().await;
    Raw::connect(&url).await.declare_foreign(&name_of(QueueName::Journal)).await;
    let error = problem(settings(&url)).await;
    assert!(matches!(error, ConnectError::Mismatch { .. }), "{error:?}");
    let line = error.to_string();
    assert!(line.contains(&name_of(QueueName::Journal)) && line.contains("x-"), "{line}");
}

#[tokio::test]
async fn verifying_finds_what_is_missing_and_what_is_different_and_changes_nothing() {
    let url = fresh_url().await;
    let raw = Raw::connect(&url).await;
    let assume = || Settings { topology: TopologyAtStart::Assume, ..settings(&url) };
    let engine = connect(assume()).await;
    let findings = soon(engine.verify_topology()).await.expect("it answers");
    assert!(findings.iter().any(|finding| finding.object == name_of(QueueName::First)), "{findings:?}");
    assert_eq!(raw.ready(&name_of(QueueName::First)).await, None, "verifying declares nothing");

    soon(engine.declare_topology()).await.expect("it is declared");
    assert_eq!(soon(engine.verify_topology()).await.expect("it answers"), []);

    raw.delete(&name_of(QueueName::Journal)).await;
    raw.declare_foreign(&name_of(QueueName::Journal)).await;
    let findings = soon(engine.verify_topology()).await.expect("it answers");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].object, name_of(QueueName::Journal));
}

#[tokio::test]
async fn a_queue_that_is_missing_is_named_and_the_others_are_counted() {
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let (queue, raw) = (engine.work_queue(), Raw::connect(&url).await);
    let missing = [QueueName::Retry, QueueName::Journal].map(name_of);
    for name in &missing {
        raw.delete(name).await;
    }
    publish(&*queue, &Sample::numbered(1, SystemClock.now())).await.expect("it is confirmed");
    let depths = soon(queue.depths()).await.expect("it answers");
    assert_eq!((depths.first, depths.tries()), (1, 1));
    assert_eq!(depths.missing.iter().collect::<HashSet<_>>(), missing.iter().collect());
    soon(engine.declare_topology()).await.expect("it is declared");
    assert_eq!(soon(queue.depths()).await.expect("it answers").missing, [""; 0]);
}

#[tokio::test]
async fn installations_with_other_prefixes_share_a_broker() {
    let url = fresh_url().await;
    let named = |prefix: &str| Settings { prefix: prefix.to_owned(), ..settings(&url) };
    let (left, right) = (connect(named("left")).await, connect(named("right")).await);
    soon(left.tear_down_topology()).await.expect("it is taken down");
    assert_eq!(soon(right.verify_topology()).await.expect("it answers"), []);
    let raw = Raw::connect(&url).await;
    assert_eq!(raw.ready("left.journal.v1").await, None);
    assert_eq!(raw.ready("right.journal.v1").await, Some(0));
}

/// Read in the broker's own list, where an operator looks.
#[tokio::test]
async fn the_broker_shows_who_is_connected_and_for_what() {
    let url = fresh_url().await;
    let mut settings = settings(&url);
    settings.connection_name = "postrider ingest,worker@a-host".to_owned();
    let _engine = connect(settings).await;
    let broker = shared_rabbitmq().await.expect("it runs");
    let listed = broker.ctl(&["list_connections", "vhost", "client_properties"]).await.expect("it answers");
    let vhost = url.rsplit('/').next().expect("a virtual host");
    let lines = listed.lines().filter_map(|line| line.split_once('\t')).filter(|(of, _)| *of == vhost);
    let mut names: Vec<&str> = lines
        .filter_map(|(_, properties)| properties.split("\"connection_name\",\"").nth(1)?.split('"').next())
        .collect();
    names.sort_unstable();
    let expected =
        ["postrider ingest,worker@a-host (consuming)", "postrider ingest,worker@a-host (publishing)"];
    assert_eq!(names, expected, "{listed}");
}
