//! Every kind of signature as profile data. The expected values were computed by another program.

use super::*;
use crate::profile::{Weakness, builtin_profiles};

const BODY: &[u8] = br#"{"a": 1}"#;
const QUERY: &str = "click_id=a%20b%2F%C3%BC&payout=12.50";
const TEXT: &str = "a secret of the subscriber";

/// A profile that signs so, and one key of it.
fn profile(secret: &str, signature: &str) -> CompiledProfile {
    let text = format!(
        "name = 'own'\n[envelope]\nbody = '${{event.data}}'\n[retry]\nwaits = []\n\
         [secret]\norigin = 'optional'\n{secret}\n[signature]\n{signature}"
    );
    Profile::from_toml(&text).and_then(Profile::compile).expect("a profile")
}

fn signed(profile: &CompiledProfile, keys: &[SigningKey]) -> SignedRequest {
    let covered = Covered { query: QUERY, body: BODY };
    signed_request(profile, &none(), &Try::at(SENT_AT, "evt_1").context(), covered, keys)
}

fn check(
    profile: &CompiledProfile,
    headers: &[Header],
    query: &str,
    keys: &[VerifyingKey],
) -> Result<(), VerifyFailure> {
    let now = Timestamp::from_millis(SENT_AT * 1000);
    verify(profile, &none(), ReceivedRequest { headers, query, body: BODY }, keys, now)
}

#[test]
fn every_hash_and_every_form_of_a_secret_signs_as_another_program_does() {
    let base64 = "s-YSBzZWNyZXQgb2YgdGhlIHN1YnNjcmliZXI=";
    let hexadecimal = "6120736563726574206F66207468652073756273637269626572";
    for (form, secret, signature, expected) in [
        (
            "form = 'base64'\nprefix = 's-'",
            base64,
            "algorithm = 'hmac-sha512'\nsigns = '${body}'\nencoding = 'base64'",
            "K2y7DKFvRhHoJsjjALv+TFPGupzOd2m4xx+/Ap6eK2LlScm9eEJ3g11ZUZwSLwg4RUnWMTQkGzzRYg+WsrQ6KA==",
        ),
        (
            "form = 'hex'",
            hexadecimal,
            "algorithm = 'hmac-sha1'\nsigns = '${body}'\nencoding = 'hex'\neach = 'sha1=${signature}'",
            "sha1=399d9c96780ae1ab6da3080182e0f06ba8a5399e",
        ),
        (
            "",
            TEXT,
            "algorithm = 'sha256'\nsigns = '${secret}${body}'\nencoding = 'hex'",
            "e0cf9ad67b7c497bdf9233fb2065272fe530b8aced018cd6b432bbf3e24a545d",
        ),
        (
            "",
            TEXT,
            "algorithm = 'sha512'\nsigns = '${body}|${secret}'\nencoding = 'base64'",
            "uoeCkMg1keKEIHojpnaN48myAYfg4p4FPhpvsygpRA3hSNeYm6pxOTFcvjavqBsyzI7p+qSMbk+SXuRxDJ3WXg==",
        ),
        (
            "",
            TEXT,
            "algorithm = 'sha1'\nsigns = '${body}${secret}'\nencoding = 'hex'",
            "030450648a4cf8a2817ce4c4ac36a6aac59fff97",
        ),
        (
            "",
            TEXT,
            "algorithm = 'md5'\nsigns = '${query.click_id}:${query.payout}:${secret}'\nencoding = 'hex'",
            "3ad60482fbeb58408bae2511fab449c8",
        ),
    ] {
        let profile = profile(form, &format!("header = 'X-Sig'\n{signature}"));
        let keys = [key(&profile, secret)];
        let request = signed(&profile, &keys);
        assert_eq!(lines(&request.headers).last(), Some(&format!("X-Sig: {expected}")), "{signature}");
        assert_eq!(check(&profile, &request.headers, QUERY, &known(&keys)), Ok(()), "{signature}");
        let other = SigningKey::from_bytes(b"another".to_vec()).verifying();
        assert_eq!(check(&profile, &request.headers, QUERY, &[other]), Err(VerifyFailure::NoMatch));
    }
}

#[test]
fn a_signature_in_the_query_stands_behind_what_is_there_and_covers_it() {
    let profile = profile(
        "",
        "query_parameter = 'sig'\nsigns = '${timestamp_ms}.${query}.${body}'\nencoding = 'base64'\n\
         value = 't=${timestamp_ms},${signatures}'\nreplay_window = '5m'",
    );
    let keys = [key(&profile, TEXT)];
    let request = signed(&profile, &keys);
    let parameter = request.query_parameter.expect("in the query");
    assert_eq!(parameter, "sig=t%3D1795253405999%2Cu0q8MSxC%2FDzq2V5pUfzSNbSoxnr7K%2Bb3KwXyw6nEprQ%3D");
    assert_eq!(request.headers.len(), 2, "content type and user agent alone");
    let keys = known(&keys);
    let name = "sig".to_owned();
    for (query, verdict) in [
        (format!("{QUERY}&{parameter}"), Ok(())),
        (format!("{parameter}&{QUERY}"), Ok(())),
        (format!("{QUERY}&more=1&{parameter}"), Err(VerifyFailure::NoMatch)),
        (format!("payout=12.50&{parameter}"), Err(VerifyFailure::NoMatch)),
        (QUERY.to_owned(), Err(VerifyFailure::MissingParameter { name: name.clone() })),
        (format!("{QUERY}&{parameter}&sig=1"), Err(VerifyFailure::RepeatedParameter { name: name.clone() })),
        (format!("{QUERY}&sig=%FF"), Err(VerifyFailure::MalformedParameter { name: name.clone() })),
        (format!("{QUERY}&sig=t%3Dx%2Cy"), Err(VerifyFailure::MalformedParameter { name: name.clone() })),
    ] {
        assert_eq!(check(&profile, &request.headers, &query, &keys), verdict, "{query}");
    }
}

#[test]
fn a_parameter_that_is_signed_counts_decoded_however_it_is_written() {
    let profile = profile(
        "",
        "header = 'X-Sig'\nalgorithm = 'md5'\nsigns = '${query.click_id}${secret}'\nencoding = 'hex'",
    );
    let keys = [key(&profile, TEXT)];
    let headers = signed(&profile, &keys).headers;
    for query in ["click_id=a+b/%c3%bc", "x=1&click%5Fid=%61%20b%2F\u{fc}&x=2"] {
        assert_eq!(check(&profile, &headers, query, &known(&keys)), Ok(()), "{query}");
    }
    let name = "click_id".to_owned();
    for (query, failure) in [
        ("click_id=a+b", VerifyFailure::NoMatch),
        ("click_id=A+b/%c3%bc", VerifyFailure::NoMatch),
        ("", VerifyFailure::MissingParameter { name: name.clone() }),
        // Which of the two a receiver goes by is not known.
        ("click_id=a+b/%c3%bc&click_id=other", VerifyFailure::RepeatedParameter { name: name.clone() }),
        ("click_id=a+b/%c3%bc&click%5Fid=a+b/%c3%bc", VerifyFailure::RepeatedParameter { name }),
    ] {
        assert_eq!(check(&profile, &headers, query, &known(&keys)), Err(failure), "{query}");
    }
}

const PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

#[test]
fn a_shared_secret_and_a_key_pair_sign_side_by_side_while_receivers_move() {
    let profile = built_in("standard");
    let rule = secret_rule(&profile);
    for secrets in [[PRIVATE, SECRET], [SECRET, PRIVATE]] {
        let keys = secrets.map(|secret| key(&profile, secret));
        let headers = signed(&profile, &keys).headers;
        let value = lines(&headers).pop().expect("signed");
        let found: Vec<&str> =
            value.split(' ').skip(1).map(|one| &one[..one.find(',').unwrap_or(0)]).collect();
        assert_eq!(found, secrets.map(|secret| if secret == PRIVATE { "v1a" } else { "v1" }), "newest first");
        for text in [PUBLIC, SECRET, PRIVATE] {
            let receiver = VerifyingKey::parse(text, rule).expect("what a receiver knows");
            assert_eq!(check(&profile, &headers, "", &[receiver]), Ok(()), "{text}");
        }
        for text in
            ["whpk_NHSq+bDP3EhS9OyxcZoF1EWDWsdYAqajLz8NguBKsD0=", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
        {
            let stranger = VerifyingKey::parse(text, rule).expect("a key");
            assert_eq!(check(&profile, &headers, "", &[stranger]), Err(VerifyFailure::NoMatch), "{text}");
        }
        let malformed =
            Header { value: Bytes::from_static(b"v1a,%%% v1a, v1a,AAAA v1,AAAA"), ..headers[4].clone() };
        let headers = [&headers[..4], &[malformed]].concat();
        let receiver = VerifyingKey::parse(PUBLIC, rule).expect("a key");
        assert_eq!(check(&profile, &headers, "", &[receiver]), Err(VerifyFailure::NoMatch));
    }
}

#[test]
fn a_key_pair_is_its_seed_with_or_without_the_public_key_that_belongs_to_it() {
    let profile = built_in("standard");
    let rule = secret_rule(&profile);
    let whole = key(&profile, PRIVATE);
    assert_eq!(whole.public_text(rule).as_deref(), Some(PUBLIC));
    assert_eq!(key(&profile, SECRET).public_text(rule), None);
    assert_eq!(key(&profile, "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="), whole);
    assert_eq!(format!("{whole:?} {:?}", whole.verifying()), "SigningKey(***) VerifyingKey(***)");
    let refused = InvalidSecret::NotKeyPair { prefix: "whsk_".to_owned() };
    for text in [
        "whsk_",
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc",
        "whsk_6Xb_dCcHpPea21PS1N9VY_NZW723CEc77N4rJCubMbc=",
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMQ==",
        // A seed with the public key of another.
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc0dKr5sM/cSFL07LFxmgXURYNax1gCpqMvPw2C4EqwPQ==",
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6KvgA=",
    ] {
        assert_eq!(SigningKey::parse(text, rule), Err(refused.clone()), "{text}");
    }
    // Nobody signs with what everybody may know.
    assert!(SigningKey::parse(PUBLIC, rule).is_err());
    let refused = InvalidSecret::NotPublicKey { prefix: "whpk_".to_owned() };
    for text in ["whpk_", "whpk_AAAA", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4"] {
        assert_eq!(VerifyingKey::parse(text, rule).err(), Some(refused.clone()), "{text}");
    }
    // Where key pairs have no place, such a text is a secret like any other.
    let trcker = built_in("trcker");
    assert_eq!(key(&trcker, PRIVATE).bytes(), PRIVATE.as_bytes());
}

#[test]
fn a_generated_key_pair_is_one_the_profile_takes() {
    #[derive(Debug)]
    struct Sevens;
    impl crate::clock::Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }
    let standard = built_in("standard");
    let secret = secret_rule(&standard).generate_key_pair(&Sevens).expect("it takes key pairs");
    assert!(secret.reveal().starts_with("whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwf"));
    assert!(key(&standard, secret.reveal()).public_text(secret_rule(&standard)).is_some());
    assert!(secret_rule(&built_in("trcker")).generate_key_pair(&Sevens).is_none());
    let pairs = profile(
        "form = 'ed25519'\nprefix = 'sk_'\npublic_key_prefix = 'pk_'",
        "header = 'X-Sig'\nalgorithm = 'ed25519'\nsigns = '${body}'\nencoding = 'hex'",
    );
    let keys = [key(&pairs, secret_rule(&pairs).generate(&Sevens).reveal())];
    let request = signed(&pairs, &keys);
    assert_eq!(check(&pairs, &request.headers, "", &known(&keys)), Ok(()));
}

#[test]
fn a_key_pair_keeps_no_copy_of_its_seed() {
    let standard = built_in("standard");
    let private = KeyPair::from_bytes(&STANDARD.decode(&PRIVATE[5..]).expect("base64")).expect("a pair");
    assert_eq!(private.public().len(), 32);
    assert_eq!(size_of_val(&private), size_of::<usize>(), "nothing beside what signs");
    assert_eq!(key(&standard, PRIVATE).public_text(secret_rule(&standard)).as_deref(), Some(PUBLIC));
}

#[test]
fn a_profile_with_an_old_signature_says_how_it_is_weak() {
    for built_in in builtin_profiles() {
        assert_eq!(built_in.weaknesses(), [], "{}", built_in.name());
    }
    for (signature, weaknesses) in [
        ("algorithm = 'hmac-sha512'\nsigns = '${body}'", vec![]),
        ("algorithm = 'hmac-sha1'\nsigns = '${body}'", vec![Weakness::BrokenHash]),
        (
            "algorithm = 'sha256'\nsigns = '${query}${secret}'",
            vec![Weakness::PlainHash, Weakness::WithoutBody],
        ),
        ("signs = '${query}'", vec![Weakness::WithoutBody]),
        ("signs = '${query}${body}'", vec![]),
        (
            "algorithm = 'md5'\nsigns = '${query.a}${secret}'",
            vec![Weakness::BrokenHash, Weakness::PlainHash, Weakness::NamedFieldsOnly],
        ),
        ("signs = '${query.a}'", vec![Weakness::NamedFieldsOnly]),
    ] {
        let profile = profile("", &format!("header = 'X-Sig'\nencoding = 'hex'\n{signature}"));
        assert_eq!(profile.weaknesses(), weaknesses, "{signature}");
    }
}
