//! An old sender whose signature stands in the query, with the signed time beside it.

use postrider_contract::profile::Profile;

use super::*;

const PROFILE: &str = "
name = 'own'
[request]
headers = [{ name = 'X-Type', value = '${event.type}' }]
[envelope]
body = '${event.data}'
[retry]
waits = []
[secret]
origin = 'required'
[signature]
query_parameter = 'sig'
signs = '${timestamp}.${query}.${body}'
value = '${timestamp}-${signatures}'
encoding = 'hex'
replay_window = '5m'
";

fn sender() -> OldSender {
    OldSender::of(&Arc::new(Profile::from_toml(PROFILE).and_then(Profile::compile).expect("a profile")))
}

/// Each has a secret of its own.
fn sender_of_another_secret() -> OldSender {
    sender()
}

/// With its URL rewritten.
fn at_url(request: &CapturedRequest, rewrite: impl Fn(&str, &str) -> String) -> CapturedRequest {
    let (unsigned, signature) = request.url.rsplit_once("&sig=").expect("signed");
    CapturedRequest { url: rewrite(unsigned, signature), ..request.clone() }
}

#[test]
fn a_signature_in_the_query_is_verified_with_its_time_and_is_no_difference() {
    let sender = sender();
    let sent = sender.sends(as_is);
    // Nobody has to say when it was captured: the time is in the signature's own parameter.
    let undated = CapturedRequest { at: None, ..sent.clone() };
    for request in captured_in_both_forms(&sent).into_iter().chain([undated]) {
        let compared = sender.expected().compare(&request);
        assert_eq!(compared.differences, []);
        assert_eq!(compared.signature, SignatureFound::Verified);
        let place = Place::Parameter("sig".to_owned());
        let timestamp = Taken { variable: "timestamp", text: "1795253400".to_owned(), place };
        assert_eq!(compared.taken, [timestamp]);
        let known_by_form = Expected { keys: Vec::new(), ..sender.expected() }.compare(&request);
        assert_eq!(
            (known_by_form.differences.len(), known_by_form.signature),
            (0, SignatureFound::FormAlone)
        );
    }
}

#[test]
fn what_is_wrong_with_it_is_told_apart_from_a_url_that_is_written_otherwise() {
    let sender = sender();
    let sent = sender.sends(as_is);
    let compare = |request: &CapturedRequest| sender.expected().compare(request);
    for (request, words) in [
        (at_url(&sent, |unsigned, _| unsigned.to_owned()), "is not signed"),
        (at_url(&sent, |unsigned, _| format!("{unsigned}&sig=abc")), "not of the expected form"),
        (at_url(&sent, |unsigned, signature| format!("{unsigned}0&sig={signature}")), "no signature matches"),
    ] {
        let compared = compare(&request);
        assert_eq!(places(&compared), ["query:sig"], "{compared:?}");
        assert!(compared.differences[0].detail.contains(words), "{compared:?}");
    }
    let stranger = sender_of_another_secret().expected().compare(&sent);
    assert_eq!(places(&stranger), ["query:sig"]);
    let by_form = Expected { keys: Vec::new(), ..sender.expected() };
    let short = at_url(&sent, |unsigned, signature| format!("{unsigned}&sig={}", &signature[..20]));
    assert_eq!(places(&by_form.compare(&short)), ["query:sig"]);

    // The signature is right, and a receiver could still tell the two apart.
    let first = at_url(&sent, |unsigned, signature| unsigned.replacen('?', &format!("?sig={signature}&"), 1));
    let compared = compare(&first);
    assert_eq!((places(&compared), &compared.signature), (vec!["url".to_owned()], &SignatureFound::Verified));
    let registered = WebhookUrl::from_stored("https://partner.example/hook?token=other").expect("a URL");
    let expected = Expected { url: Some(registered), ..sender.expected() };
    assert_eq!(places(&expected.compare(&sent)), ["url"]);
    let registered = WebhookUrl::from_stored(URL).expect("a URL");
    let expected = Expected { url: Some(registered), ..sender.expected() };
    assert_eq!(expected.compare(&sent).differences, []);
}
