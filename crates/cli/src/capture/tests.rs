use super::*;

const HAR: &str = r#"{"log":{"version":"1.2","creator":{"name":"a proxy"},"entries":[
 {"startedDateTime":"2026-11-21T10:30:00.250+01:00","time":12,
  "request":{"method":"POST","url":"https://partner.example/hook?a=b","httpVersion":"HTTP/1.1","cookies":[],
   "headers":[{"name":"Host","value":"partner.example"},{"name":"X-Sig","value":"é"}],"queryString":[],
   "postData":{"mimeType":"application/json","text":"{\"s\":\"\\ud800\",\"n\":1e400}"},"headersSize":9,"bodySize":24},
  "response":{"status":200}},
 {"request":{"method":"POST","url":"https://partner.example/two","httpVersion":"h2",
   "headers":[{"name":":method","value":"POST"},{"name":"x-sig","value":"1"}],
   "postData":{"text":"/w==","encoding":"base64"},"bodySize":1}}]}}"#;

fn read(text: &str) -> Result<Vec<CapturedRequest>, CaptureError> {
    read_requests(text.as_bytes(), "a file")
}

fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn a_har_file_gives_its_requests_byte_for_byte() {
    let requests = read(HAR).expect("a capture");
    assert_eq!(requests.len(), 2);
    let [one, two] = [&requests[0], &requests[1]];
    assert_eq!((one.number, one.method.as_str(), one.names), (1, "POST", HeaderNames::AsSent));
    assert_eq!(one.at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T09:30:00.250Z"));
    assert_eq!(one.body, r#"{"s":"\ud800","n":1e400}"#);
    assert_eq!(one.header("x-sig").map(|header| header.value.clone()), Some(Bytes::from("é")));
    assert_eq!((two.number, two.names, two.body.as_ref()), (2, HeaderNames::OfHttp2, &b"\xff"[..]));
    assert_eq!(two.headers.len(), 1, "what HTTP/2 says in place of a request line is no header");
}

#[test]
fn our_own_form_is_one_request_a_list_of_them_or_one_to_a_line() {
    let one = r#"{"method":"POST","url":"http://a.example/","headers":[["A","1"],["a","2"]],"body":"{ }","event":{"type":"a.b","data":{"n":1.50}}}"#;
    let read_one = read(one).expect("one");
    let [single] = &read_one[..] else { panic!("not one") };
    assert_eq!(single.body, "{ }");
    assert_eq!(single.event.as_deref(), Some(&br#"{"type":"a.b","data":{"n":1.50}}"#[..]), "digit for digit");
    assert_eq!(single.headers.iter().map(|header| &*header.name).collect::<Vec<_>>(), ["A", "a"]);
    for text in [format!("[{one},\n{one}]"), format!("{one}\n{one}\n")] {
        let numbers: Vec<usize> = read(&text).expect("two").iter().map(|request| request.number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}

#[test]
fn what_is_written_is_read_as_the_same() {
    let requests = read(HAR).expect("a capture");
    for request in requests {
        let mut request = CapturedRequest { number: 1, names: HeaderNames::AsSent, ..request };
        request.event = Some(Bytes::from_static(br#"{"data":{"n": 1e400}}"#));
        let line = write_line(&request).expect("written");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(read(&line).expect("read"), [request]);
    }
}

#[test]
fn what_is_not_whole_is_refused_with_its_number() {
    assert!(refused("").contains("holds no request"));
    assert!(refused("[]").contains("holds no request"));
    assert!(refused("{").contains("is not JSON"));
    let good = r#"{"method":"POST","url":"u","headers":[]}"#;
    assert!(refused(&format!("{good}{{}}")).contains("request 2 of the capture a file: missing field"));
    assert!(refused(&good.replace("url", "uri")).contains("unknown field `uri`"));
    let both = good.replace("[]", r#"[],"body":"","body_base64":"""#);
    assert!(refused(&both).contains("both"));
    assert!(refused(&good.replace("[]", r#"[],"body_base64":"%""#)).contains("base64"));
    let without_body = HAR.replace(r#""text":"{\"s\":\"\\ud800\",\"n\":1e400}""#, r#""params":[]"#);
    assert!(refused(&without_body).contains("body of 24 bytes was not captured"));
    let odd = HAR.replace("\"base64\"", "\"rot13\"");
    assert!(refused(&odd).contains("request 2") && refused(&odd).contains("rot13"));
}
