use std::time::Duration;

use super::*;
use crate::clock::Entropy;
use crate::signature::SigningKey;

const MINIMAL: &str = "
name = 'own'
[envelope]
body = '${event.data}'
[retry]
waits = ['5s']
";

fn compiled(text: &str) -> Result<CompiledProfile, InvalidProfile> {
    Profile::from_toml(text).and_then(Profile::compile)
}

fn standard() -> Profile {
    builtin_profile(&ProfileName::standard()).expect("built in").definition().clone()
}

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[test]
fn the_built_in_profiles_load_with_the_default_first() {
    let names: Vec<&str> = builtin_profiles().iter().map(|profile| profile.name().as_str()).collect();
    let platforms = ["trcker", "trackdesk", "trakkr", "track360", "tracktile"];
    assert_eq!(names, [&["standard"][..], &platforms, &["cloudevents", "cloudevents-binary"]].concat());
    assert_eq!(builtin_profile(&"nobody".parse().expect("a name")), None);
}

#[test]
fn every_built_in_profile_is_read_back_from_toml_and_from_json() {
    for profile in builtin_profiles() {
        let json = serde_json::to_vec(profile.definition()).expect("serialises");
        assert_eq!(Profile::from_json(&json).as_ref(), Ok(profile.definition()));
        let text = toml::to_string(profile.definition()).expect("serialises");
        assert_eq!(Profile::from_toml(&text).as_ref(), Ok(profile.definition()));
    }
}

#[test]
fn what_a_profile_leaves_out_is_what_all_built_in_ones_share() {
    let profile = compiled(MINIMAL).expect("a profile");
    let request = &profile.definition().request;
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(request.content_type.to_string(), "application/json");
    assert_eq!(request.user_agent.to_string(), "Postrider/${postrider.version}");
    assert_eq!(request.minimum_tls, TlsVersion::Tls12);
    assert_eq!(profile.time_limit(&ProfileOverride::default()), Duration::from_secs(10));
    assert!(profile.definition().answers.success.contains(204));
    assert_eq!(profile.definition().webhook.paused, PausedRule::Hold);
}

#[test]
fn what_is_written_wrong_is_named_by_its_place() {
    for (from, to, path, part) in [
        ("name = 'own'", "name = 'Own'", "name", "lower-case"),
        ("name = 'own'", "name = 'own'\nnmae = 'x'", "nmae", "unknown field"),
        ("waits = ['5s']", "waits = ['5s', '25h']", "retry.waits", "wait 2"),
        ("waits = ['5s']", "waits = [5]", "retry.waits[0]", "expected a string"),
        ("waits = ['5s']", "", "retry", "missing field `waits`"),
        ("waits = ['5s']", "waits = ['5s']\njitter = 0.9", "retry.jitter", "fraction"),
        ("waits = ['5s']", "waits = ['5s']\n[request]\nmethod = 'GET'", "request.method", "unknown variant"),
        (
            "waits = ['5s']",
            "waits = ['5s']\n[[request.headers]]\nname = 'Host'\nvalue = 'x'",
            "request.headers[0].name",
            "Host",
        ),
        ("waits = ['5s']", "waits = ['5s']\n[answers]\nsuccess = ['2x']", "answers.success", "2x"),
        ("${event.data}", "${event.dat}", "envelope.body", "unknown variable"),
    ] {
        let refused = Profile::from_toml(&MINIMAL.replace(from, to)).expect_err(to);
        assert_eq!(refused.path, path, "{to}: {refused}");
        assert!(refused.detail.contains(part), "{to}: {refused}");
    }
    let refused = Profile::from_json(br#"{"name":"own","envelope":{"body":7}}"#).expect_err("a number");
    assert_eq!((refused.path.as_str(), refused.pointer()), ("envelope.body", "/envelope/body"));
    for text in ["", "{", "[]", "{} x"] {
        assert!(Profile::from_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Profile::from_toml("name = ").is_err());
    assert_eq!(InvalidProfile::at("request.headers[1].name", "x").pointer(), "/request/headers/1/name");
}

#[test]
fn what_is_wrong_in_toml_is_found_by_its_line_too() {
    for (text, place) in [
        ("name = 'own'\n  nmae = 'x'", "line 2, column 3: "),
        ("name = 'own'\n[envelope\n", "line 2, column 10: "),
        ("name = 'é'", "line 1, column 8: "),
    ] {
        let refused = Profile::from_toml(text).expect_err(text);
        assert!(refused.detail.starts_with(place), "{text}: {refused}");
    }
}

#[test]
fn a_member_that_is_not_known_is_pointed_at_whatever_it_is_called() {
    for (json, pointer) in [
        (r#"{"a.b":1}"#, "/a.b"),
        (r#"{"a/b~c":1}"#, "/a~1b~0c"),
        (r#"{"request":{"headers":[{"name":"X-A","value":"x","x[0]":1}]}}"#, "/request/headers/0/x[0]"),
        (r#"{"retry":{"waits":[],"retry_after":{"statuses":["429"],"max":"1s"}}}"#, "/retry/retry_after/max"),
    ] {
        assert_eq!(Profile::from_json(json.as_bytes()).expect_err(json).pointer(), pointer, "{json}");
    }
}

#[test]
fn a_profile_without_a_name_takes_the_one_it_is_given_and_no_other_replaces_its_own() {
    let own: ProfileName = "own".parse().expect("a name");
    let unnamed = MINIMAL.replace("name = 'own'", "");
    assert_eq!(compiled(&unnamed).expect_err("has no name").path, "name");
    let named = Profile::from_toml(&unnamed).expect("a form").named(&own).expect("a name fits");
    assert_eq!(named, Profile::from_toml(MINIMAL).and_then(|profile| profile.named(&own)).expect("the same"));
    let refused = Profile::from_toml(MINIMAL).expect("a form").named(&ProfileName::standard());
    assert_eq!(refused.expect_err("another name").pointer(), "/name");
    assert_eq!(Profile::from_toml(&MINIMAL.replace("'own'", "''")).expect_err("empty").path, "name");
}

#[test]
fn an_envelope_that_could_give_no_json_is_refused() {
    for body in [
        "{${event.data}",
        r#"{"a":"${event.id}"}"#,
        r#"{"a":"x ${event.summary}"}"#,
        r#"{"a":"x ${tenant.website}"}"#,
        r#"{"a":"x ${event.workflow}"}"#,
        r#"{"a":"x ${event.data.members}"}"#,
        r#"{${event.data.members}}"#,
        r#"{"a":${event.data.members}}"#,
        r#"{"a":1}${event.data}"#,
        "",
    ] {
        let refused = compiled(&MINIMAL.replace("${event.data}", body)).expect_err(body);
        assert_eq!(refused.path, "envelope.body", "{body}");
    }
}

#[test]
fn what_does_not_hold_together_is_refused() {
    type Change = fn(&mut Profile);
    fn signature(profile: &mut Profile) -> &mut SignatureRule {
        profile.signature.as_mut().expect("it signs")
    }
    fn secret(profile: &mut Profile) -> &mut SecretRule {
        profile.secret.as_mut().expect("it signs")
    }
    let changes: [(&str, Change); 24] = [
        ("secret", |profile| profile.secret = None),
        ("secret", |profile| profile.signature = None),
        ("signature.signs", |profile| profile.request.headers.clear()),
        ("signature.signs", |profile| {
            signature(profile).signs = Pattern::parse("${timestamp}").expect("a pattern")
        }),
        ("signature.each", |profile| signature(profile).each = Pattern::parse("v1").expect("a pattern")),
        ("signature.value", |profile| {
            signature(profile).value = Pattern::parse("${timestamp}").expect("a pattern")
        }),
        ("signature.header", |profile| signature(profile).header = "Webhook-ID".parse().ok()),
        ("signature.separator", |profile| signature(profile).separator = Some("\r\n".to_owned())),
        ("signature.separator", |profile| signature(profile).separator = Some(String::new())),
        ("signature.separator", |profile| signature(profile).separator = Some(" ".repeat(17))),
        ("signature.value", |profile| {
            let text = format!("{}${{signatures}}", "x".repeat(4_097));
            signature(profile).value = Pattern::parse(&text).expect("a pattern");
        }),
        ("description", |profile| profile.description = "x".repeat(1_001)),
        ("description", |profile| profile.description = "\u{1b}[31m".to_owned()),
        ("request.headers", |profile| {
            let value = Pattern::parse(&"x".repeat(4_097)).expect("a pattern");
            profile.request.headers.push(ProfileHeader { name: "X-Long".parse().expect("a name"), value });
        }),
        ("envelope.reserved_data_members", |profile| {
            profile.envelope.reserved_data_members = vec!["x".repeat(257)];
        }),
        ("signature.replay_window", |profile| {
            signature(profile).signs = Pattern::parse("${body}").expect("a pattern")
        }),
        ("secret.minimum_bytes", |profile| secret(profile).minimum_bytes = 0),
        ("secret.generated_bytes", |profile| secret(profile).generated_bytes = 8),
        ("secret.generated_bytes", |profile| secret(profile).minimum_bytes = 33),
        ("answers.success", |profile| profile.answers.success = StatusSet::default()),
        ("answers.permanent", |profile| {
            profile.answers.permanent = StatusSet::parse(["204"]).expect("a set")
        }),
        ("answers.disabling", |profile| {
            profile.answers.disabling = StatusSet::parse(["299", "410"]).expect("a set")
        }),
        ("request.time_limit", |profile| profile.request.time_limit = Span::from_seconds(61)),
        ("request.user_agent", |profile| {
            profile.request.user_agent = Pattern::parse("a\r\nb").expect("a pattern")
        }),
    ];
    for (path, change) in changes {
        let mut profile = standard();
        change(&mut profile);
        assert_eq!(profile.compile().expect_err(path).path, path);
    }
    for (name, path) in [("User-Agent", "request.headers[2]"), ("WEBHOOK-ID", "request.headers[2]")] {
        let mut profile = standard();
        let value = Pattern::parse("x").expect("a pattern");
        profile.request.headers.push(ProfileHeader { name: name.parse().expect("a name"), value });
        assert_eq!(profile.compile().expect_err(name).path, path);
    }
}

#[test]
fn a_profile_knows_its_own_headers_in_any_case() {
    let profile = builtin_profile(&"trcker".parse().expect("a name")).expect("built in");
    for name in ["x-trcker-signature", "X-TRCKER-EVENT", "X-Trcker-Webhook-Id", "content-type", "user-agent"]
    {
        assert!(profile.owns_header(name), "{name}");
    }
    assert!(!profile.owns_header("webhook-id"));
}

#[test]
fn what_a_webhook_asks_for_is_checked_against_its_profile() {
    let named = |name: &str| builtin_profile(&name.parse().expect("a name")).expect("built in");
    let waits =
        |seconds| ProfileOverride { waits: Some(vec![Duration::from_secs(seconds)]), ..Default::default() };
    let limit =
        |seconds| ProfileOverride { time_limit: Some(Duration::from_secs(seconds)), ..Default::default() };
    let header = |name: &str| ProfileOverride {
        signature_header: Some(name.parse().expect("a name")),
        ..Default::default()
    };
    let standard = named("standard");
    assert_eq!(standard.check_override(&ProfileOverride::default()), Ok(()));
    assert_eq!(standard.check_override(&waits(60)), Ok(()));
    assert_eq!(standard.check_override(&limit(60)), Ok(()));
    assert_eq!(standard.time_limit(&limit(60)), Duration::from_secs(60));
    assert_eq!(standard.check_override(&waits(0)).expect_err("too short").path, "waits");
    assert_eq!(standard.check_override(&limit(61)).expect_err("too long").path, "time_limit");
    assert_eq!(standard.check_override(&header("X-Own")).expect_err("fixed").path, "signature_header");
    let track360 = named("track360");
    assert_eq!(track360.check_override(&header("X-Own")), Ok(()));
    assert_eq!(track360.check_override(&header("X-Track360-Signature")), Ok(()));
    assert!(track360.check_override(&header("x-track360-event")).is_err());
}

#[test]
fn a_generated_secret_is_one_the_profile_accepts() {
    for profile in builtin_profiles() {
        let rule = profile.definition().secret.as_ref().expect("every built-in profile can sign");
        let secret = rule.generate(&Sevens);
        assert!(secret.reveal().starts_with(&rule.prefix));
        assert!(SigningKey::parse(secret.reveal(), rule).is_ok(), "{}", profile.name());
    }
    let rule = standard().secret.expect("it signs");
    assert_eq!(rule.generate(&Sevens).reveal(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
}

#[test]
fn a_colour_is_read_and_written() {
    let colour = Colour::try_from("#16A34a".to_owned()).expect("a colour");
    assert_eq!((colour.rgb(), colour.to_string().as_str()), (0x16_a34a, "#16a34a"));
    for text in ["", "#", "16a34a", "#16a34", "#16a34aa", "#16a34g", "#+6a34a", "green"] {
        assert_eq!(Colour::try_from(text.to_owned()), Err(InvalidColour), "{text}");
    }
}

#[test]
fn a_signature_that_no_receiver_could_read_is_refused_before_it_is_saved() {
    for profile in builtin_profiles() {
        assert_eq!(profile.check_verifiable(), Ok(()), "{}", profile.name());
    }
    let with = |change: fn(&mut SignatureRule)| {
        let mut profile = standard();
        change(profile.signature.as_mut().expect("it signs"));
        profile.compile().expect("each part is right by itself").check_verifiable()
    };
    let refused = |result: Result<(), InvalidProfile>| result.expect_err("refused").path;
    // Where the signature ends, and the time begins, cannot be told.
    assert_eq!(
        refused(with(|rule| rule.value = Pattern::parse("${signatures}${timestamp}").expect("a pattern"))),
        "signature.value"
    );
    // What stands between two signatures stands within each.
    assert_eq!(refused(with(|rule| rule.separator = Some("v1".to_owned()))), "signature.value");
    assert_eq!(with(|rule| rule.separator = Some(";".to_owned())), Ok(()));
}
