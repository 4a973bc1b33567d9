//! What a receiver does, and what the log says it did.

use std::sync::Arc;

use postrider_contract::attempt::{BodyExtent, FailureClass, MAX_KEPT_BODY, Phase};
use tokio::net::TcpListener;

use super::receiver::{
    FixedResolver, OK, Receiver, Step, call, client, failure, hasty, parts, request, response,
};
use crate::client::{ClientParts, Connect, HttpClient, OutgoingRequest, Resolver};

#[tokio::test]
async fn a_request_is_written_as_its_profile_says_and_its_answer_read() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let exchange = call(&client(), request(&receiver.url())).await;
    let answer = response(&exchange);
    assert_eq!((answer.status, &answer.body[..], answer.extent), (200, &b"ok"[..], BodyExtent::Whole));
    assert_eq!(exchange.address, Some(receiver.address));
    let timings = exchange.timings;
    assert!(timings.connect.is_some() && timings.dns.is_none() && timings.tls.is_none());
    assert!(timings.connect <= timings.first_byte && timings.first_byte <= Some(timings.total));
    let expected = format!(
        "POST /hook?a=1 HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nX-Trcker-Signature: t=1,v1=00\r\n\
         webhook-id: evt_1\r\nContent-Length: 7\r\n\r\n{{\"n\":1}}",
        receiver.address
    );
    assert_eq!(receiver.seen.requests(), [(0, expected)]);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let body = "0123456789abcdef".repeat(64 * 1024);
    let outgoing = OutgoingRequest { body: body.clone().into(), ..request(&receiver.url()) };
    assert_eq!(response(&call(&client(), outgoing).await).status, 200);
    assert!(receiver.seen.requests()[0].1.ends_with(&format!("\r\n\r\n{body}")));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let receiver = Receiver::saying(vec![Step::Say(answer)]).await;
    let exchange = call(&client(), request(&receiver.url())).await;
    assert_eq!(response(&exchange).status, 302);
    assert_eq!(response(&exchange).header("location"), Some("/elsewhere"));
    assert_eq!(receiver.seen.requests().len(), 1);
}

#[tokio::test]
async fn the_record_of_a_large_head_is_small_and_holds_no_credentials() {
    let large = format!("X-Large: {}\r\n", "x".repeat(5_000)).repeat(3);
    let head = format!("HTTP/1.1 200 OK\r\nSet-Cookie: session=secret\r\n{large}Content-Length: 0\r\n\r\n");
    let receiver = Receiver::saying(vec![Step::SayMany(head.into_bytes())]).await;
    let exchange = call(&client(), request(&receiver.url())).await;
    assert_eq!(response(&exchange).header("set-cookie"), Some("***"));
    let size: usize =
        response(&exchange).headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    assert!(size <= 8 * 1024, "{size}");
}

#[tokio::test]
async fn a_success_stands_though_its_body_drips_for_ever() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let receiver = Receiver::saying(vec![Step::Say(head), Step::Drip(b"x")]).await;
    let exchange = call(&client(), hasty(&receiver.url())).await;
    let answer = response(&exchange);
    assert_eq!((answer.status, answer.extent), (200, BodyExtent::CutOff));
    assert!(!answer.body.is_empty() && answer.body.len() < MAX_KEPT_BODY);
}

#[tokio::test]
async fn headers_that_drip_end_at_the_limit() {
    let receiver = Receiver::saying(vec![Step::Say(b"HTTP/1.1 200 OK\r\nX-Long: "), Step::Drip(b"x")]).await;
    let exchange = call(&client(), hasty(&receiver.url())).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Headers));
    assert_eq!(exchange.address, Some(receiver.address));
}

#[tokio::test]
async fn silence_ends_at_the_limit() {
    let receiver = Receiver::saying(vec![Step::Silence]).await;
    let exchange = call(&client(), hasty(&receiver.url())).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Headers));
}

#[tokio::test]
async fn of_a_body_without_end_only_the_beginning_is_read() {
    for head in [
        &b"HTTP/1.1 500 Oops\r\n\r\n"[..],
        b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000000000\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    ] {
        let receiver = Receiver::saying(vec![Step::Say(head), Step::Repeat(&[b'x'; 8192])]).await;
        let client = client();
        let exchange = call(&client, request(&receiver.url())).await;
        let answer = response(&exchange);
        assert_eq!((answer.status, answer.extent), (500, BodyExtent::Truncated));
        assert_eq!(answer.body.len(), MAX_KEPT_BODY);
        assert_eq!(client.idle_connections(), 0, "a connection with unread bytes is not used again");
    }
}

#[tokio::test]
async fn a_body_that_fills_what_is_kept_is_whole() {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {MAX_KEPT_BODY}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + MAX_KEPT_BODY, b'x');
    let receiver = Receiver::saying(vec![Step::SayMany(answer)]).await;
    let exchange = call(&client(), request(&receiver.url())).await;
    assert_eq!(
        (response(&exchange).extent, response(&exchange).body.len()),
        (BodyExtent::Whole, MAX_KEPT_BODY)
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_cut_off() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let receiver = Receiver::saying(vec![Step::Say(answer), Step::Close]).await;
    let exchange = call(&client(), request(&receiver.url())).await;
    let answer = response(&exchange);
    assert_eq!((answer.status, &answer.body[..], answer.extent), (200, &b"abc"[..], BodyExtent::CutOff));
}

#[tokio::test]
async fn a_connection_that_ends_before_an_answer_is_closed() {
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Le"] {
        let receiver = Receiver::saying(vec![Step::Say(said), Step::Close]).await;
        let exchange = call(&client(), request(&receiver.url())).await;
        assert_eq!(failure(&exchange), FailureClass::Closed);
        assert_eq!(receiver.seen.requests().len(), 1, "it was sent, so it is not sent again");
    }
}

#[tokio::test]
async fn what_is_not_http_1_1_or_too_large_is_a_protocol_failure() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(101));
    let large = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "x".repeat(1 << 20));
    let odd = b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n".to_vec();
    let old = b"<html>hello</html>".to_vec();
    let framing = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec();
    for said in [many.into_bytes(), large.into_bytes(), odd, old, framing] {
        let receiver = Receiver::saying(vec![Step::SayMany(said), Step::Silence]).await;
        let exchange = call(&client(), request(&receiver.url())).await;
        assert_eq!(failure(&exchange), FailureClass::Protocol);
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over_and_a_flood_of_them_ends_at_the_limit() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let receiver = Receiver::saying(vec![Step::Say(interim), Step::Say(OK)]).await;
    assert_eq!(response(&call(&client(), request(&receiver.url())).await).status, 200);
    let receiver = Receiver::saying(vec![Step::Repeat(interim)]).await;
    let exchange = call(&client(), hasty(&receiver.url())).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Headers));
}

#[tokio::test]
async fn nobody_listening_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let exchange = call(&client(), request(&format!("http://{address}/"))).await;
    assert_eq!(failure(&exchange), FailureClass::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_dns_failure() {
    for answer in [None, Some(Vec::new())] {
        let parts = ClientParts { resolver: Arc::new(FixedResolver(answer)), ..parts() };
        let exchange = call(&HttpClient::new(parts).unwrap(), request("http://hook.customer.example/")).await;
        assert_eq!(failure(&exchange), FailureClass::Dns);
    }
}

#[tokio::test]
async fn a_blocked_address_tells_its_owner_nothing() {
    let client = HttpClient::new(ClientParts::with_rule(Default::default())).unwrap();
    for url in [
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/",
    ] {
        let exchange = call(&client, request(url)).await;
        assert_eq!(failure(&exchange), FailureClass::Blocked, "{url}");
        assert_eq!(exchange.address, None);
        assert!(exchange.timings.dns.is_none() && exchange.timings.connect.is_none());
        assert!(!format!("{:?}", exchange.result).contains("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_resolver_or_a_host_that_never_answers_is_named_at_the_limit() {
    let silent = ClientParts { resolver: Arc::new(SilentResolver), ..parts() };
    let exchange = call(&HttpClient::new(silent).unwrap(), hasty("http://hook.customer.example/")).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Dns));
    let lost = ClientParts { connect: Arc::new(BlackHole), ..parts() };
    let exchange = call(&HttpClient::new(lost).unwrap(), hasty("http://127.0.0.1/")).await;
    assert_eq!(failure(&exchange), FailureClass::Timeout(Phase::Connect));
}

struct SilentResolver;

#[async_trait::async_trait]
impl Resolver for SilentResolver {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        std::future::pending().await
    }
}

struct BlackHole;

#[async_trait::async_trait]
impl Connect for BlackHole {
    async fn connect(
        &self,
        _: postrider_contract::egress::VettedAddress,
    ) -> std::io::Result<tokio::net::TcpStream> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_lack_of_sockets_on_our_side_is_no_try() {
    let parts = ClientParts { connect: Arc::new(NoFiles), ..parts() };
    let called = HttpClient::new(parts).unwrap().call(request("http://127.0.0.1/")).await;
    assert!(called.is_err(), "{called:?}");
}

struct NoFiles;

#[async_trait::async_trait]
impl Connect for NoFiles {
    async fn connect(
        &self,
        _: postrider_contract::egress::VettedAddress,
    ) -> std::io::Result<tokio::net::TcpStream> {
        Err(std::io::Error::from_raw_os_error(libc::EMFILE))
    }
}
