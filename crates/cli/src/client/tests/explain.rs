//! `events explain`: what it asks, and what it shows of the answer.

use serde_json::{Value, json};

use super::*;

const ANSWER: &str = r#"{"event":{"id":"evt_1","type":"order.paid"},"matched":1,"signed":true,"left_off":3,"webhooks":[
  {"webhook_id":"wh_1","name":"shop","kind":"webhook","profile":"trcker","matches":true,"delivery_id":"dlv_1",
   "request":{"method":"POST","url":"https://shop.example/hook?a=1","target":"/hook?a=1","body_bytes":7,
    "headers":[{"name":"Host","value":"shop.example"},{"name":"Authorization","value":"Bearer ***","masked":true}],
    "body":"{\"n\":1}","body_sha256":"00"},
   "of_the_moment":[{"cause":"tried_at","headers":["X-Trcker-Signature"]},{"cause":"event_id","body":true}],
   "tries":["2026-11-21T09:30:00.000Z","2026-11-21T09:30:01.000Z"]},
  {"webhook_id":"wh_2","name":"other","kind":"postback","profile":"trcker","matches":false,"reasons":[
   {"code":"filter","detail":"its filter does not take this data",
    "terms":[{"pointer":"/and/1","field":"status","detail":"is not there"}]}]}]}"#;
const LOGGED: &str = r#"{"id":"evt_1","type":"order.paid","accepted_at":"2026-11-21T09:00:00.000Z",
  "timestamp":"2026-11-21T08:59:59.000Z","schema_version":"1.0","summary":null,"workflow":{ "w":1 },
  "data":{ "n": 12345678901234567890123 }}"#;

#[tokio::test]
async fn an_explanation_shows_requests_as_they_are_written_and_reasons() {
    let api = FakeApi::answering(&[(200, ANSWER)]).await;
    let words =
        ["events", "explain", "order.paid", "--data", r#"{ "n": 1.10 }"#, "--webhook", "wh_1", "--id", "e-1"];
    let (printed, result) = run(&api, &words).await;
    result.expect("shown");
    for part in [
        "evt_1  order.paid: goes to 1 of 5 webhooks; nothing was sent\n",
        "    POST /hook?a=1 HTTP/1.1\n    Host: shop.example\n    Authorization: Bearer ***  (masked)\n\n    {\"n\":1}\n",
        "    another time of the try would change X-Trcker-Signature\n",
        "    another id of the event would change the body\n",
        "    its filter does not take this data\n        /and/1: status is not there\n",
        "… and 3 more webhooks",
    ] {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    let asked = api.asked().remove(0);
    assert_eq!(asked.line, "POST /v1/events/explain");
    assert_eq!(asked.body, r#"{"type":"order.paid","id":"e-1","webhook_ids":["wh_1"],"data":{ "n": 1.10 }}"#);
}

#[tokio::test]
async fn an_event_of_the_log_is_explained_as_its_producer_wrote_it() {
    let api = FakeApi::answering(&[(200, LOGGED), (200, ANSWER)]).await;
    let words = ["events", "explain", "--event", "evt_1", "--at", "2026-11-21T10:00:00Z", "--output", "json"];
    let (printed, result) = run(&api, &words).await;
    result.expect("shown");
    assert_eq!(
        serde_json::from_str::<Value>(&printed).expect("JSON"),
        serde_json::from_str::<Value>(ANSWER).expect("JSON")
    );
    let asked = api.asked();
    assert_eq!(asked[0].line, "GET /v1/events/evt_1");
    for part in ["/v1/events/explain?at=2026-11-21T10", "accepted_at=2026-11-21T09"] {
        assert!(asked[1].line.contains(part), "{}", asked[1].line);
    }
    let body = std::str::from_utf8(&asked[1].body).expect("text");
    assert!(body.ends_with(r#""workflow":{ "w":1 },"data":{ "n": 12345678901234567890123 }}"#), "{body}");
    let read: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&read["id"], read.get("summary")), (&json!("evt_1"), None));
}

#[tokio::test]
async fn without_data_the_catalogues_example_is_explained() {
    let known = r#"{"type":"cap.reached","version":"2.1","example":{ "cap": 1.0 }}"#;
    let api = FakeApi::answering(&[(200, known), (200, ANSWER)]).await;
    run(&api, &["events", "explain", "cap.reached"]).await.1.expect("shown");
    let asked = api.asked();
    assert_eq!(asked[0].line, "GET /v1/event-types/cap.reached");
    assert_eq!(asked[1].body, r#"{"type":"cap.reached","schema_version":"2.1","data":{ "cap": 1.0 }}"#);
    let not_there = (404, r#"{"title":"Not found","code":"not_found","detail":"no"}"#);
    for answer in [not_there, (200, r#"{"type":"my.own","version":"1.0","example":null}"#)] {
        let api = FakeApi::answering(&[answer]).await;
        let (_, result) = run(&api, &["events", "explain", "my.own"]).await;
        let Err(ClientError::Usage(said)) = result else { panic!("{result:?}") };
        assert!(said.contains("--data"), "{said}");
    }
}

#[tokio::test]
async fn an_event_of_the_log_in_several_versions_is_explained_in_all_of_them() {
    let logged = r#"{"id":"evt_1","type":"order.paid","accepted_at":"2026-11-21T09:00:00.000Z",
      "schema_version":null,"versions":{ "1":{"n":1.0},"2":{} }}"#;
    let api = FakeApi::answering(&[(200, logged), (200, ANSWER)]).await;
    run(&api, &["events", "explain", "--event", "evt_1"]).await.1.expect("shown");
    let expected = r#"{"id":"evt_1","type":"order.paid","versions":{ "1":{"n":1.0},"2":{} }}"#;
    assert_eq!(api.asked()[1].body, expected);
}

#[tokio::test]
async fn what_is_not_as_described_is_shown_with_what_comes_of_it() {
    const ACCEPTED: &str = r#"{"matched":0,"signed":true,
        "schema_warnings":[{"pointer":"/data/total","detail":"must be a number"}]}"#;
    const REFUSED: &str = r#"{"matched":0,"signed":true,"refused_by_schema":true,
        "schema_warnings":[{"pointer":"/data/total","detail":"must be a number"}]}"#;
    for (answer, said) in [(ACCEPTED, "accepted, though it is not as"), (REFUSED, "refused: it is not as")] {
        let api = FakeApi::answering(&[(200, answer)]).await;
        let (printed, result) = run(&api, &["events", "explain", "a.b", "--data", "{}"]).await;
        result.expect("shown");
        assert!(
            printed.contains(said) && printed.contains("    /data/total must be a number\n"),
            "{printed}"
        );
    }
}

#[test]
fn an_event_of_the_log_has_its_own_type_and_data() {
    for words in [&["a.b", "--event", "evt_1"][..], &["--event", "evt_1", "--data", "{}"], &[]] {
        let line = ["postrider", "events", "explain"].iter().chain(words);
        assert!(CommandLine::try_parse_from(line).is_err(), "{words:?}");
    }
}
