//! `postrider profiles`: files of one's own, without a server and with one.

use std::sync::atomic::{AtomicU64, Ordering};

use postrider_contract::attempt::Header;
use postrider_contract::profile::{Profile, ProfileOverride, builtin_profiles};
use postrider_contract::signature::{ReceivedRequest, VerifyingKey, verify};
use serde_json::{Value, json};

use super::*;
use crate::profile_argument::ProfileArgumentError;

const OWN: &str = "
name = 'own'
[envelope]
body = '{\"data\":${event.data}}'
[signature]
header = 'X-Own'
signs = '${body}'
encoding = 'hex'
[secret]
origin = 'required'
[retry]
waits = ['5s', '1m']
";

/// A file for one test, removed with it.
pub(super) struct Written(pub(super) String);

impl Written {
    pub(super) fn new(name: &str, text: &str) -> Self {
        // Tests that run beside each other may choose one name.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postrider-{}-{number}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("written");
        Written(path.display().to_string())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("removed");
    }
}

#[tokio::test]
async fn a_file_is_checked_without_a_server() {
    let api = FakeApi::answering(&[(500, "")]).await;
    let file = Written::new("check.toml", OWN);
    let (printed, result) = run(&api, &["profiles", "check", &file.0]).await;
    result.expect("it is well");
    assert!(printed.contains("profile own, up to 3 tries"), "{printed}");
    let json = serde_json::to_string(&Profile::from_toml(OWN).expect("a form")).expect("JSON");
    let file = Written::new("check.json", &json);
    run(&api, &["profiles", "check", &file.0]).await.1.expect("the same in JSON");
    let nameless = Written::new("nameless.toml", &OWN.replace("name = 'own'", ""));
    run(&api, &["profiles", "check", &nameless.0]).await.1.expect_err("no name");
    run(&api, &["profiles", "check", &nameless.0, "--name", "own"]).await.1.expect("a name beside it");
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_with_its_place_and_nothing_is_sent() {
    let api = FakeApi::answering(&[(500, "")]).await;
    for (from, to, place) in [
        ("encoding = 'hex'", "encodign = 'hex'", "signature.encodign: line 8, column 1"),
        ("${event.data}", "${event.dat}", "envelope.body: line 4, column 8"),
        ("origin = 'required'", "origin = 'required'\nminimum_bytes = 0", "secret.minimum_bytes: minimum"),
        ("name = 'own'", "name = ", "line 2, column"),
    ] {
        let file = Written::new("wrong.toml", &OWN.replace(from, to));
        for verb in ["check", "put"] {
            let (_, result) = run(&api, &["profiles", verb, &file.0]).await;
            let error = result.expect_err(to);
            assert!(matches!(error, ClientError::Profile(ProfileArgumentError::Invalid { .. })), "{error:?}");
            let (code, text) = super::super::error::verdict(&error.into());
            assert_eq!(code, std::process::ExitCode::from(1));
            let text = text.expect("a message");
            assert!(text.contains(place), "{verb} {to}: {text}");
        }
    }
    let file = Written::new("wrong.json", r#"{"name":"own","a/b":1}"#);
    let (printed, result) = run(&api, &["profiles", "check", &file.0, "--output", "json"]).await;
    result.expect_err("wrong");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&printed["valid"], &printed["errors"][0]["pointer"]), (&json!(false), &json!("/a~1b")));
    let (_, result) = run(&api, &["profiles", "check", "no/such/file.toml"]).await;
    let error = result.expect_err("nothing there");
    assert!(matches!(error, ClientError::Profile(ProfileArgumentError::Unreadable { .. })), "{error:?}");
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn a_file_is_put_byte_for_byte_under_its_name_in_its_own_form() {
    let api = FakeApi::answering(&[(201, r#"{"name":"own","revision":7}"#)]).await;
    let toml = Written::new("put.toml", OWN);
    let (printed, result) = run(&api, &["profiles", "put", &toml.0, "--if-match", "6"]).await;
    result.expect("put");
    assert_eq!(printed, "own is at revision 7\n");
    let text = serde_json::to_string(&Profile::from_toml(OWN).expect("a form")).expect("JSON");
    let json = Written::new("put.json", &text);
    run(&api, &["profiles", "put", &json.0]).await.1.expect("put");
    let nameless = Written::new("put-nameless.toml", &OWN.replace("name = 'own'", ""));
    run(&api, &["profiles", "put", &nameless.0, "--name", "other"]).await.1.expect("put");
    run(&api, &["profiles", "put", &toml.0, "--name", "other"]).await.1.expect_err("two names");
    let asked = api.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].body.as_ref()), ("PUT /v1/profiles/own", OWN.as_bytes()));
    assert_eq!(asked[0].headers["content-type"], "application/toml");
    assert_eq!(asked[0].headers["if-match"], "\"6\"");
    assert!(!asked[0].headers.contains_key("postrider-tenant"), "profiles are the installation's");
    assert_eq!(asked[1].headers["content-type"], "application/json");
    assert_eq!(asked[1].body, text.as_bytes());
    assert_eq!(asked[2].line, "PUT /v1/profiles/other");
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn a_shown_profile_is_a_file_that_can_be_put() {
    for profile in builtin_profiles() {
        let mut object = serde_json::to_value(profile.definition()).expect("JSON");
        object["object"] = json!("profile");
        object["builtin"] = json!(true);
        object["revision"] = json!(0);
        let api = FakeApi::answering(&[(200, String::leak(object.to_string()))]).await;
        let (printed, result) = run(&api, &["profiles", "show", profile.name().as_str()]).await;
        result.expect("shown");
        assert_eq!(Profile::from_toml(&printed).as_ref(), Ok(profile.definition()), "{printed}");
    }
    let api = FakeApi::answering(&[(200, r#"{"name":"own","of_a_newer_version":1}"#)]).await;
    let (_, result) = run(&api, &["profiles", "show", "own"]).await;
    assert!(result.expect_err("not known here").to_string().contains("--output json"));
    let (printed, result) = run(&api, &["profiles", "show", "own", "--output", "json"]).await;
    result.expect("as it came");
    assert!(printed.contains("of_a_newer_version"));
}

/// What a receiver of the profile makes of a vector, by what is written in it alone.
fn judge(profile: &str, vector: &Value) -> bool {
    let profile = crate::profile_argument::load(profile).expect("a profile");
    let rule = profile.definition().secret.as_ref().expect("it signs");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let key = |secret: &Value| VerifyingKey::parse(&text(secret), rule).expect("a key");
    let keys: Vec<VerifyingKey> = vector["secrets"].as_array().expect("secrets").iter().map(key).collect();
    let header =
        |pair: &Value| Header { name: text(&pair[0]).into(), value: text(&pair[1]).into_bytes().into() };
    let headers: Vec<Header> = vector["headers"].as_array().expect("headers").iter().map(header).collect();
    let body = text(&vector["body"]);
    let url = text(&vector["url"]);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let request = ReceivedRequest { headers: &headers, query, body: body.as_bytes() };
    let at = text(&vector["verified_at"]).parse().expect("a time");
    verify(&profile, &ProfileOverride::default(), request, &keys, at).is_ok()
}

#[tokio::test]
async fn vectors_hold_for_a_receiver_and_are_the_same_every_time() {
    let api = FakeApi::answering(&[(500, "")]).await;
    for profile in builtin_profiles() {
        let name = profile.name().as_str();
        let (printed, result) = run(&api, &["profiles", "vectors", name]).await;
        result.expect("made");
        assert_eq!(run(&api, &["profiles", "vectors", name]).await.0, printed);
        let document: Value = serde_json::from_str(&printed).expect("JSON");
        let vectors = document["vectors"].as_array().expect("vectors");
        let valid: Vec<(&str, bool)> = vectors
            .iter()
            .map(|vector| {
                assert_eq!(vector["valid"], judge(name, vector), "{vector}");
                (vector["name"].as_str().expect("a name"), vector["valid"] == true)
            })
            .collect();
        assert!(valid.contains(&("genuine", true)) && valid.contains(&("tampered_body", false)), "{name}");
        assert!(valid.contains(&("another_secret", false)), "{name}");
        assert_eq!(valid.contains(&("during_a_rotation", true)), profile.signs_with_several(), "{name}");
        let has_window =
            profile.definition().signature.as_ref().is_some_and(|rule| rule.replay_window.is_some());
        assert_eq!(valid.contains(&("replayed_too_late", false)), has_window, "{name}");
        let takes_pairs =
            profile.definition().secret.as_ref().is_some_and(|rule| rule.key_pair_prefix.is_some());
        for (vector, is_genuine) in [
            ("by_a_key_pair", true),
            ("before_a_move_to_a_key_pair", true),
            ("after_a_move_to_a_key_pair", true),
            ("not_by_the_key_pair", false),
        ] {
            assert_eq!(valid.contains(&(vector, is_genuine)), takes_pairs, "{name}: {vector}");
        }
    }
    assert!(api.asked().is_empty());
}

#[tokio::test]
async fn vectors_are_made_of_what_is_given() {
    let form = serde_json::to_value(Profile::from_toml(OWN).expect("a form")).expect("JSON");
    let api = FakeApi::answering(&[(200, String::leak(form.to_string()))]).await;
    let words = [
        "profiles",
        "vectors",
        "own",
        "--secret",
        "a secret",
        "--body",
        "{}",
        "--time",
        "2026-11-21T09:30:00Z",
    ];
    let (printed, result) = run(&api, &words).await;
    result.expect("made");
    let document: Value = serde_json::from_str(&printed).expect("JSON");
    let vector = &document["vectors"][0];
    assert_eq!(
        (&vector["body"], &vector["secrets"], &vector["timestamp"]),
        (&json!("{}"), &json!(["a secret"]), &json!(1_795_253_400))
    );
    // HMAC-SHA-256 of "{}" under "a secret", worked out elsewhere.
    let signature = "c424c6f590d0d71e73c149cf3babaacf68709276ebdf98c4426975d5e07f9397";
    assert!(
        vector["headers"].as_array().expect("headers").contains(&json!(["X-Own", signature])),
        "{vector}"
    );
    assert_eq!(api.asked()[0].line, "GET /v1/profiles/own");
    let (_, result) = run(&api, &["profiles", "vectors", "standard", "--secret", "%"]).await;
    assert!(matches!(result, Err(ClientError::Usage(_))));
}

#[tokio::test]
async fn a_weak_signature_is_called_weak_when_it_is_checked_put_or_shown() {
    let weak = OWN.replace("signs = '${body}'", "algorithm = 'md5'\nsigns = '${body}${secret}'");
    let file = Written::new("weak.toml", &weak);
    let api = FakeApi::answering(&[(201, r#"{"name":"own","revision":7}"#)]).await;
    for verb in ["check", "put"] {
        let (printed, result) = run(&api, &["profiles", verb, &file.0]).await;
        result.expect("it is well");
        assert_eq!(printed.matches("\nweak signature: ").count(), 2, "{printed}");
    }
    let (printed, _) = run(&api, &["profiles", "check", &file.0, "--output", "json"]).await;
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed["weaknesses"].as_array().map(Vec::len), Some(2));
    let mut form = serde_json::to_value(Profile::from_toml(&weak).expect("a form")).expect("JSON");
    form["weaknesses"] = json!(["weak signature: by its server's words"]);
    let api = FakeApi::answering(&[(200, String::leak(form.to_string()))]).await;
    let (printed, result) = run(&api, &["profiles", "show", "own"]).await;
    result.expect("shown");
    assert_eq!(printed.matches("\n# weak signature: ").count(), 2, "{printed}");
    assert_eq!(Profile::from_toml(&printed), Profile::from_toml(&weak), "still a file that can be put");
    let list = json!({"data": [form], "next_cursor": null});
    let api = FakeApi::answering(&[(200, String::leak(list.to_string()))]).await;
    let (printed, result) = run(&api, &["profiles", "list"]).await;
    result.expect("listed");
    assert!(printed.contains("weak signature: by its server's words"), "{printed}");
}

#[tokio::test]
async fn a_verifier_is_written_without_a_server_and_holds_nothing_that_a_profile_says_of_itself() {
    let api = FakeApi::answering(&[(500, "")]).await;
    for language in ["python", "node"] {
        for profile in builtin_profiles() {
            let name = profile.name().as_str();
            let (printed, result) =
                run(&api, &["profiles", "verify-snippet", name, "--lang", language]).await;
            result.expect("written");
            assert!(printed.contains(&format!("contract {name}, version")), "{printed}");
            assert!(!printed.contains(&profile.definition().description), "{printed}");
        }
        let file = Written::new(
            "unsigned.toml",
            "name = 'own'\n[envelope]\nbody = '${event.data}'\n[retry]\nwaits = []",
        );
        let (_, result) = run(&api, &["profiles", "verify-snippet", &file.0, "--lang", language]).await;
        assert!(result.expect_err("nothing to verify").to_string().contains("not signed"));
    }
    assert!(api.asked().is_empty());
}
