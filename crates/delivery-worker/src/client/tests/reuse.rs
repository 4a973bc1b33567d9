//! Kept-alive connections: when they are used again, and when not.

use std::time::Duration;

use postrider_contract::attempt::FailureClass;

use super::receiver::{OK, Receiver, Step, call, client, failure, parts, request, response};
use crate::client::{ClientParts, HttpClient, PoolLimits, Transport};

#[tokio::test]
async fn one_connection_serves_one_try_after_another() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let client = client();
    for number in 0..5 {
        let exchange = call(&client, request(&receiver.url())).await;
        assert_eq!(response(&exchange).status, 200);
        assert_eq!(exchange.timings.connect.is_some(), number == 0, "only the first try connects");
        assert_eq!(exchange.address, Some(receiver.address));
    }
    assert!(receiver.seen.requests().iter().all(|(connection, _)| *connection == 0));
    assert_eq!(client.idle_connections(), 1);
}

#[tokio::test]
async fn a_connection_the_receiver_closed_meanwhile_is_replaced_unseen() {
    let receiver = Receiver::saying(vec![Step::Say(OK), Step::Close]).await;
    let client = client();
    for _ in 0..5 {
        let exchange = call(&client, request(&receiver.url())).await;
        assert_eq!(response(&exchange).status, 200);
        // The end of the connection arrives by itself; let the runtime see it.
        tokio::task::yield_now().await;
    }
    let requests = receiver.seen.requests();
    assert_eq!(requests.len(), 5, "as many requests as calls");
}

#[tokio::test]
async fn a_reused_connection_that_ends_after_the_request_counts_as_a_try() {
    let receiver = Receiver::start(|connection, request| match (connection, request) {
        (0, 1) => vec![Step::Close],
        _ => vec![Step::Say(OK)],
    })
    .await;
    let client = client();
    assert_eq!(response(&call(&client, request(&receiver.url())).await).status, 200);
    assert_eq!(failure(&call(&client, request(&receiver.url())).await), FailureClass::Closed);
    assert_eq!(receiver.seen.requests().len(), 2, "the receiver has seen it, so it was not sent again");
    assert_eq!(response(&call(&client, request(&receiver.url())).await).status, 200);
}

#[tokio::test]
async fn an_answer_that_asks_to_close_is_heeded() {
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let receiver = Receiver::saying(vec![Step::Say(answer), Step::Silence]).await;
    let client = client();
    for connection in 0..2 {
        assert_eq!(response(&call(&client, request(&receiver.url())).await).status, 200);
        assert_eq!(client.idle_connections(), 0);
        assert_eq!(receiver.seen.requests()[connection].0, connection);
    }
}

#[tokio::test]
async fn a_second_answer_that_nobody_asked_for_is_not_taken_for_the_next() {
    let doubled =
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 Planted\r\nContent-Length: 0\r\n\r\n";
    let receiver = Receiver::saying(vec![Step::Say(doubled)]).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(response(&call(&client, request(&receiver.url())).await).status, 200);
    }
}

#[tokio::test]
async fn the_number_of_idle_connections_is_bounded() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let other = Receiver::saying(vec![Step::Say(OK)]).await;
    let limits = PoolLimits { max_idle_per_endpoint: 2, max_idle: 3, ..PoolLimits::default() };
    let client = HttpClient::new(ClientParts { limits, ..parts() }).unwrap();
    for url in [receiver.url(), other.url()] {
        let calls = (0..6).map(|_| call(&client, request(&url)));
        futures_util::future::join_all(calls).await;
    }
    assert_eq!(client.idle_connections(), 3);
}

#[tokio::test]
async fn an_old_or_long_idle_connection_is_not_used_again() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let defaults = PoolLimits::default();
    for limits in [
        PoolLimits { max_age: Duration::ZERO, ..defaults },
        PoolLimits { max_idle_time: Duration::ZERO, ..defaults },
    ] {
        let client = HttpClient::new(ClientParts { limits, ..parts() }).unwrap();
        for _ in 0..2 {
            let exchange = call(&client, request(&receiver.url())).await;
            assert!(exchange.timings.connect.is_some());
        }
        client.sweep();
        assert_eq!(client.idle_connections(), 0);
    }
}
