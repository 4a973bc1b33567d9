use axum::extract::Path;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::json_body::JsonBody;
use crate::raw_body::RawBody;
use crate::system::SystemEntropy;

/// A server on a free port of the loopback, with a way to end it.
struct Running {
    address: SocketAddr,
    stop: Stop,
    ended: JoinHandle<Result<(), Infallible>>,
}

impl Running {
    async fn start(router: Router, limits: HttpLimits) -> Self {
        Self::start_with(router.into(), limits).await
    }

    async fn start_with(routes: Routes, limits: HttpLimits) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = Stop::default();
        let ended =
            tokio::spawn(HttpServer::new(routes, limits, &SystemEntropy).serve(listener, stop.clone()));
        Running { address, stop, ended }
    }

    async fn plain() -> Self {
        Self::start(routes(), HttpLimits::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    /// A connection whose first request is being answered, and which stays.
    async fn connect_and_ask(&self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /things HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
        stream.read_exact(&mut [0_u8; 12]).await.expect("an answer");
        stream
    }

    /// What the server answers to these bytes until it closes the connection.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // A server that has refused may close before all is sent.
        if let Err(error) = stream.write_all(request.as_ref()).await {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer and an orderly close");
        String::from_utf8(answer).expect("UTF-8")
    }
}

fn routes() -> Router {
    Router::new()
        .route("/things", post(async |RawBody(bytes): RawBody| format!("{} bytes", bytes.len())).get("all"))
        .route("/typed", post(async |JsonBody(number): JsonBody<u8>| number.to_string()))
        .route("/things/{id}", get(async |Path(id): Path<u32>| id.to_string()))
        .route("/panic", get(panics))
}

async fn panics() -> &'static str {
    panic!("the secret of the inside")
}

fn get_of(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n")
}

fn post_of(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

const JSON: &str = "Content-Type: application/json\r\n";

/// Asserts a refusal in its one form, and returns the answer.
fn assert_problem(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    let problem: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body:?}"));
    assert_eq!(problem["code"], code, "{body}");
    assert_eq!(problem["status"], status, "{body}");
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let server = Running::plain().await;
    assert_problem(&server.ask(get_of("/nothing", "")).await, 404, "not_found");
    assert_problem(&server.ask(get_of("//things", "")).await, 404, "not_found");
    assert_problem(&server.ask(get_of("/things/x", "")).await, 400, "bad_request");
    let wrong_method = server.ask("TRACE /things HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert_problem(&wrong_method, 405, "method_not_allowed");
    assert!(wrong_method.contains("allow: ") && wrong_method.contains("POST"), "{wrong_method}");
    for headers in ["Content-Type: text/plain\r\n", "Content-Type: application/json; charset=utf-16\r\n", ""]
    {
        let answer = server.ask(post_of("/things", headers, "{}")).await;
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    for coding in ["gzip", "gzip, gzip, gzip"] {
        let headers = format!("{JSON}Content-Encoding: {coding}\r\n");
        assert_problem(&server.ask(post_of("/things", &headers, "{}")).await, 415, "unsupported_media_type");
    }
    assert_problem(&server.ask(post_of("/typed", JSON, "nul")).await, 400, "malformed_json");
    assert_problem(&server.ask(post_of("/typed", JSON, "256")).await, 422, "invalid_request");
    let deep = "[".repeat(100_000);
    assert_problem(&server.ask(post_of("/typed", JSON, &deep)).await, 400, "malformed_json");
}

#[tokio::test]
async fn a_process_without_routes_is_alive_and_not_ready_and_refuses_the_rest() {
    let server = Running::start_with(Routes::default(), HttpLimits::default()).await;
    assert!(server.ask(get_of("/livez", "")).await.starts_with("HTTP/1.1 200"));
    let readiness = server.ask(get_of("/readyz", "")).await;
    assert_problem(&readiness, 503, "unavailable");
    assert!(readiness.contains("starting") && readiness.contains("\"request_id\":\"req_"), "{readiness}");
    assert_problem(&server.ask(get_of("/things", "")).await, 503, "unavailable");
}

#[tokio::test]
async fn what_comes_before_the_routes_waits_for_them() {
    let routes = Routes::default();
    let server = Running::start_with(routes.clone(), HttpLimits::default()).await;
    let mut early = server.connect().await;
    early.write_all(get_of("/things", "").as_bytes()).await.expect("sent");
    // Connections are accepted in turn, so the early one is being served by now.
    assert!(server.ask(get_of("/livez", "")).await.starts_with("HTTP/1.1 200"));
    routes.open(self::routes());
    let mut answer = String::new();
    early.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_panic_answers_without_saying_why_and_the_next_request_is_served() {
    let server = Running::plain().await;
    let answer = server.ask(get_of("/panic", "")).await;
    assert_problem(&answer, 500, "internal");
    assert!(!answer.contains("secret of the inside") && answer.contains("\"request_id\":\"req_"), "{answer}");
    assert!(server.ask(get_of("/things", "")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_malformed_request_is_refused_as_a_problem() {
    let server = Running::plain().await;
    for request in [
        "GET /things HTTP/1.1\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n 2\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: h\r\nX A: 1\r\n\r\n",
        "GET /things HTTP/1.1\r\nHost: h\r\nX-A: a\0b\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /things HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        // Those that are understood but refused keep their connection: ask for one more to see it end.
        let close = get_of("/things", "");
        let answer = server.ask(format!("{request}{close}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert!(answer.contains("content-type: application/problem+json"), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn a_second_request_cannot_be_smuggled_behind_two_framings() {
    let server = Running::plain().await;
    let answer = server
        .ask(format!(
            "POST /things HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
             GET /things HTTP/1.1\r\nHost: h\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_head_too_large_is_refused_and_the_answer_arrives() {
    let server = Running::plain().await;
    let large = "a".repeat(1024 * 1024);
    assert_problem(
        &server.ask(get_of("/things", &format!("X-Big: {large}\r\n"))).await,
        431,
        "head_too_large",
    );
    assert_problem(&server.ask(get_of(&format!("/things?x={large}"), "")).await, 414, "uri_too_long");
    let longish = "a".repeat(9 * 1024);
    assert_problem(&server.ask(get_of(&format!("/things?x={longish}"), "")).await, 414, "uri_too_long");
    let many = "X-A: 1\r\n".repeat(120);
    assert_problem(&server.ask(get_of("/things", &many)).await, 431, "head_too_large");
    let fits = format!("X-A: {}\r\n", "a".repeat(15 * 1024));
    assert!(server.ask(get_of("/things", &fits)).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_too_large_is_refused_whether_it_says_so_or_not() {
    let server = Running::plain().await;
    let limit = DEFAULT_BODY_LIMIT.as_bytes();
    let fits = format!("\"{}\"", "a".repeat(limit - 2));
    assert!(server.ask(post_of("/things", JSON, &fits)).await.contains("1048576 bytes"));
    assert_problem(
        &server.ask(post_of("/things", JSON, &format!("{fits} "))).await,
        413,
        "payload_too_large",
    );
    let head = format!("POST /things HTTP/1.1\r\nHost: h\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n");
    let chunks = format!("10000\r\n{}\r\n", "a".repeat(0x10000)).repeat(17);
    let close = get_of("/things", "");
    let answer = server.ask(format!("{head}{chunks}0\r\n\r\n{close}")).await;
    assert_problem(answer.split("HTTP/1.1 200").next().unwrap_or_default(), 413, "payload_too_large");
}

#[tokio::test]
async fn a_client_that_stops_within_its_request_is_cut() {
    let patience = Duration::from_millis(50);
    let limits = HttpLimits { head_time: patience, body_idle_time: patience, ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    assert_eq!(server.ask("").await, "", "nothing was asked");
    assert_eq!(server.ask("GET /things HTTP/1.1\r\nHost:").await, "", "half a head was sent");
    let half = format!("POST /things HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 100\r\n\r\n{{");
    assert_problem(&server.ask(half).await, 408, "request_timeout");
}

#[tokio::test]
async fn one_connection_serves_many_requests_each_with_an_id_of_its_own() {
    let server = Running::plain().await;
    let kept = "GET /things HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = server.ask(format!("{kept}{kept}{}", get_of("/things", ""))).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    let ids: std::collections::HashSet<_> =
        answer.lines().filter(|line| line.starts_with("request-id: req_")).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered_too, release_too) = (Arc::clone(&entered), Arc::clone(&release));
    let slow = get(async move || {
        entered_too.notify_one();
        release_too.notified().await;
        "finished"
    });
    let server = Running::start(routes().route("/slow", slow), HttpLimits::default()).await;
    let mut idle = server.connect_and_ask().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
    entered.notified().await;

    server.stop.drain();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("an idle connection is closed");
    release.notify_one();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.expect("the answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    server.ended.await.expect("no panic").expect("an orderly end");
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn while_a_drain_is_delayed_requests_are_taken_and_connections_asked_to_end() {
    let limits = HttpLimits { drain_delay: Duration::from_secs(3600), ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    let mut kept = server.connect_and_ask().await;
    server.stop.drain();
    let mut fresh = server.connect().await;
    for stream in [&mut kept, &mut fresh] {
        stream.write_all(b"GET /things HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.expect("the answer, then the end");
        let (_, last) = answers.rsplit_once("HTTP/1.1 ").unwrap_or(("", &answers));
        assert!(answers.contains("HTTP/1.1 200") && last.contains("connection: close"), "{answers}");
    }
    server.stop.halt();
    server.ended.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn when_the_delay_is_over_nothing_listens_any_more() {
    let limits = HttpLimits { drain_delay: Duration::from_millis(20), ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    let mut idle = server.connect_and_ask().await;
    server.stop.drain();
    idle.read_to_end(&mut Vec::new()).await.expect("an idle connection is closed");
    server.ended.await.expect("no panic").expect("an orderly end");
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn a_process_that_has_failed_waits_for_no_balancer() {
    let limits = HttpLimits { drain_delay: Duration::from_secs(3600), ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    server.stop.hurry();
    server.ended.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn the_hard_stop_drops_what_is_in_flight() {
    let entered = Arc::new(Notify::new());
    let entered_too = Arc::clone(&entered);
    let stuck = get(async move || {
        entered_too.notify_one();
        std::future::pending::<()>().await;
    });
    let server = Running::start(Router::new().route("/stuck", stuck), HttpLimits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
    entered.notified().await;
    server.stop.halt();
    server.ended.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn connections_past_the_bound_wait_for_their_turn() {
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    let first = server.connect_and_ask().await;
    let second = server.ask(get_of("/things", ""));
    let mut second = pin!(second);
    tokio::select! {
        biased;
        answer = &mut second => panic!("served past the bound: {answer}"),
        () = tokio::task::yield_now() => {}
    }
    drop(first);
    assert!(second.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn clients_that_only_hold_connections_do_not_keep_others_out() {
    let limits = HttpLimits { connections: 4, crowded_idle_time: Duration::ZERO, ..HttpLimits::default() };
    let server = Running::start(routes(), limits).await;
    let mut held = Vec::new();
    for number in 0..4 {
        let mut stream = server.connect().await;
        // Half of them asked something once, the others never say a word.
        if number % 2 == 0 {
            stream.write_all(b"GET /things HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
            stream.read_exact(&mut [0_u8; 12]).await.expect("an answer");
        }
        held.push(stream);
    }
    for _ in 0..8 {
        let answer = tokio::time::timeout(Duration::from_secs(5), server.ask(get_of("/things", ""))).await;
        assert!(answer.expect("served long before any idle limit").starts_with("HTTP/1.1 200"));
    }
    let mut rest = Vec::new();
    held[0].read_to_end(&mut rest).await.expect("an orderly close of the longest idle");
    assert!(rest.ends_with(b"all"), "its answer came whole");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_of_its_own() {
    let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = taken.local_addr().expect("bound");
    let error = bind(address).await.expect_err("taken");
    assert!(matches!(error, BindError::AddressInUse { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: the address is in use by another process")
    );
}
