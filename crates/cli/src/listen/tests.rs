//! The listener on a real port, called with requests that the contract itself signs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use postrider_contract::attempt::Header;
use postrider_contract::clock::{ManualClock, Timestamp};
use postrider_contract::delivery::AttemptNumber;
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::profile::{
    ProfileName, ProfileOverride, SecretForm, builtin_profile, builtin_profiles,
};
use postrider_contract::signature::{Covered, RequestContext, SigningKey, signed_request};
use postrider_service::system::SystemEntropy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::answer::Way;
use super::behaviour::Behaviour;
use super::checking::Checking;
use super::receiver::{Duties, Receiver};
use super::record::Record;
use super::replay::Replay;
use super::report::BodyShown;
use crate::table::{Colouring, Layout, Screen};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &str = r#"{"type":"cap.reached","data":{"n":12345678901234567890123}}"#;

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Running {
    address: SocketAddr,
    printed: Printed,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

fn now() -> Timestamp {
    "2026-11-21T09:30:00Z".parse().expect("a time")
}

async fn start(profile: Option<&str>, secrets: &[&str], change: impl FnOnce(&mut Duties)) -> Running {
    let behaviour = Behaviour {
        status: StatusCode::OK,
        body: Bytes::from_static(b"thanks"),
        delay: None,
        fail_rate: None,
        retry_after: None,
        redirect: None,
        way: Way::AtOnce,
        recover_after: None,
        entropy: Arc::new(SystemEntropy),
    };
    let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    let checking = Checking::new(profile, secrets, None).expect("usable");
    let mut duties = Duties { checking, behaviour, replay: None, record: None, shown: BodyShown::Excerpt };
    change(&mut duties);
    let printed = Printed::default();
    let screen = Screen::to(Box::new(printed.clone()), Layout { width: None, colour: Colouring::Off });
    let (clock, stop) = (Arc::new(ManualClock::at(now())), CancellationToken::new());
    let receiver = Receiver::new(duties, clock, screen, stop.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    Running { address, printed, stop, served: tokio::spawn(receiver.serve(listener)) }
}

impl Running {
    async fn send(&self, headers: &[Header], body: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        let driver = tokio::spawn(connection);
        let mut request = Request::post("/hook?a=b").header("host", "localhost");
        for header in headers {
            request = request.header(&*header.name, header.value.as_ref());
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        driver.abort();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// What comes back on the wire until the connection is closed.
    async fn exchange_raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // A connection that is cut off may be reset: what came before counts.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).expect("text")
    }

    async fn end(self) -> String {
        self.stop.cancel();
        self.served.await.expect("no panic");
        String::from_utf8(self.printed.0.lock().expect("no panic").clone()).expect("text")
    }
}

/// The headers of a delivery's try, as a worker makes them.
fn signed(profile: &str, secret: &str, event: &str, body: &str) -> Vec<Header> {
    let name: ProfileName = profile.parse().expect("a name");
    let profile = builtin_profile(&name).expect("a built-in profile");
    let event_id: EventId = event.parse().expect("an id");
    let tenant: TenantId = "acme".parse().expect("an id");
    let webhook = WebhookId::from_u128(1);
    let context = RequestContext {
        event_id: &event_id,
        event_type: &"cap.reached".parse().expect("a type"),
        event_timestamp: now(),
        schema_version: SchemaVersion::FIRST,
        tenant: &tenant,
        webhook,
        delivery: DeliveryId::derive(now(), &event_id, webhook, 0),
        attempt: AttemptNumber::FIRST,
        started_at: now(),
    };
    let rule = profile.definition().secret.as_ref().expect("a rule");
    let key = SigningKey::parse(secret, rule).expect("a secret");
    let covered = Covered { query: "a=b", body: body.as_bytes() };
    signed_request(&profile, &ProfileOverride::default(), &context, covered, &[key]).headers
}

#[tokio::test]
async fn the_signature_of_every_built_in_profile_is_recognised_and_checked() {
    for profile in builtin_profiles() {
        let name = profile.name().as_str();
        let running = start(None, &[SECRET], |_| ()).await;
        let answer = running.send(&signed(name, SECRET, "evt_1", BODY), BODY).await;
        assert_eq!(answer, (200, "thanks".to_owned()));
        let printed = running.end().await;
        assert!(printed.contains(&format!("signature ok ({name})")), "{printed}");
        assert!(
            printed.contains("POST /hook?a=b") && printed.contains("12345678901234567890123"),
            "{printed}"
        );
        assert!(printed.contains("→ 200 OK"), "{printed}");
    }
}

#[tokio::test]
async fn a_wrong_signature_is_told_with_what_would_have_been_right() {
    let as_text = {
        let profile = crate::profile_argument::load("trackdesk").expect("a built-in profile");
        let rule = profile.definition().secret.clone().expect("a rule");
        assert_eq!(rule.form, SecretForm::Text);
        signed("trackdesk", SECRET, "evt_1", BODY)
    };
    let without_its_type: Vec<Header> =
        as_text.iter().filter(|header| header.name != "X-Trackdesk-Event").cloned().collect();
    for (profile, headers, body, hint) in [
        (None, &without_its_type, BODY.to_owned(), "takes the secret for text, prefix and all"),
        (
            Some("trackdesk"),
            &signed("standard", SECRET, "evt_1", BODY),
            BODY.to_owned(),
            "takes the secret for base64",
        ),
        (
            Some("standard"),
            &signed("standard", SECRET, "evt_1", BODY),
            format!("{BODY}\n"),
            "other white space",
        ),
        (Some("tracktile"), &signed("track360", SECRET, "evt_1", BODY), BODY.to_owned(), "is missing"),
    ] {
        let running = start(profile, &[SECRET], |_| ()).await;
        running.send(headers, &body).await;
        let printed = running.end().await;
        assert!(printed.contains("SIGNATURE WRONG") && printed.contains(hint), "{hint}: {printed}");
    }
}

#[tokio::test]
async fn a_changed_body_and_a_missing_secret_are_told_apart() {
    let running = start(Some("standard"), &[SECRET], |_| ()).await;
    running.send(&signed("standard", SECRET, "evt_1", BODY), "{}").await;
    running.send(&[], BODY).await;
    let printed = running.end().await;
    assert!(printed.contains("SIGNATURE WRONG: no signature matches"), "{printed}");
    assert!(printed.contains("SIGNATURE WRONG: the header webhook-signature is missing"), "{printed}");
    assert!(printed.contains("2 requests, 1 distinct event, 2 wrong signatures"), "{printed}");
    let running = start(None, &[], |_| ()).await;
    running.send(&signed("trcker", SECRET, "evt_1", BODY), BODY).await;
    let printed = running.end().await;
    assert!(printed.contains("signature not checked: no --secret given (trcker)"), "{printed}");
}

#[tokio::test]
async fn a_repeat_is_recognised_by_what_the_profile_gives_receivers() {
    let running = start(None, &[SECRET], |_| ()).await;
    for event in ["evt_1", "evt_2", "evt_1"] {
        running.send(&signed("trcker", SECRET, event, BODY), BODY).await;
    }
    let printed = running.end().await;
    assert_eq!(printed.matches("repeat #2").count(), 1, "{printed}");
    assert!(printed.contains("3 requests, 2 distinct events, 0 wrong signatures"), "{printed}");
}

#[tokio::test]
async fn it_answers_as_it_is_told_to() {
    let running = start(None, &[], |duties| {
        duties.behaviour.status = StatusCode::TOO_MANY_REQUESTS;
        duties.behaviour.retry_after = Some(Duration::from_secs(5));
        duties.behaviour.delay = Some(Duration::from_millis(1));
    })
    .await;
    assert_eq!(running.send(&[], "not json \u{1b}[2J").await.0, 429);
    let printed = running.end().await;
    assert!(printed.contains("#1  → 429 Too Many Requests, Retry-After: 5 after 1ms"), "{printed}");
    assert!(printed.contains("not json \\u{1b}[2J"), "{printed}");
}

const RAW: &str = "POST /hook HTTP/1.1\r\nHost: localhost\r\nX-Own-NAME: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn headers_are_shown_as_they_were_written() {
    let running = start(None, &[], |_| ()).await;
    running.exchange_raw(RAW).await;
    let printed = running.end().await;
    assert!(printed.contains("    X-Own-NAME: 1\n"), "{printed}");
}

#[tokio::test]
async fn a_connection_is_closed_before_the_answer_or_half_way_through_it() {
    let closing = async |way| {
        let running = start(None, &[], |duties| duties.behaviour.way = way).await;
        let answer = running.exchange_raw(RAW).await;
        (answer, running.end().await)
    };
    let (answer, printed) = closing(Way::ClosedBefore).await;
    assert_eq!(answer, "");
    assert!(printed.contains("→ closed the connection without an answer"), "{printed}");
    let (answer, printed) = closing(Way::ClosedHalfDone).await;
    assert!(answer.contains("content-length: 6") && answer.ends_with("\r\n\r\ntha"), "{answer}");
    assert!(printed.contains("→ 200 OK, closed after 3 of 6 bytes"), "{printed}");
    assert!(!printed.contains("ended early"), "it was told to: {printed}");
}

#[tokio::test]
async fn a_body_drips_and_is_whole_in_the_end() {
    let running =
        start(None, &[], |duties| duties.behaviour.way = Way::Dripping(Duration::from_millis(1))).await;
    assert_eq!(running.send(&[], BODY).await, (200, "thanks".to_owned()));
    let printed = running.end().await;
    assert!(printed.contains("→ 200 OK, 6 bytes, one every 1ms"), "{printed}");
}

#[tokio::test]
async fn a_delivery_is_taken_after_so_many_tries() {
    let running = start(None, &[], |duties| {
        duties.behaviour.status = StatusCode::SERVICE_UNAVAILABLE;
        duties.behaviour.recover_after = Some(2);
    })
    .await;
    let mut statuses = Vec::new();
    for event in ["evt_1", "evt_1", "evt_2", "evt_1", "evt_2", "evt_2"] {
        statuses.push(running.send(&signed("trcker", SECRET, event, BODY), BODY).await.0);
    }
    assert_eq!(statuses, [503, 503, 503, 200, 503, 200]);
    running.end().await;
}

#[tokio::test]
async fn a_request_is_replayed_as_it_came_and_answered_as_the_other_server_does() {
    let target = start(Some("trcker"), &[SECRET], |duties| {
        duties.behaviour.status = StatusCode::TOO_MANY_REQUESTS;
        duties.behaviour.retry_after = Some(Duration::from_secs(7));
    })
    .await;
    let to = format!("http://{}", target.address);
    let running = start(None, &[SECRET], |duties| duties.replay = Some(to.parse().expect("a URL"))).await;
    let signed = signed("trcker", SECRET, "evt_1", BODY);
    let lines: String = signed
        .iter()
        .map(|header| format!("{}: {}\r\n", header.name, String::from_utf8_lossy(&header.value)))
        .collect();
    let length = BODY.len();
    let request = format!(
        "POST /hook?a=b HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n\r\n{BODY}"
    );
    let answer = running.exchange_raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 7"), "{answer}");
    assert!(answer.ends_with("thanks"), "{answer}");
    let printed = running.end().await;
    let line = format!("#1  → replayed to {to}/: 429 Too Many Requests, Retry-After: 7");
    assert!(printed.contains(&line), "{printed}");
    let seen = target.end().await;
    assert!(seen.contains("POST /hook?a=b") && seen.contains("signature ok (trcker)"), "{seen}");
    assert!(seen.contains("    X-Trcker-Signature: t="), "names keep their case: {seen}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_replay_is_told_of() {
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let to = format!("http://{}/own/path", gone.local_addr().expect("an address"));
    drop(gone);
    let running = start(None, &[], |duties| duties.replay = Some(to.parse().expect("a URL"))).await;
    assert_eq!(running.send(&[], BODY).await.0, 502);
    let printed = running.end().await;
    assert!(printed.contains("which cannot be reached (connection refused): 502 Bad Gateway"), "{printed}");
    for text in ["ftp://a.example", "http://", "nowhere"] {
        assert!(text.parse::<Replay>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn what_came_is_recorded_as_a_capture() {
    let path = std::env::temp_dir().join(format!("postrider-{}-record.json", std::process::id()));
    let path = path.display().to_string();
    let running = start(None, &[], |duties| duties.record = Some(Record::open(&path).expect("open"))).await;
    running.exchange_raw(RAW).await;
    running.exchange_raw(&RAW.replace("{}", "[]")).await;
    running.end().await;
    let requests = crate::capture::read_capture(&path).expect("a capture");
    std::fs::remove_file(&path).expect("removed");
    let bodies: Vec<&[u8]> = requests.iter().map(|request| request.body.as_ref()).collect();
    assert_eq!(bodies, [b"{}", b"[]"]);
    let first = &requests[0];
    assert_eq!((first.url.as_str(), first.at), ("http://localhost/hook", Some(now())));
    let names: Vec<&str> = first.headers.iter().map(|header| &*header.name).collect();
    assert_eq!(names, ["Host", "X-Own-NAME", "Connection", "Content-Length"]);
}

#[tokio::test]
async fn credentials_are_not_shown() {
    let running = start(None, &[], |_| ()).await;
    let header = Header { name: "Authorization".into(), value: Bytes::from_static(b"Bearer very-secret") };
    running.send(&[header], BODY).await;
    let printed = running.end().await;
    assert!(
        printed.contains("authorization: Bearer *** (11 characters)") && !printed.contains("very-secret"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let error = super::bind("127.0.0.1", port).await.expect_err("it is taken");
    assert_eq!(
        format!("{error:#}"),
        format!("port {port} on 127.0.0.1 is in use: choose another with --port")
    );
}
