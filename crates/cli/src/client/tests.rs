//! The commands against a server that answers as it is told to.

mod captures;
mod event_types;
mod explain;
mod fake_api;
mod postbacks;
mod profiles;

use std::sync::Arc;

use clap::{CommandFactory, Parser};
use postrider_contract::clock::ManualClock;

use super::error::ClientError;
use super::session::Session;
use super::{Connection, Output};
use crate::table::{Colouring, Layout, Screen};
use fake_api::{CommandLine, FakeApi, Printed};

const PLAIN: Layout = Layout { width: None, colour: Colouring::Off };

/// Runs what is typed after `postrider`.
async fn run(api: &FakeApi, words: &[&str]) -> (String, Result<(), ClientError>) {
    let line = CommandLine::try_parse_from(["postrider"].iter().chain(words)).expect("a command line");
    let (printed, result) = run_as(&api.connection(), line).await;
    (printed.text(), result)
}

async fn run_as(connection: &Connection, line: CommandLine) -> (Printed, Result<(), ClientError>) {
    let printed = Printed::default();
    let screen = Screen::to(Box::new(printed.clone()), PLAIN);
    let now = "2026-11-21T09:30:00Z".parse().expect("a time");
    let session = Session::new(connection, line.output, screen).expect("a connection");
    let mut session = session.at(Arc::new(ManualClock::at(now)));
    let result = line.command.run_in(&mut session).await;
    (printed, result)
}

#[test]
fn the_command_line_holds_together() {
    CommandLine::command().debug_assert();
}

#[test]
fn a_webhooks_url_is_not_taken_for_the_servers() {
    let words = [
        "postrider",
        "webhooks",
        "register",
        "--on",
        "a.*",
        "--url",
        "https://a.example",
        "--server",
        "http://s",
    ];
    let line = CommandLine::try_parse_from(words).expect("a command line");
    assert_eq!(line.connection.url.as_deref(), Some("http://s"));
}

#[tokio::test]
async fn a_request_says_who_calls_and_for_which_tenant() {
    let api = FakeApi::answering(&[(200, r#"{"data":[],"next_cursor":null}"#)]).await;
    let (printed, result) = run(&api, &["webhooks", "list"]).await;
    result.expect("listed");
    assert!(printed.contains("no webhooks yet"));
    run(&api, &["tenants", "list"]).await.1.expect("listed");
    let asked = api.asked();
    assert_eq!(asked[0].line, "GET /v1/webhooks?limit=50");
    assert_eq!(asked[0].headers["authorization"], "Bearer pk_test");
    assert_eq!(asked[0].headers["postrider-tenant"], "acme");
    assert!(!asked[1].headers.contains_key("postrider-tenant"), "tenants are the installation's");
}

#[tokio::test]
async fn data_goes_out_byte_for_byte() {
    let api =
        FakeApi::answering(&[(202, r#"{"id":"evt_1","deliveries":[{"id":"dlv_1","webhook_id":"wh_1"}]}"#)])
            .await;
    let data = r#"{ "n": 12345678901234567890123,  "a":1, "a":2 }"#;
    let words = [
        "events",
        "send",
        "cap.reached",
        "--data",
        data,
        "--id",
        "e\"1",
        "--idempotency-key",
        "k1",
        "--webhook",
        "wh_1",
    ];
    let (printed, result) = run(&api, &words).await;
    result.expect("sent");
    assert!(printed.contains("accepted: evt_1") && printed.contains("dlv_1"), "{printed}");
    let asked = api.asked();
    let expected = format!(r#"{{"type":"cap.reached","id":"e\"1","webhook_ids":["wh_1"],"data":{data}}}"#);
    assert_eq!(asked[0].body, expected.as_bytes());
    assert_eq!(asked[0].headers["idempotency-key"], "k1");
    assert_eq!(asked[0].headers["content-type"], "application/json");
}

#[tokio::test]
async fn pages_are_followed_and_make_one_document() {
    let api = FakeApi::answering(&[
        (200, r#"{"data":[{"id":"dlv_2","n":1.50}],"next_cursor":"c+1"}"#),
        (200, r#"{"data":[{"id":"dlv_1"}],"next_cursor":null}"#),
    ])
    .await;
    let (printed, result) = run(&api, &["deliveries", "list", "--since", "1h", "--output", "json"]).await;
    result.expect("listed");
    assert_eq!(
        printed,
        "{\"data\":[{\"id\":\"dlv_2\",\"n\":1.50},{\"id\":\"dlv_1\"}],\"next_cursor\":null}\n"
    );
    let asked = api.asked();
    assert_eq!(asked[0].line, "GET /v1/deliveries?since=2026-11-21T08%3A30%3A00.000Z&limit=50");
    assert_eq!(asked[1].line, "GET /v1/deliveries?since=2026-11-21T08%3A30%3A00.000Z&limit=49&cursor=c%2B1");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_said_to_be() {
    let api = FakeApi::answering(&[(201, r#"{"id":"wh_1","status":"active","secret":"whsec_abc"}"#)]).await;
    let words = [
        "webhooks",
        "register",
        "--on",
        "a.*",
        "--on",
        "b",
        "--url",
        "https://a.example",
        "--header",
        "X-A: b:c",
        "--rate-limit",
        "5",
        "--auth-basic",
        "user:pass:word",
        "--timeout",
        "2s",
    ];
    let (printed, result) = run(&api, &words).await;
    result.expect("registered");
    assert!(printed.contains("whsec_abc") && printed.contains("shown once"), "{printed}");
    let body: serde_json::Value = serde_json::from_slice(&api.asked()[0].body).expect("JSON");
    let expected = serde_json::json!({
        "url": "https://a.example", "events": ["a.*", "b"], "headers": {"X-A": "b:c"}, "rate_limit_per_second": 5,
        "auth_type": "basic", "auth_username": "user", "auth_password": "pass:word", "timeout_ms": 2000,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_key_is_made_for_the_tenant_named() {
    let api =
        FakeApi::answering(&[(201, r#"{"id":"key_1","name":"n","scopes":["publish"],"key":"pk_secret"}"#)])
            .await;
    let words = ["keys", "create", "--name", "n", "--scopes", "publish,read"];
    let (printed, result) = run(&api, &words).await;
    result.expect("made");
    assert!(
        printed.contains("export POSTRIDER_KEY=pk_secret") && printed.contains("shown once"),
        "{printed}"
    );
    let asked = api.asked();
    assert_eq!(asked[0].line, "POST /v1/tenants/acme/keys");
    assert_eq!(asked[0].body, r#"{"name":"n","scopes":["publish","read"]}"#.as_bytes());
    let line = CommandLine::try_parse_from(["postrider", "keys", "list"]).expect("a command line");
    let nobody = Connection { tenant: None, ..api.connection() };
    let (_, result) = run_as(&nobody, line).await;
    assert!(result.is_err_and(|error| error.to_string().contains("--tenant")));
}

#[tokio::test]
async fn a_ledger_that_does_not_balance_is_a_failure() {
    const DELIVERIES: &str =
        r#""pending":0,"retrying":0,"held":0,"failed":0,"canceled":0,"expired":0,"overdue":0}"#;
    let whole = format!(
        r#"{{"events":{{"accepted":2,"matched":2,"unmatched":0,"in_doubt":0}},"deliveries":{{"expected":2,"delivered":2,{DELIVERIES},"settling":false,"balanced":true}}"#
    );
    let broken = whole.replace("\"delivered\":2", "\"delivered\":1").replace("true", "false");
    let api = FakeApi::answering(&[(200, whole.leak()), (200, broken.leak())]).await;
    let (printed, result) = run(&api, &["ledger", "--all"]).await;
    result.expect("balanced");
    assert!(printed.contains("balanced: every accepted event"), "{printed}");
    assert!(!api.asked()[0].headers.contains_key("postrider-tenant"));
    let (printed, result) = run(&api, &["ledger"]).await;
    assert!(printed.contains("NOT BALANCED: 2 deliveries expected, but 1 in the log"), "{printed}");
    assert!(matches!(result, Err(ClientError::NotWell(_))));
}

const DELIVERY: &str = r#"{"id":"dlv_1","object":"delivery","event_id":"evt_1","event_type":"cap.reached",
    "webhook_id":"wh_1","kind":"webhook","status":"retrying","accepted_at":"2026-11-21T09:30:00.000Z",
    "next_attempt_at":"2026-11-21T09:30:06.000Z","attempts":2,"last_error":"connect","replay":0,"profile":"trcker",
    "tries":[
     {"id":"att_1","number":1,"started_at":"2026-11-21T09:30:00.010Z","request":{"method":"POST","url":"http://a/",
      "headers":[{"name":"X-Trcker-Signature","value":"***"}],"body_sha256":"0123456789abcdef0123","body_bytes":12},
      "address":"127.0.0.1:9000","timings":{"connect_ms":0.2,"total_ms":12.34},
      "response":{"status":500,"headers":[],"body":"oh\u001b no","body_encoding":"utf-8","body_extent":"whole"},
      "outcome":"retry","outcome_reason":"status 500","next_attempt_at":"2026-11-21T09:30:01.000Z"},
     {"id":"att_2","number":2,"started_at":"2026-11-21T09:30:01.000Z","request":{"method":"POST","url":"http://a/",
      "headers":[],"body_sha256":"","body_bytes":12},"timings":{"total_ms":1500},
      "error":{"class":"connect","detail":"connection refused"},"outcome":"retry",
      "next_attempt_at":"2026-11-21T09:30:06.000Z"}]}"#;

#[tokio::test]
async fn a_delivery_is_shown_as_a_timeline() {
    let api = FakeApi::answering(&[(200, DELIVERY)]).await;
    let (printed, result) = run(&api, &["deliveries", "show", "dlv_1"]).await;
    result.expect("shown");
    for part in [
        "dlv_1  retrying: 2 tries, last connect, next 2026-11-21 09:30:06",
        "#1  2026-11-21 09:30:00.010  500 Internal Server Error  in 12.3 ms  → next try 2026-11-21 09:30:01.000",
        "X-Trcker-Signature: ***",
        "oh\\u{1b} no",
        "#2  2026-11-21 09:30:01.000  connect: connection refused  in 1.50 s  → next try",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
}

#[tokio::test]
async fn a_batch_tells_which_events_were_refused() {
    let answer = r#"{"accepted":1,"rejected":1,"results":[{"id":"evt_1"},{"error":{"detail":"/type: is missing","code":"invalid_request"}}]}"#;
    let api = FakeApi::answering(&[(202, answer)]).await;
    let file = std::env::temp_dir().join(format!("postrider-batch-{}.ndjson", std::process::id()));
    std::fs::write(&file, "{\"type\":\"a\",\"data\":{}}\n{}\n").expect("a file");
    let (printed, result) = run(&api, &["events", "send-batch", file.to_str().expect("a path")]).await;
    std::fs::remove_file(&file).expect("removed");
    assert!(
        printed.contains("accepted 1, refused 1") && printed.contains("event 2: /type: is missing"),
        "{printed}"
    );
    assert!(matches!(result, Err(ClientError::NotWell(_))));
    assert_eq!(api.asked()[0].headers["content-type"], "application/x-ndjson");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let api = FakeApi::answering(&[
        (404, r#"{"title":"Not found","status":404,"detail":"there is nothing here","code":"not_found"}"#),
        (200, "<html>"),
        (502, "bad gateway"),
    ])
    .await;
    let (_, refused) = run(&api, &["events", "show", "evt_1"]).await;
    assert!(matches!(refused, Err(ClientError::Refused(_))));
    for _ in 0..2 {
        let (_, other) = run(&api, &["events", "show", "evt_1"]).await;
        assert!(matches!(other, Err(ClientError::NotPostrider { .. })));
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let line = CommandLine::try_parse_from(["postrider", "ledger"]).expect("a command line");
    let (_, result) = run_as(&Connection { url: Some(url), ..api.connection() }, line).await;
    let text = result.expect_err("nobody is there").to_string();
    assert!(text.contains("connection refused") && text.contains("postrider serve"), "{text}");
}

#[tokio::test]
async fn the_tail_shows_what_is_new_or_changed_and_nothing_twice() {
    const FIRST: &str = r#"{"data":[{"id":"dlv_2","status":"pending","attempts":0},{"id":"dlv_1","status":"delivered","attempts":1}],"next_cursor":null}"#;
    const SECOND: &str = r#"{"data":[{"id":"dlv_2","status":"delivered","attempts":1},{"id":"dlv_1","status":"delivered","attempts":1}],"next_cursor":null}"#;
    let api = FakeApi::answering(&[(200, FIRST), (200, SECOND), (200, SECOND)]).await;
    let line = CommandLine::try_parse_from(["postrider", "deliveries", "tail"]).expect("a command line");
    let super::ClientCommand::Deliveries(super::deliveries::Deliveries::Tail(tail)) = line.command else {
        panic!("a tail was typed");
    };
    let session =
        Session::new(&api.connection(), Output::Json, Screen::to(Box::new(Printed::default()), PLAIN));
    let session = session.expect("a connection");
    let mut follower = super::tail::Follower::default();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let news = follower.news(&session, &tail.filters).await.expect("answered");
        ids.push(news.iter().map(|item| item.get()[7..12].to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(ids, [vec!["dlv_1".to_owned(), "dlv_2".to_owned()], vec!["dlv_2".to_owned()], vec![]]);
}

/// As the server answers, name by name.
const TESTED: &str = r#"{"id":"dlv_1","webhook_id":"wh_1","event_id":"evt_1","event_type":"conversion.created",
    "attempt":{"id":"att_1","number":1,"started_at":"2026-11-21T09:30:00.010Z",
    "response":{"status":200,"body":"thank you"},"timings":{"total_ms":12.34},"outcome":"delivered"}}"#;

#[tokio::test]
async fn a_test_shows_what_the_receiver_answered() {
    let api = FakeApi::answering(&[(200, TESTED)]).await;
    let (printed, result) = run(&api, &["webhooks", "test", "wh_1"]).await;
    result.expect("answered with 2xx");
    assert_eq!(
        printed,
        "conversion.created: 200 in 12.3 ms, try 1\n  thank you\nall of it: postrider deliveries show dlv_1\n"
    );
    assert_eq!(api.asked()[0].line, "POST /v1/webhooks/wh_1/test");
    let (printed, result) = run(&api, &["webhooks", "test", "wh_1", "--output", "json"]).await;
    result.expect("answered with 2xx");
    assert_eq!(printed.trim_end(), TESTED, "the answer as it came");
}

#[tokio::test]
async fn a_test_that_is_not_delivered_fails_whatever_its_status() {
    let delivered = r#""outcome":"delivered""#;
    let retried = |reason: &str| format!(r#""outcome":"retry","outcome_reason":"{reason}""#);
    let denied = TESTED.replace(delivered, &retried("status 200"));
    let refused = TESTED.replace("200", "500").replace(delivered, &retried("status 500"));
    let of_old_server = TESTED.replace("200", "500").replace(&format!(",{delivered}"), "");
    let response = r#""response":{"status":200,"body":"thank you"}"#;
    let error = r#""error":{"class":"connect","detail":"connection refused"}"#;
    let unanswered = TESTED.replace(response, error).replace(delivered, &retried("connect"));
    let untried = r#"{"id":"dlv_1","webhook_id":"wh_1","event_id":"evt_1","event_type":"a.b"}"#;
    let answers = [denied, refused, of_old_server, unanswered].map(|answer| (200, &*answer.leak()));
    let api = FakeApi::answering(&[&answers[..], &[(202, untried)]].concat()).await;
    for words in [
        "200 (retry, status 200) in 12.3 ms",
        "500 (retry, status 500) in 12.3 ms",
        "500 in 12.3 ms",
        "connect: connection refused in 12.3 ms",
    ] {
        let (printed, result) = run(&api, &["webhooks", "test", "wh_1"]).await;
        assert!(printed.contains(words), "{printed}");
        assert!(matches!(result, Err(ClientError::NotWell(_))));
    }
    let (printed, result) = run(&api, &["webhooks", "test", "wh_1"]).await;
    result.expect("nothing has failed");
    assert!(printed.contains("not tried yet") && printed.contains("deliveries show dlv_1"), "{printed}");
}

#[tokio::test]
async fn secrets_need_not_stand_on_the_command_line() {
    let api = FakeApi::answering(&[(200, r#"{"id":"wh_1","status":"active"}"#)]).await;
    let file = std::env::temp_dir().join(format!("postrider-client-secret-{}", std::process::id()));
    std::fs::write(&file, "hidden\n").expect("written");
    let at = format!("@{}", file.display());
    let (basic, api_key) = (format!("user:{at}"), format!("X-Key: {at}"));
    let register = ["webhooks", "register", "--on", "a", "--url", "https://a.example", "--secret", &at];
    let update = ["webhooks", "update", "wh_1", "--secret", &at];
    let cases = [
        (&register[..], ["--auth-bearer", &at], "auth_token"),
        (&update[..], ["--auth-basic", &basic], "auth_password"),
        (&update[..], ["--auth-api-key", &api_key], "api_key_value"),
    ];
    for (words, option, member) in cases {
        run(&api, &[words, &option].concat()).await.1.expect("done");
        let body: serde_json::Value = serde_json::from_slice(&api.asked()[0].body).expect("JSON");
        assert_eq!((&body["secret"], &body[member]), (&"hidden".into(), &"hidden".into()), "{body}");
    }
    std::fs::remove_file(&file).expect("removed");
    let (_, result) = run(&api, &update).await;
    assert!(matches!(result, Err(ClientError::Secret(_))));
    assert!(api.asked().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_template_is_sent_as_it_was_written_or_removed() {
    let answer = (200, r#"{"id":"wh_1","status":"active"}"#);
    let api = FakeApi::answering(&[answer, answer]).await;
    let text = r#"{ "n": 1.50, "s": "{{summary}}" }"#;
    for (words, expected) in [
        (
            &["--template", text, "--template-typed"][..],
            serde_json::json!({"template": text, "template_typed": true}),
        ),
        (
            &["--template", " null", "--template-typed=false"],
            serde_json::json!({"template": null, "template_typed": false}),
        ),
    ] {
        run(&api, &[&["webhooks", "update", "wh_1"], words].concat()).await.1.expect("done");
        let body: serde_json::Value = serde_json::from_slice(&api.asked()[0].body).expect("JSON");
        assert_eq!(body, expected);
    }
}

#[test]
fn what_cannot_be_a_status_code_is_refused_with_its_bounds() {
    for code in ["99", "600", "x"] {
        let line = CommandLine::try_parse_from(["postrider", "deliveries", "list", "--code", code]);
        let said = line.err().map(|error| error.to_string()).expect("refused");
        assert!(code == "x" || said.contains("100..=599"), "{said}");
    }
}

#[test]
fn a_usage_line_does_not_ask_for_what_has_a_default() {
    let words = ["postrider", "events", "send"];
    let said = CommandLine::try_parse_from(words).err().map(|error| error.to_string()).expect("refused");
    let usage = said.lines().find(|line| line.starts_with("Usage:")).expect("a usage line");
    assert!(usage.contains("<TYPE>") && !usage.contains("--server") && !usage.contains("--key"), "{usage}");
}
