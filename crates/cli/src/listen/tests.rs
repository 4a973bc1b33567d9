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
use postrider_contract::profile::{ProfileName, ProfileOverride, builtin_profile};
use postrider_contract::signature::{RequestContext, SigningKey, request_headers};
use postrider_service::system::SystemEntropy;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::behaviour::Behaviour;
use super::checking::Checking;
use super::receiver::Receiver;
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

async fn start(profile: Option<&str>, secrets: &[&str], behave: impl FnOnce(&mut Behaviour)) -> Running {
    let mut behaviour = Behaviour {
        status: StatusCode::OK,
        body: Bytes::from_static(b"thanks"),
        delay: None,
        fail_rate: None,
        retry_after: None,
        entropy: Arc::new(SystemEntropy),
    };
    behave(&mut behaviour);
    let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    let checking = Checking::new(profile, secrets).expect("usable");
    let printed = Printed::default();
    let screen = Screen::to(Box::new(printed.clone()), Layout { width: None, colour: Colouring::Off });
    let (clock, stop) = (Arc::new(ManualClock::at(now())), CancellationToken::new());
    let receiver = Receiver::new(checking, behaviour, clock, BodyShown::Excerpt, screen, stop.clone());
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
    request_headers(&profile, &ProfileOverride::default(), &context, body.as_bytes(), &[key])
}

#[tokio::test]
async fn the_signature_of_every_built_in_profile_is_recognised_and_checked() {
    for profile in ["standard", "trcker", "trakkr", "track360", "tracktile"] {
        let running = start(None, &[SECRET], |_| ()).await;
        let answer = running.send(&signed(profile, SECRET, "evt_1", BODY), BODY).await;
        assert_eq!(answer, (200, "thanks".to_owned()));
        let printed = running.end().await;
        assert!(printed.contains(&format!("signature ok ({profile})")), "{printed}");
        assert!(
            printed.contains("POST /hook?a=b") && printed.contains("12345678901234567890123"),
            "{printed}"
        );
        assert!(printed.contains("→ 200 OK"), "{printed}");
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
    let running = start(None, &[], |behaviour| {
        behaviour.status = StatusCode::TOO_MANY_REQUESTS;
        behaviour.retry_after = Some(Duration::from_secs(5));
        behaviour.delay = Some(Duration::from_millis(1));
    })
    .await;
    assert_eq!(running.send(&[], "not json \u{1b}[2J").await.0, 429);
    let printed = running.end().await;
    assert!(printed.contains("#1  → 429 Too Many Requests, Retry-After: 5 after 1ms"), "{printed}");
    assert!(printed.contains("not json \\u{1b}[2J"), "{printed}");
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
