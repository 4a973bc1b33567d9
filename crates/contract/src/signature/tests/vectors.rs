//! The published signature vectors: each scheme among them is written as profile data, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{Try, built_in, known, none, request_headers, secret_rule};
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::ids::EventId;
use crate::profile::{CompiledProfile, Profile};
use crate::signature::{ReceivedRequest, SigningKey, VerifyingKey, verify};

const FILE: &str = include_str!("../../../../../tests/vectors/signature-vectors.json");

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    op: String,
    scheme: String,
    #[serde(default)]
    keys: Vec<Key>,
    msg_id: Option<String>,
    timestamp: Option<i64>,
    now: Option<i64>,
    secret: Option<String>,
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
    body_base64: Option<String>,
    body_generate: Option<Repeat>,
    key_hex: Option<String>,
    message_hex: Option<String>,
    seed_hex: Option<String>,
    expect: Value,
}

#[derive(Deserialize)]
struct Key {
    secret: Option<String>,
    key_hex: Option<String>,
    public: Option<String>,
}

#[derive(Deserialize)]
struct Repeat {
    repeat: String,
    count: usize,
}

fn vectors(op: &str) -> Vec<Vector> {
    let read: Vectors = serde_json::from_str(FILE).expect("the vectors");
    read.vectors.into_iter().filter(|vector| vector.op == op).collect()
}

fn profile(scheme: &str) -> Option<CompiledProfile> {
    let signature = match scheme {
        "standard-webhooks" => return Some(built_in("standard").as_ref().clone()),
        "stripe" => {
            "header = 'Stripe-Signature'\nsigns = '${timestamp}.${body}'\nencoding = 'hex'\n\
             each = 'v1=${signature}'\nseparator = ','\nvalue = 't=${timestamp},${signatures}'"
        }
        "github" => {
            "header = 'X-Hub-Signature-256'\nsigns = '${body}'\nencoding = 'hex'\neach = 'sha256=${signature}'"
        }
        "shopify" => "header = 'X-Shopify-Hmac-SHA256'\nsigns = '${body}'\nencoding = 'base64'",
        "hmac-sha256" => "header = 'Mac'\nsigns = '${body}'\nencoding = 'hex'",
        _ => return None,
    };
    let text = format!(
        "name = 'own'\n[envelope]\nbody = '${{event.data}}'\n[retry]\nwaits = []\n\
         [secret]\norigin = 'optional'\n[signature]\n{signature}"
    );
    Some(Profile::from_toml(&text).and_then(Profile::compile).expect("a profile"))
}

impl Vector {
    fn body(&self) -> Vec<u8> {
        match (&self.body_base64, &self.body_generate) {
            (Some(text), _) => STANDARD.decode(text).expect("base64"),
            (None, Some(generate)) => generate.repeat.repeat(generate.count).into_bytes(),
            (None, None) => panic!("{} has no body", self.id),
        }
    }
}

impl Key {
    fn read(&self, profile: &CompiledProfile) -> SigningKey {
        let bytes = self.key_hex.as_ref().map(|digits| hex::decode(digits).expect("hexadecimal"));
        let Some(text) = &self.secret else { return SigningKey::from_bytes(bytes.expect("a key")) };
        let key = SigningKey::parse(text, secret_rule(profile)).expect("a secret");
        assert!(bytes.is_none_or(|bytes| bytes == key.bytes()), "the key of {text}");
        assert_eq!(key.public_text(secret_rule(profile)), self.public, "the public key of {text}");
        key
    }
}

#[test]
fn every_signature_is_that_of_the_vectors() {
    let mut count = 0;
    for vector in vectors("sign").into_iter().filter(|vector| vector.scheme != "ed25519") {
        let profile = profile(&vector.scheme).expect("a scheme");
        count += 1;
        let keys: Vec<SigningKey> = vector.keys.iter().map(|key| key.read(&profile)).collect();
        let sent = Try::at(vector.timestamp.unwrap_or(0), vector.msg_id.as_deref().unwrap_or("evt_1"));
        let headers = request_headers(&profile, &none(), &sent.context(), &vector.body(), &keys);
        let expected = vector.expect["headers"].as_object().expect("headers");
        for (name, value) in expected {
            let header = headers.iter().find(|header| header.name == *name);
            let sent = header.map(|header| String::from_utf8_lossy(&header.value).into_owned());
            assert_eq!(sent.as_deref(), value.as_str(), "{}: {name}", vector.id);
        }
        // Who knows any one of the keys, or its public half, takes it.
        let now = Timestamp::from_millis(vector.timestamp.unwrap_or(0) * 1000);
        let body = vector.body();
        for key in &keys {
            let request = ReceivedRequest { headers: &headers, query: "", body: &body };
            let verified = verify(&profile, &none(), request, &[key.verifying()], now);
            let counts = profile.signs_with_several() || *key == keys[0];
            assert_eq!(verified.is_ok(), counts, "{}: {verified:?}", vector.id);
        }
    }
    assert!(count >= 25, "only {count} vectors");
}

#[test]
fn the_bare_ed25519_signature_is_that_of_rfc_8032() {
    let text = "name = 'own'\n[envelope]\nbody = '${event.data}'\n[retry]\nwaits = []\n\
                [secret]\norigin = 'optional'\nform = 'ed25519'\npublic_key_prefix = 'public-'\n\
                [signature]\nheader = 'Signature'\nalgorithm = 'ed25519'\nsigns = '${body}'\nencoding = 'hex'";
    let profile = Profile::from_toml(text).and_then(Profile::compile).expect("a profile");
    let mut count = 0;
    for vector in vectors("sign").into_iter().filter(|vector| vector.scheme == "ed25519") {
        count += 1;
        let bytes =
            |digits: &Option<String>| hex::decode(digits.as_ref().expect("digits")).expect("hexadecimal");
        let seed = STANDARD.encode(bytes(&vector.seed_hex));
        let keys = [SigningKey::parse(&seed, secret_rule(&profile)).expect("a seed")];
        let message = bytes(&vector.message_hex);
        let sent = Try::at(0, "evt_1");
        let headers = request_headers(&profile, &none(), &sent.context(), &message, &keys);
        let signature = headers.last().map(|header| header.value.clone()).expect("signed");
        let expected = vector.expect["signature_hex"].as_str().map(str::as_bytes);
        assert_eq!(Some(signature.as_ref()), expected, "{}", vector.id);
        let request = ReceivedRequest { headers: &headers, query: "", body: &message };
        assert_eq!(verify(&profile, &none(), request, &known(&keys), Timestamp::EPOCH), Ok(()));
    }
    assert!(count >= 1);
}

#[test]
fn every_request_of_the_vectors_is_verified_as_they_say() {
    let mut count = 0;
    for vector in vectors("verify") {
        let (Some(profile), Some(secret)) = (profile(&vector.scheme), &vector.secret) else { continue };
        count += 1;
        let keys = [VerifyingKey::parse(secret, secret_rule(&profile)).expect("a secret")];
        let header = |(name, value): (&String, &Value)| Header {
            name: name.as_str().into(),
            value: Bytes::from(value.as_str().expect("text").to_owned()),
        };
        let headers: Vec<Header> = vector.headers.iter().map(header).collect();
        let body = vector.body();
        let now = Timestamp::from_millis(vector.now.expect("a time") * 1000);
        let verified = verify(
            &profile,
            &none(),
            ReceivedRequest { headers: &headers, query: "", body: &body },
            &keys,
            now,
        );
        assert_eq!(Some(verified.is_ok()), vector.expect["valid"].as_bool(), "{}: {verified:?}", vector.id);
    }
    assert!(count >= 10, "only {count} vectors");
}

#[test]
fn every_secret_of_the_vectors_is_accepted_or_refused_as_they_say() {
    let standard = built_in("standard");
    for vector in vectors("parse-secret") {
        let text = vector.secret.as_deref().expect("a secret");
        let read = SigningKey::parse(text, secret_rule(&standard));
        assert_eq!(Some(read.is_ok()), vector.expect["accept"].as_bool(), "{}", vector.id);
        if let (Ok(key), Some(digits)) = (read, vector.expect["key_hex"].as_str()) {
            assert_eq!(hex::encode(key.bytes()), digits, "{}", vector.id);
        }
    }
}

#[test]
fn the_bare_mac_is_that_of_rfc_4231() {
    for vector in vectors("mac") {
        let profile = profile(&vector.scheme).expect("a scheme");
        let bytes =
            |digits: &Option<String>| hex::decode(digits.as_ref().expect("digits")).expect("hexadecimal");
        let keys = [SigningKey::from_bytes(bytes(&vector.key_hex))];
        let sent = Try::at(0, "evt_1");
        let headers = request_headers(&profile, &none(), &sent.context(), &bytes(&vector.message_hex), &keys);
        let mac = headers.last().map(|header| header.value.clone()).expect("signed");
        assert_eq!(Some(mac.as_ref()), vector.expect["mac_hex"].as_str().map(str::as_bytes), "{}", vector.id);
    }
}

/// With a dot in it, an id, a time and a body could stand for those of another request under the same signature.
#[test]
fn an_id_that_would_make_a_signature_ambiguous_cannot_be_published() {
    let mut count = 0;
    for vector in vectors("api") {
        count += 1;
        let id = vector.msg_id.as_deref().expect("an id").parse::<EventId>();
        assert_eq!(Some(id.is_err()), vector.expect["reject_on_ingest"].as_bool(), "{}", vector.id);
    }
    assert!(count >= 1);
}

#[test]
fn no_vector_is_of_a_kind_that_is_not_looked_at() {
    let read: Vectors = serde_json::from_str(FILE).expect("the vectors");
    for vector in &read.vectors {
        assert!(
            ["sign", "verify", "parse-secret", "mac", "api"].contains(&vector.op.as_str()),
            "{}",
            vector.id
        );
        let is_of_a_profile = vector.op != "verify" || profile(&vector.scheme).is_some();
        assert!(is_of_a_profile && (vector.op != "verify" || vector.secret.is_some()), "{}", vector.id);
    }
}
