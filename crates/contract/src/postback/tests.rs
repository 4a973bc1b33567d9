//! Which macros are refused and where, what they are filled with, and that nothing an event holds can get out of its
//! parameter.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::attempt::BodyExtent;
use crate::clock::Timestamp;
use crate::delivery::{Query, TooLong};
use crate::egress::{UrlRule, WebhookUrl};
use crate::event::{Event, SchemaVersion};
use crate::ids::WebhookId;
use crate::json::{Node, RawObject};
use crate::webhook::{Webhook, WebhookKind};

fn event(data: &str) -> Event {
    Event {
        id: "evt_1".parse().expect("an id"),
        tenant: "acme".parse().expect("an id"),
        event_type: "conversion.created".parse().expect("a type"),
        schema_version: SchemaVersion::FIRST,
        timestamp: "2026-11-21T09:30:00.125Z".parse().expect("a time"),
        accepted_at: Timestamp::EPOCH,
        data: RawObject::parse(Bytes::copy_from_slice(data.as_bytes())).expect("an object"),
        summary: None,
        workflow: None,
    }
}

fn postback(url: &str, postback: PostbackRule) -> Webhook {
    let url = UrlRule::default().check(url).expect("a URL");
    let tenant = "acme".parse().expect("an id");
    let blank = Webhook::new(tenant, WebhookId::from_u128(1), url, Timestamp::EPOCH);
    Webhook { kind: WebhookKind::Postback, postback, ..blank }
}

fn fill(webhook: &Webhook, data: &str) -> FilledPostback {
    let event = event(data);
    fill_postback(webhook, &event, &Node::of(&event.data))
}

/// The query of a postback with this query, filled.
fn filled(query: &str, data: &str) -> String {
    let webhook = postback(&format!("https://partner.example/pb?{query}"), PostbackRule::default());
    match fill(&webhook, data).query {
        Query::Filled(bytes) => String::from_utf8(bytes.to_vec()).expect("ASCII"),
        other @ (Query::OfUrl | Query::TooLong(_)) => panic!("not filled: {other:?}"),
    }
}

const DATA: &str = r#"{"click_id":"a b&c=d/ü","payout":12345678901234567890123.10,"id":1e400,"ok":true,"none":null,
    "lines":[{"sku":"x+1"}],"event":{"id":"inner"},"timestamp":"mine","broken":"\ud800!","twice":1,"twice":2}"#;

#[test]
fn macros_are_filled_from_the_event() {
    for (query, expected) in [
        ("cid={click_id}&p=1", "cid=a%20b%26c%3Dd%2F%C3%BC&p=1"),
        ("cid={data.click_id}", "cid=a%20b%26c%3Dd%2F%C3%BC"),
        ("p={payout}&i={id}", "p=12345678901234567890123.10&i=1e400"),
        ("ok={ok}", "ok=true"),
        ("sku={lines.0.sku}", "sku=x%2B1"),
        ("e={event.id}&t={event.type}", "e=evt_1&t=conversion.created"),
        ("e={data.event.id}&t={data.timestamp}", "e=inner&t=mine"),
        ("t={timestamp}", "t=2026-11-21T09%3A30%3A00.125Z"),
        ("t={event.timestamp}&u={event.unix_timestamp}", "t=2026-11-21T09%3A30%3A00.125Z&u=1795253400"),
        ("b={broken}", "b=%EF%BF%BD%21"),
        ("n={twice}", "n=2"),
        ("a={ok}{ok}&{click_id}=x", "a=truetrue&a%20b%26c%3Dd%2F%C3%BC=x"),
        ("plain=%7Bok%7D&x=a+b", "plain=%7Bok%7D&x=a+b"),
        ("", ""),
    ] {
        assert_eq!(filled(query, DATA), expected, "{query}");
    }
}

#[test]
fn a_field_that_is_missing_is_empty_and_noted_once() {
    let url = "https://partner.example/pb?a={nowhere}&b={none}&c={lines}&d={nowhere}&e={data.event}&f={ok}";
    let filled = fill(&postback(url, PostbackRule::default()), DATA);
    assert_eq!(filled.query, Query::Filled(Bytes::from_static(b"a=&b=&c=&d=&e=&f=true")));
    assert_eq!(filled.missing, ["nowhere", "none", "lines", "data.event"]);
}

#[test]
fn a_form_is_filled_for_post_alone() {
    let url = "https://partner.example/pb?cid={click_id}";
    let form = Some("id={event.id}&payout={payout}".to_owned());
    let post = PostbackRule { method: PostbackMethod::Post, form, success: None };
    let expected: &[u8] = b"id=evt_1&payout=12345678901234567890123.10";
    assert_eq!(fill(&postback(url, post.clone()), DATA).body, expected);
    let get = PostbackRule { method: PostbackMethod::Get, ..post.clone() };
    assert_eq!(fill(&postback(url, get), DATA).body, Bytes::new());
    let formless = PostbackRule { form: None, ..post };
    assert_eq!(fill(&postback(url, formless), DATA).body, Bytes::new());
}

#[test]
fn what_becomes_too_long_is_not_kept() {
    let data = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
    let get = postback("https://partner.example/pb?a={a}", PostbackRule::default());
    assert!(matches!(fill(&get, &data(MAX_FILLED_QUERY - 2)).query, Query::Filled(_)));
    let too_long = fill(&get, &data(MAX_FILLED_QUERY - 1));
    assert_eq!((too_long.query, too_long.body), (Query::TooLong(TooLong::Query), Bytes::new()));
    // Of a long value asked for often no more is made than the limit and one value.
    let often =
        postback(&format!("https://partner.example/pb?a={}", "{a}".repeat(600)), PostbackRule::default());
    assert_eq!(fill(&often, &data(1_000_000)).query, Query::TooLong(TooLong::Query));
    let form = PostbackRule { method: PostbackMethod::Post, form: Some("a={a}".to_owned()), success: None };
    let post = postback("https://partner.example/pb", form);
    assert!(matches!(fill(&post, &data(MAX_FILLED_FORM - 2)).query, Query::Filled(_)));
    assert_eq!(fill(&post, &data(MAX_FILLED_FORM - 1)).query, Query::TooLong(TooLong::Form));
}

#[test]
fn what_cannot_be_a_macro_is_refused_with_its_position() {
    for (url, position) in [
        ("https://{host}.example/pb?a=1", 8),
        ("{scheme}://partner.example/", 0),
        ("https://partner.example/{path}/pb?a={a}", 24),
        ("https://partner.example/pb?a=1#{a}", 31),
        ("https://partner.example/pb?a={a", 29),
        ("https://partner.example/pb?a=a}", 30),
        ("https://partner.example/pb?a={{a}}", 30),
        ("https://partner.example/pb?a={}", 29),
        ("https://partner.example/pb?x={b}&a={a b}", 35),
        ("https://partner.example/pb?a={a..b}", 29),
        ("https://partner.example/pb?a={größe}", 29),
        ("https://partner.example/pb?a={event.data}", 29),
        ("https://partner.example/pb?a={event}", 29),
        ("https://partner.example/pb?a={data}", 29),
        ("https://partner.example/pb?a={data.}", 29),
        ("https://partner.example/pb?a={%61}", 29),
    ] {
        assert_eq!(check_url(url).expect_err(url).position, position, "{url}");
    }
    for url in [
        "https://partner.example/pb",
        "https://partner.example/pb?a={a}&b={data.b.0.c}#frag",
        "https://x.example?",
    ] {
        assert_eq!(check_url(url), Ok(()), "{url}");
    }
    for (form, position) in [("a={a}&b= ", 8), ("a={", 2), ("a=ü", 2), ("a=1\n", 3), ("}", 0)] {
        assert_eq!(check_form(form).expect_err(form).position, position, "{form:?}");
    }
    assert_eq!(check_form("a={a}&b=%20c+d"), Ok(()));
    assert_eq!(check_form(&"a".repeat(MAX_FORM + 1)).expect_err("too long").position, MAX_FORM);
}

#[test]
fn a_success_is_what_its_rule_names() {
    let rule = |statuses: &str, text: Option<&str>| SuccessRule {
        statuses: StatusSet::parse([statuses]).expect("a set"),
        body_contains: text.map(str::to_owned),
    };
    let answer = |status, body: &'static [u8]| Response {
        status,
        headers: Vec::new(),
        body: Bytes::from_static(body),
        extent: BodyExtent::Whole,
    };
    for (rule, answer, expected) in [
        (rule("2xx", None), answer(204, b""), true),
        (rule("200", None), answer(204, b""), false),
        (rule("302", None), answer(302, b""), true),
        (rule("200", Some("OK")), answer(200, b"status=OK;\xff"), true),
        (rule("200", Some("OK")), answer(200, b"ok"), false),
        (rule("200", Some("OK")), answer(200, b""), false),
        (rule("200", Some("OK")), answer(500, b"OK"), false),
    ] {
        assert_eq!(rule.is_met_by(&answer), expected, "{rule:?} {answer:?}");
    }
}

/// As a receiver reads a query: parameters apart, each decoded.
fn parameters(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

const MACROS: &[&str] =
    &["{v}", "{a.b.0}", "{data.v}", "{nowhere}", "{event.id}", "{timestamp}", "{event.unix_timestamp}"];
const WORDS: &[&str] = &["true", "false", "null", "{}", "[1]", r#""\ud800""#];

/// A part of a query as an owner may type it, or a macro.
fn piece() -> impl Strategy<Value = String> {
    let literal = "[a-zA-Z0-9=&;:@/?!$'()*+,._~|^-]{1,8}|%[0-9A-F]{2}|ü";
    prop_oneof![literal, prop::sample::select(MACROS).prop_map(str::to_owned)]
}

/// JSON, as an event may hold it.
fn value() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| serde_json::Value::String(text).to_string());
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?";
    prop_oneof![text, number, prop::sample::select(WORDS).prop_map(str::to_owned)]
}

/// What may stand after the `?` of a request's target: no white space, no controls, no `#`, and no half of an escape.
fn is_query(query: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>{}".contains(&byte);
    let are_whole = query
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()));
    query.bytes().all(is_plain) && are_whole
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(&others[..2]).expect("ASCII");
            out.push(u8::from_str_radix(hex, 16).expect("hexadecimal"));
            rest = &others[2..];
        } else {
            out.push(*first);
            rest = others;
        }
    }
    out
}

proptest! {
    /// Whatever a string holds, the receiver reads exactly it, and no parameter beside.
    #[test]
    fn a_value_cannot_leave_its_parameter(value in any::<String>()) {
        let data = serde_json::json!({ "v": value }).to_string();
        let query = filled("before=1&v={v}&after=2", &data);
        let is_sent_as_it_is = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte);
        prop_assert!(query.bytes().all(is_sent_as_it_is), "{}", query);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        prop_assert_eq!(parameters(&query), [pair("before", "1"), pair("v", &value), pair("after", "2")]);
        // And it is a query that is sent as it is.
        let url = format!("https://partner.example/pb?{query}");
        let as_sent = WebhookUrl::from_stored(&url).expect("a URL");
        prop_assert_eq!(as_sent.query(), Some(query.as_str()));
    }

    #[test]
    fn a_number_arrives_digit_for_digit(number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?") {
        let query = filled("n={n}", &format!(r#"{{"n":{number}}}"#));
        prop_assert_eq!(parameters(&query), [("n".to_owned(), number)]);
    }

    /// Between macros the owner's text stays; where one stood, the value's own bytes come back when they are decoded.
    #[test]
    fn a_filled_query_can_be_sent_and_decoded(pieces in prop::collection::vec(piece(), 0..12), value in value()) {
        let data = format!(r#"{{"v":{value},"a":{{"b":[{value}]}}}}"#);
        let typed: String = pieces.concat();
        let query = filled(&typed, &data);
        prop_assert!(is_query(&query), "{:?} made {:?}", typed, query);
        let one = filled("{v}", &data);
        prop_assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{}", one);
        if let Ok(serde_json::Value::String(text)) = serde_json::from_str(&value) {
            prop_assert_eq!(decoded(&one), text.as_bytes());
        }
        // Each macro is filled for itself, wherever it stands.
        let apart: String = pieces.iter().map(|piece| filled(piece, &data)).collect();
        prop_assert_eq!(query, apart);
    }

    #[test]
    fn any_text_is_a_macro_text_or_refused_within_itself(text in any::<String>()) {
        for checked in [check_url(&text), check_form(&text), MacroText::parse(&text).map(drop)] {
            if let Err(error) = checked {
                prop_assert!(error.position <= text.len(), "{:?}: {}", text, error);
            }
        }
    }

    #[test]
    fn whatever_the_text_reading_macros_does_not_panic(text in "[a{}.?#&=ü%]{0,40}") {
        if check_form(&text).is_ok() {
            prop_assert!(MacroText::parse(&text).is_ok());
        }
        if check_url(&text).is_ok() && let Some((_, query)) = text.split_once('?') {
            let query = query.split('#').next().unwrap_or_default();
            prop_assert!(MacroText::parse(query).is_ok());
        }
    }
}
