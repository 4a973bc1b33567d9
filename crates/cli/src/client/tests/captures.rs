//! `postrider profiles check --capture`: what is printed, and how it ends.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::profiles::Written;
use super::*;
use crate::capture::CaptureError;
use crate::client::verdict;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A request of the profile, made as `profiles vectors` makes one, in our own form of a capture.
async fn genuine(api: &FakeApi, profile: &str) -> Value {
    let (printed, result) = run(api, &["profiles", "vectors", profile, "--secret", SECRET]).await;
    result.expect("made");
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    let vector = &document["vectors"][0];
    let mut headers = vec![json!(["Host", "partner.example"])];
    headers.extend(vector["headers"].as_array().expect("headers").iter().cloned());
    let body = vector["body"].as_str().expect("a body");
    headers.push(json!(["Content-Length", body.len().to_string()]));
    json!({"method": vector["method"], "url": "https://partner.example/hook", "headers": headers, "body": body})
}

async fn check(api: &FakeApi, capture: &str, more: &[&str]) -> (String, Result<(), ClientError>) {
    let file = Written::new("capture.json", capture);
    let words =
        [&["profiles", "check", "trcker", "--capture", &file.0, "--secret", SECRET][..], more].concat();
    run(api, &words).await
}

fn code(result: Result<(), ClientError>) -> ExitCode {
    result.map_or_else(|error| verdict(&error.into()).0, |()| ExitCode::SUCCESS)
}

#[tokio::test]
async fn the_same_requests_end_well_and_others_do_not() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let mut request = genuine(&api, "trcker").await;
    let (printed, result) = check(&api, &request.to_string(), &["--all"]).await;
    assert_eq!(code(result), ExitCode::SUCCESS, "{printed}");
    for words in [
        "1 requests: 1 the same, 0 with differences; 1 signatures verified",
        "of the moment: timestamp 1767225600 (header:X-Trcker-Signature), delivery.duplicate_key wh_",
        "the same, byte for byte",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let same = request.clone();
    request["headers"][2] = json!(["user-agent", "Old/1.0"]);
    let capture = format!("{same}\n{request}\n");
    let (printed, result) = check(&api, &capture, &[]).await;
    assert_eq!(code(result), ExitCode::from(1), "{printed}");
    for words in [
        "#2  POST https://partner.example/hook",
        "header:User-Agent  the name is written otherwise, and the value differs from byte 0 on",
        "captured   user-agent: Old/1.0",
        "Postrider  User-Agent: Postrider/",
        "header:User-Agent  in 1 of 2 requests\n",
        "2 requests: 1 the same, 1 with differences",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains("#1"), "what is the same is only counted: {printed}");
    let (printed, result) = check(&api, &capture, &["--accept", "header:user-agent"]).await;
    assert_eq!(code(result), ExitCode::SUCCESS, "{printed}");
    assert!(printed.contains("in 1 of 2 requests, accepted"), "{printed}");
    assert!(api.asked().is_empty(), "built-in profiles need no server");
}

#[tokio::test]
async fn many_that_differ_are_shown_by_a_few_and_all_on_demand() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let mut request = genuine(&api, "trcker").await;
    request["method"] = json!("PUT");
    let capture = Value::Array(vec![request; 8]).to_string();
    let (printed, result) = check(&api, &capture, &[]).await;
    assert_eq!(code(result), ExitCode::from(1));
    assert_eq!(printed.matches("another method").count(), 5, "{printed}");
    assert!(printed.contains("… and 3 more that differ; --all shows them"), "{printed}");
    assert!(printed.contains("method  in 8 of 8 requests"), "{printed}");
    let (printed, _) = check(&api, &capture, &["--all"]).await;
    assert_eq!(printed.matches("another method").count(), 8, "{printed}");
}

#[tokio::test]
async fn a_program_reads_the_same_as_json() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let mut request = genuine(&api, "trcker").await;
    request["body"] = json!(request["body"].as_str().expect("a body").to_owned() + " ");
    let (printed, result) =
        check(&api, &request.to_string(), &["--output", "json", "--accept", "body"]).await;
    assert_eq!(code(result), ExitCode::from(1));
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let found = &report["requests"][0];
    assert_eq!((&report["compared"], &report["different"]), (&json!(1), &json!(1)));
    assert_eq!((&found["same"], &found["signature"]), (&json!(false), &json!("wrong")));
    let differences = found["differences"].as_array().expect("differences");
    let of_body = differences.iter().find(|difference| difference["place"] == "body").expect("one");
    assert_eq!(of_body["accepted"], true);
    assert_eq!(found["of_the_moment"][0]["text"], "1767225600");
}

#[tokio::test]
async fn what_cannot_be_compared_is_said_before_anything_is() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let request = genuine(&api, "trcker").await.to_string();
    for (capture, more, words) in [
        ("", &[][..], "holds no request"),
        ("{}", &[], "request 1 of the capture"),
        (request.as_str(), &["--only", "https://other.example"], "no request in"),
        (request.as_str(), &["--url", "ftp://partner.example"], "--url"),
        (request.as_str(), &["--signature-header", "X-Other"], "cannot be chosen"),
    ] {
        let (_, result) = check(&api, capture, more).await;
        let error = result.expect_err(words);
        assert!(matches!(error, ClientError::Capture(_) | ClientError::Usage(_)), "{error:?}");
        let (code, text) = verdict(&error.into());
        assert_eq!(code, ExitCode::from(2), "{words}");
        assert!(text.expect("a message").contains(words), "{words}");
    }
    let words = ["profiles", "check", "trcker", "--capture", "no/such/file.har"];
    let (_, result) = run(&api, &words).await;
    assert!(matches!(result, Err(ClientError::Capture(CaptureError::Unreadable { .. }))), "{result:?}");
}

#[tokio::test]
async fn options_of_a_capture_need_one() {
    for option in [["--secret", "x"], ["--accept", "url"], ["--url", "https://a.example"]] {
        let words = [&["postrider", "profiles", "check", "trcker"][..], &option].concat();
        let refused = CommandLine::try_parse_from(words).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("--capture")), "{option:?}");
    }
}

#[tokio::test]
async fn a_webhook_of_a_file_is_compared_as_it_would_be_registered() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let webhook = Written::new(
        "postback.json",
        r#"{"kind": "postback", "url": "https://partner.example/pb?cid={click_id}", "events": ["order.paid"],
            "headers": {"X-Partner": "7"}}"#,
    );
    let request = json!({
        "method": "GET", "url": "https://partner.example/pb?cid=a%20b",
        "headers": [["Host", "partner.example"], ["User-Agent", "Old/1.0"], ["X-Partner", "7"]],
        "body": "", "event": {"type": "order.paid", "data": {"click_id": "a b"}},
    });
    let capture = Written::new("capture.json", &request.to_string());
    let words = ["profiles", "check", "trakkr", "--capture", &capture.0, "--webhook", &webhook.0];
    let accepting = [&words[..], &["--accept", "header:User-Agent"]].concat();
    let (printed, result) = run(&api, &accepting).await;
    assert_eq!(code(result), ExitCode::SUCCESS, "{printed}");
    let (printed, result) = run(&api, &words).await;
    assert_eq!(code(result), ExitCode::from(1), "{printed}");
    assert!(printed.contains("header:User-Agent  in 1 of 1 requests"), "{printed}");
    assert!(api.asked().is_empty(), "nothing of it needs a server");
}

#[tokio::test]
async fn a_webhook_of_a_file_that_could_not_be_registered_is_refused_with_its_place() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let request = genuine(&api, "trcker").await.to_string();
    for (document, words) in [
        ("{", "not valid JSON at line 1"),
        (r#"{"colour": "red"}"#, "/colour"),
        (r#"{"template": {"a": "{{brand.nmae}}"}}"#, "/template/a"),
        (r#"{"kind": "postback", "events": ["a"]}"#, "/url: is required"),
        (r#"{"kind": "postback", "url": "https://partner.example/pb?c={click_id"}"#, "/url: at byte"),
        (r#"{"profile": "standard"}"#, "/profile: is another one than trcker"),
        (r#"{"headers": {"X-Trcker-Event": "a"}}"#, "/headers/X-Trcker-Event"),
        (r#"{"auth_type": "bearer"}"#, "/auth_token: is required"),
        (r#"{"secret": ""}"#, "--secret"),
    ] {
        let webhook = Written::new("webhook.json", document);
        let capture = Written::new("capture.json", &request);
        let words_of = ["profiles", "check", "trcker", "--capture", &capture.0, "--webhook", &webhook.0];
        let (_, result) = run(&api, &words_of).await;
        let (code, text) = verdict(&result.expect_err(words).into());
        assert_eq!(code, ExitCode::from(2), "{document}");
        assert!(text.as_deref().is_some_and(|text| text.contains(words)), "{document}: {text:?}");
    }
}
