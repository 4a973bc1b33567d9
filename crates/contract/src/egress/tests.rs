//! The vectors, and the rules by example.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../../tests/vectors/ssrf-vectors.json");

/// Runs `run` over the vectors of a kind and reports all that disagree at once.
fn each_vector(kind: &str, run: impl Fn(&Value) -> Result<(), String>) {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors: Vec<&Value> =
        file["vectors"].as_array().unwrap().iter().filter(|vector| vector["kind"] == kind).collect();
    assert!(!vectors.is_empty(), "no vectors of kind {kind}");
    let wrong: Vec<String> = vectors
        .into_iter()
        .filter_map(|vector| run(vector).err().map(|why| format!("{}: {why}", vector["id"])))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

fn address(input: &str) -> IpAddr {
    input.parse().unwrap()
}

fn networks(list: &[&str]) -> AddressRule {
    AddressRule::new(list.iter().map(|network| network.parse().unwrap()).collect())
}

fn http_too() -> UrlRule {
    UrlRule { schemes: Schemes::HttpToo, ..UrlRule::default() }
}

#[test]
fn every_address_vector_gets_its_verdict() {
    each_vector("address", |vector| {
        let verdict = AddressRule::default().judge(address(text(vector, "input")));
        match text(vector, "expect") {
            "allow" if verdict.is_err() => Err(format!("{verdict:?}")),
            "deny" if verdict.is_ok() => Err("allowed".to_owned()),
            "allow" | "deny" | "either" => Ok(()),
            other => Err(format!("unknown expectation {other}")),
        }
    });
}

#[test]
fn every_url_vector_gets_its_verdict() {
    each_vector("url", |vector| {
        let input = text(vector, "input");
        let strict = UrlRule::default().check(input);
        let lenient = http_too().check(input);
        match text(vector, "expect") {
            "accept" => as_described(vector, &strict),
            "accept_if_http_enabled" if strict == Err(RefusedUrl::PlainHttp) => {
                as_described(vector, &lenient)
            }
            "reject" | "reject_or_block" if strict.is_err() && lenient.is_err() => Ok(()),
            "block" => blocked_when_resolved(vector, &strict),
            other => Err(format!("{other}, but {strict:?}, and with http {lenient:?}")),
        }
    });
}

fn as_described(vector: &Value, checked: &Result<WebhookUrl, RefusedUrl>) -> Result<(), String> {
    let url = checked.as_ref().map_err(|refused| refused.to_string())?;
    let host = match url.host() {
        Host::Name(name) => name.clone(),
        Host::Address(literal) => literal.to_string(),
    };
    if host == text(vector, "host") && vector["port"] == url.port() {
        Ok(())
    } else {
        Err(format!("{host} {}", url.port()))
    }
}

fn blocked_when_resolved(vector: &Value, checked: &Result<WebhookUrl, RefusedUrl>) -> Result<(), String> {
    let Ok(url) = checked else { return Ok(()) };
    let answer = vector["simulate_dns"]["A"].as_array().cloned().unwrap_or_default();
    let answer = answer.iter().map(|entry| address(entry.as_str().unwrap()));
    match AddressRule::default().vet_all(answer, url.port()) {
        Ok(vetted) if !vetted.is_empty() => Err(format!("would dial {vetted:?}")),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[test]
fn every_allow_list_vector_gets_its_verdict() {
    each_vector("allowlist", |vector| {
        let allowed = vector["config"]["allow_cidrs"].as_array().cloned().unwrap_or_default();
        let allowed: Vec<&str> = allowed.iter().map(|network| network.as_str().unwrap()).collect();
        let rule = UrlRule { addresses: networks(&allowed), ..UrlRule::default() };
        let is_accepted = rule.check(text(vector, "url")).is_ok();
        if is_accepted == (text(vector, "expect") == "accept") {
            Ok(())
        } else {
            Err(format!("accepted: {is_accepted}"))
        }
    });
}

#[test]
fn an_allowed_network_lifts_the_rule_mapped_or_not_and_only_there() {
    for rule in [networks(&["10.0.0.0/8"]), networks(&["::ffff:10.0.0.0/104"])] {
        for allowed in ["10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203"] {
            assert_eq!(rule.judge(address(allowed)), Ok(()), "{allowed}");
        }
        for refused in ["192.168.0.1", "127.0.0.1", "::10.1.2.3", "64:ff9b::10.1.2.3", "fd00::1"] {
            assert!(rule.judge(address(refused)).is_err(), "{refused}");
        }
    }
}

#[test]
fn nothing_lifts_a_metadata_service() {
    let everything = networks(&["0.0.0.0/0", "::/0"]).with_nat64(Nat64::JudgedByEmbedded);
    let services = [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001:0:808:808:0:0:5601:5601",
        "fe80::5efe:a9fe:a9fe",
        "2606:4700::200:5efe:a9fe:a9fe",
    ];
    for service in services {
        let refused = everything.judge(address(service)).unwrap_err();
        assert_eq!(refused.class, AddressClass::Metadata, "{service}");
    }
    for lifted in ["0.0.0.0", "10.0.0.1", "127.0.0.1", "169.254.1.1", "255.255.255.255", "::1", "fe80::1"] {
        assert_eq!(everything.judge(address(lifted)), Ok(()), "{lifted}");
    }
}

#[test]
fn nat64_is_refused_or_judged_by_the_address_it_carries() {
    let embedded = AddressRule::default().with_nat64(Nat64::JudgedByEmbedded);
    assert!(AddressRule::default().judge(address("64:ff9b::8.8.8.8")).is_err());
    assert_eq!(embedded.judge(address("64:ff9b::8.8.8.8")), Ok(()));
    for refused in ["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::8.8.8.8"] {
        assert!(embedded.judge(address(refused)).is_err(), "{refused}");
    }
}

#[test]
fn a_vetted_address_is_unmapped_and_knows_its_peer() {
    let target: SocketAddr = "[::ffff:8.8.8.8]:443".parse().unwrap();
    let vetted = AddressRule::default().vet(target).unwrap();
    assert_eq!(vetted.socket_addr(), "8.8.8.8:443".parse().unwrap());
    assert!(vetted.is_peer(target) && vetted.is_peer(vetted.socket_addr()));
    assert!(!vetted.is_peer("8.8.8.8:444".parse().unwrap()));
    assert!(!vetted.is_peer("8.8.4.4:443".parse().unwrap()));
}

#[test]
fn one_private_address_refuses_the_whole_answer() {
    let rule = AddressRule::default();
    let mixed = [address("93.184.215.14"), address("::1")];
    assert_eq!(rule.vet_all(mixed, 443).unwrap_err().class, AddressClass::Loopback);
    assert_eq!(rule.vet_all([mixed[0]], 443).unwrap().len(), 1);
}

#[test]
fn each_cause_has_its_own_refusal() {
    let cases = [
        ("", "url_empty"),
        ("example.com/hook", "url_scheme"),
        ("//example.com/hook", "url_scheme"),
        ("file:///etc/passwd", "url_scheme"),
        ("javascript:alert(1)", "url_scheme"),
        ("http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "url_scheme"),
        ("http://example.com/", "url_plain_http"),
        ("HTTP://example.com/", "url_plain_http"),
        ("https:example.com", "url_slashes"),
        ("https:/example.com/", "url_slashes"),
        ("https:///example.com/", "url_slashes"),
        ("https://", "url_slashes"),
        ("https://?q", "url_slashes"),
        (" https://example.com/", "url_character"),
        ("https://example.com/ ", "url_character"),
        ("https://example.com/\u{a0}", "url_character"),
        ("https://example.com/\u{2028}", "url_character"),
        ("https://example.com/a\tb", "url_character"),
        ("https://exam\nple.com/", "url_character"),
        ("https://example.com/\u{7f}", "url_character"),
        ("https://example.com/\u{85}", "url_character"),
        ("https://example.com\\@127.0.0.1/", "url_character"),
        ("https://example.com/a?b=\\", "url_character"),
        ("https://user@example.com/", "url_user_info"),
        ("https://user:pass@example.com/", "url_user_info"),
        ("https://:@example.com/", "url_user_info"),
        ("https://@example.com/", "url_user_info"),
        ("https://example.com:443@127.0.0.1/", "url_user_info"),
        ("https://example.com:65536/", "url_malformed"),
        ("https://example.com:-1/", "url_malformed"),
        ("https://example.com:４４３/", "url_malformed"),
        ("https://[::1%25lo]/", "url_malformed"),
        ("https://[fe80::1%eth0]/", "url_malformed"),
        ("https://[::1/", "url_malformed"),
        ("https://1.2.3.4.5/", "url_malformed"),
        ("https://256.256.256.256/", "url_malformed"),
        ("https://a.example.123/", "url_malformed"),
        ("https://xn--a.com/", "url_malformed"),
        ("https://xn--ascii-.com/", "url_malformed"),
        ("https://example.com%00/", "url_malformed"),
        ("https://example.com%2f.a.example/", "url_malformed"),
        ("https://:443/", "url_malformed"),
        ("https://example.com:0/", "url_port"),
        ("https://example.com:22/", "url_port"),
        ("https://example.com:6379/", "url_port"),
        ("https://8.8.8.8:11211/", "url_port"),
        ("https://./", "url_malformed"),
        ("https://.example.com/", "url_host"),
        ("https://example.com../", "url_host"),
        ("https://a_b.example.com/", "url_host"),
        ("https://{{host}}/", "url_host"),
        ("https://*.example.com/", "url_host"),
        ("https://-a.example.com/", "url_host"),
        ("https://com/", "url_internal_name"),
        ("https://com./", "url_internal_name"),
        ("https://localhost./", "url_internal_name"),
        ("https://loc\u{ad}alhost/", "url_internal_name"),
        ("https://ｌｏｃａｌｈｏｓｔ/", "url_internal_name"),
        ("https://metadata.google.internal/", "url_internal_name"),
        ("https://metadata.google.internal./", "url_internal_name"),
        ("https://127.0.0.1./", "url_address"),
        ("https://127.1/", "url_address"),
        ("https://0177.0.0.1/", "url_address"),
        ("https://0x7f.1/", "url_address"),
        ("https://0x/", "url_address"),
        ("https://１２７.0.0.1/", "url_address"),
        ("https://127。0。0。1/", "url_address"),
        ("https://[::ffff:a9fe:a9fe]/", "url_address"),
        ("https://[fe80::1]/", "url_address"),
    ];
    for (input, code) in cases {
        let checked = UrlRule::default().check(input);
        assert_eq!(checked.as_ref().map_err(RefusedUrl::code), Err(code), "{input:?} {checked:?}");
    }
}

#[test]
fn accepted_spellings_are_stored_in_one_form() {
    let cases = [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/Hook", "https://example.com/Hook"),
        ("https://example.com:/", "https://example.com/"),
        ("https://example.com:08443/", "https://example.com:8443/"),
        ("https://example.com./hook", "https://example.com/hook"),
        ("https://example.com.:8443/hook", "https://example.com:8443/hook"),
        ("https://ex%61mple.com/", "https://example.com/"),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://ｅｘａｍｐｌｅ。com/", "https://example.com/"),
        ("https://example.com/a/../b?q=1#secret@127.0.0.1", "https://example.com/b?q=1"),
        ("https://example.com#@127.0.0.1/", "https://example.com/"),
        ("https://example.com?@127.0.0.1/", "https://example.com/?@127.0.0.1/"),
        ("https://[2001:4860:4860:0::8888]:8443/", "https://[2001:4860:4860::8888]:8443/"),
        ("https://0x08080808/", "https://8.8.8.8/"),
    ];
    for (input, stored) in cases {
        assert_eq!(UrlRule::default().check(input).as_ref().map(WebhookUrl::as_str), Ok(stored), "{input}");
    }
}

#[test]
fn a_url_ends_at_2048_bytes_as_typed_and_as_stored() {
    let rule = UrlRule::default();
    let prefix = "https://example.com/";
    let longest = format!("{prefix}{}", "a".repeat(MAX_URL_BYTES - prefix.len()));
    assert_eq!(rule.check(&longest).unwrap().as_str(), longest);
    assert_eq!(rule.check(&format!("{longest}a")), Err(RefusedUrl::TooLong(MAX_URL_BYTES + 1)));
    let grows = format!("{prefix}{}", "\"".repeat(1_000));
    assert_eq!(rule.check(&grows), Err(RefusedUrl::TooLong(prefix.len() + 3_000)));
}

#[test]
fn development_opens_http_and_loopback_and_nothing_else() {
    let dev = UrlRule::dev();
    for accepted in [
        "http://127.0.0.1:9000/hook",
        "http://localhost:9000/hook",
        "http://localhost.:9000/hook",
        "https://a.localhost/",
        "http://[::1]:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
        "http://example.com/",
    ] {
        assert!(dev.check(accepted).is_ok(), "{accepted}");
    }
    for refused in [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://rabbitmq/",
        "http://0.0.0.0/",
        "ftp://localhost/",
    ] {
        assert!(dev.check(refused).is_err(), "{refused}");
    }
}

#[test]
fn internal_names_need_the_operators_word_beside_the_network() {
    let network_only = UrlRule { addresses: networks(&["10.0.0.0/8"]), ..UrlRule::default() };
    let named = UrlRule { internal_names: InternalNames::Allowed, ..network_only.clone() };
    for name in ["https://receiver/", "https://receiver.internal/"] {
        assert!(network_only.check(name).is_err(), "{name}");
        assert!(named.check(name).is_ok(), "{name}");
    }
    for never in ["https://localhost/", "https://metadata.google.internal/", "https://192.168.0.1/"] {
        assert!(named.check(never).is_err(), "{never}");
    }
}

#[test]
fn a_webhook_url_gives_what_a_request_needs() {
    let url = http_too().check("http://[2001:4860:4860::8888]:8080/a%20b?c=d&e#f").unwrap();
    assert_eq!(url.host(), &Host::Address(address("2001:4860:4860::8888")));
    assert_eq!((url.port(), url.is_tls()), (8080, false));
    assert_eq!(url.authority(), "[2001:4860:4860::8888]:8080");
    assert_eq!(url.path_and_query(), "/a%20b?c=d&e");
    let url = UrlRule::default().check("https://example.com?a").unwrap();
    assert_eq!(url.host(), &Host::Name("example.com".to_owned()));
    assert_eq!((url.port(), url.is_tls()), (443, true));
    assert_eq!((url.authority(), url.path_and_query()), ("example.com", "/?a"));
}

#[test]
fn a_webhook_url_hides_its_path_from_logs() {
    let url =
        UrlRule::default().check("https://hooks.example.com:8443/services/T0/B0/s3cret?k=s3cret").unwrap();
    assert_eq!(url.display_masked(), "https://hooks.example.com:8443/…");
    assert_eq!(format!("{url:?}"), "WebhookUrl(\"https://hooks.example.com:8443/…\")");
    assert_eq!(
        UrlRule::default().check("https://example.com").unwrap().display_masked(),
        "https://example.com/"
    );
}

#[test]
fn a_stored_url_is_parsed_and_not_judged_again() {
    let stored = "\"http://127.0.0.1:9000/hook\"";
    let url: WebhookUrl = serde_json::from_str(stored).unwrap();
    assert_eq!(serde_json::to_string(&url).unwrap(), stored);
    assert!(UrlRule::default().check(url.as_str()).is_err());
    for broken in ["\"\"", "\"ftp://example.com/\"", "\"https://u@example.com/\"", "\"mailto:a@b\"", "1"] {
        assert!(serde_json::from_str::<WebhookUrl>(broken).is_err(), "{broken}");
    }
}

#[test]
fn what_a_customer_reads_about_a_blocked_try_names_no_address() {
    let refused = AddressRule::default().judge(address("10.0.0.1")).unwrap_err();
    assert_eq!(refused.to_string(), "address 10.0.0.1 may not be called: private network");
    assert!(!RefusedAddress::CUSTOMER_TEXT.contains("10.0.0.1"));
}
