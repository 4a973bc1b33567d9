//! `profiles vectors`: requests as a profile makes them, for the tests of receivers' own code. Made by the code that
//! signs deliveries, and judged by the code that checks signatures; the same every time unless a time is named.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::{CountingFrom, Timestamp};
use postrider_contract::event::{Event, EventType, SchemaVersion};
use postrider_contract::ids::{EventId, TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::profile::{CompiledProfile, ProfileOverride, SecretRule};
use postrider_contract::query_string::{encoded_pair, with_pair};
use postrider_contract::rendering::render;
use postrider_contract::secret::Secret;
use postrider_contract::signature::{
    Covered, ReceivedRequest, RequestContext, SignedVariable, SigningKey, VerifyingKey, signed_request,
    verify,
};
use postrider_contract::tenant::Tenant;
use serde_json::{Value, json};

use super::find;
use crate::client::error::ClientError;
use crate::client::input::{Source, TimeArgument, read_text};
use crate::client::session::Session;
use crate::secret_argument::SecretArgument;

/// 2026-01-01T00:00:00Z, in milliseconds: the vectors of a profile are the same whenever they are made.
const EXAMPLE_TIME: i64 = 1_767_225_600_000;
const RECEIVER: &str = "https://receiver.example/hook";
const DATA: &[u8] = br#"{"example":true,"amount":"12.50"}"#;

/// Prints requests with their signatures as JSON: secret, time, URL, body and headers, genuine ones and forged ones
///
/// Example:
///   postrider profiles vectors trcker > vectors.json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Vectors {
    /// A profile's name, or a file with its form (.toml, .json)
    profile: String,
    /// The signing secret: itself, @file, or @- for standard input (default: one made for the example)
    #[arg(long)]
    secret: Option<SecretArgument>,
    /// When the request is sent: a time, or how long ago
    #[arg(long)]
    time: Option<TimeArgument>,
    /// The body: itself, @file, or @- (default: that of an example event)
    #[arg(long)]
    body: Option<String>,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE", default_value = "example.created")]
    event_type: EventType,
}

/// What all vectors of one profile are made from.
struct Example {
    profile: Arc<CompiledProfile>,
    event: Event,
    tenant: Tenant,
    webhook: WebhookId,
    sent_at: Timestamp,
    /// As a webhook's URL has it: with whatever the profile signs of it.
    query: String,
    body: Bytes,
}

/// A key, and what its receiver knows of it: the secret, or the public key.
struct Key {
    known: String,
    key: SigningKey,
}

impl Key {
    fn read(secret: &Secret, rule: &SecretRule) -> Result<Self, ClientError> {
        let key = SigningKey::parse(secret.reveal(), rule)
            .map_err(|error| ClientError::Usage(format!("the secret {error}")))?;
        let known = key.public_text(rule).unwrap_or_else(|| secret.reveal().to_owned());
        Ok(Key { known, key })
    }
}

/// Headers and query as they are sent.
struct Sent {
    headers: Vec<Header>,
    query: String,
}

/// A request, what its receiver knows, and when it is looked at.
struct Vector<'a> {
    name: &'static str,
    headers: &'a [Header],
    query: &'a str,
    body: &'a [u8],
    known: &'a [&'a Key],
    verified_at: Timestamp,
}

impl Vectors {
    pub(in crate::client) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let profile = find(session, &self.profile).await?;
        let sent_at = match self.time {
            Some(time) => time.resolve(session.now()),
            None => Timestamp::from_millis(EXAMPLE_TIME),
        };
        let body = self.body.as_deref().map(|body| read_text(&Source::of_data(body))).transpose()?;
        let example = Example::new(profile, self.event_type, sent_at, body)?;
        let secret = self.secret.map(SecretArgument::resolve).transpose()?;
        let vectors = example.vectors(secret)?;
        let definition = example.profile.definition();
        let document = json!({
            "profile": definition.name, "version": definition.version,
            "algorithm": definition.signature.as_ref().map(|rule| rule.algorithm), "vectors": vectors,
        });
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| ClientError::NotWell(format!("cannot write the vectors: {error}")))?;
        session.line(&text)
    }
}

fn unusable(error: impl std::fmt::Display) -> ClientError {
    ClientError::NotWell(format!("cannot make an example: {error}"))
}

impl Example {
    fn new(
        profile: Arc<CompiledProfile>,
        event_type: EventType,
        sent_at: Timestamp,
        body: Option<String>,
    ) -> Result<Self, ClientError> {
        let tenant = Tenant {
            id: "acme".parse::<TenantId>().map_err(unusable)?,
            name: "Acme".to_owned(),
            website: Some("https://acme.example".to_owned()),
            profile: profile.name().clone(),
            schema_check: SchemaCheck::Off,
            created_at: sent_at,
            updated_at: sent_at,
        };
        let event = Event {
            id: "evt_example".parse::<EventId>().map_err(unusable)?,
            tenant: tenant.id.clone(),
            event_type,
            schema_version: SchemaVersion::FIRST,
            timestamp: sent_at,
            accepted_at: sent_at,
            data: RawObject::parse(Bytes::from_static(DATA)).map_err(unusable)?,
            summary: Some("An example".to_owned()),
            workflow: None,
        };
        let webhook = WebhookId::from_u128(1);
        let body = match body {
            Some(body) => Bytes::from(body),
            None => render(&profile, &event, &tenant, webhook).map_err(unusable)?,
        };
        let query = example_query(&profile);
        Ok(Example { profile, event, tenant, webhook, sent_at, query, body })
    }

    fn vectors(&self, secret: Option<String>) -> Result<Vec<Value>, ClientError> {
        let Some(rule) = &self.profile.definition().secret else {
            let sent = self.sent(&[]);
            return Ok(vec![self.show(&self.vector("unsigned", &sent, &[]), None)?]);
        };
        let given = secret.map_or_else(|| rule.generate(&CountingFrom(0)), Secret::new);
        let (current, other) =
            (Key::read(&given, rule)?, Key::read(&rule.generate(&CountingFrom(128)), rule)?);
        let (known, genuine) = ([&current], self.sent(&[&current]));
        let mut vectors = vec![self.judged(&self.vector("genuine", &genuine, &known))?];
        if self.profile.signs_with_several() {
            let both = self.sent(&[&other, &current]);
            vectors.push(self.judged(&self.vector("during_a_rotation", &both, &known))?);
        }
        if rule.key_pair_prefix.is_some() {
            vectors.extend(self.vectors_of_a_key_pair(rule, &current)?);
        }
        vectors.push(self.tampered(&genuine, &known)?);
        if let Some(name) = self.profile.signed_parameters().first() {
            let query = with_pair(&genuine.query, &encoded_pair(name, "another"));
            let twice = Vector { query: &query, ..self.vector("parameter_twice", &genuine, &known) };
            vectors.push(self.judged(&twice)?);
        }
        let forged = self.sent(&[&other]);
        vectors.push(self.judged(&self.vector("another_secret", &forged, &known))?);
        let window = self.profile.definition().signature.as_ref().and_then(|rule| rule.replay_window);
        if let Some(window) = window {
            let verified_at = self.sent_at.plus(window.duration()).plus(std::time::Duration::from_secs(1));
            let late = Vector { verified_at, ..self.vector("replayed_too_late", &genuine, &known) };
            vectors.push(self.judged(&late)?);
        }
        Ok(vectors)
    }

    /// Where a key pair may take the place of a shared secret: alone, and beside one while the receiver moves to it.
    fn vectors_of_a_key_pair(&self, rule: &SecretRule, shared: &Key) -> Result<Vec<Value>, ClientError> {
        let Some(secret) = rule.generate_key_pair(&CountingFrom(64)) else { return Ok(Vec::new()) };
        let pair = Key::read(&secret, rule)?;
        let mut vectors = vec![self.judged(&self.vector("by_a_key_pair", &self.sent(&[&pair]), &[&pair]))?];
        if self.profile.signs_with_several() {
            let both = self.sent(&[&pair, shared]);
            for (name, known) in
                [("before_a_move_to_a_key_pair", shared), ("after_a_move_to_a_key_pair", &pair)]
            {
                vectors.push(self.judged(&self.vector(name, &both, &[known]))?);
            }
        }
        let forged = self.sent(&[shared]);
        vectors.push(self.judged(&self.vector("not_by_the_key_pair", &forged, &[&pair]))?);
        Ok(vectors)
    }

    /// The request with one byte changed that its signature covers.
    fn tampered(&self, genuine: &Sent, known: &[&Key]) -> Result<Value, ClientError> {
        if self.signs(SignedVariable::Body) {
            let body = [&self.body[..], b" "].concat();
            return self.judged(&Vector { body: &body, ..self.vector("tampered_body", genuine, known) });
        }
        let query = genuine.query.replacen("example", "exbmple", 1);
        self.judged(&Vector { query: &query, ..self.vector("tampered_query", genuine, known) })
    }

    fn signs(&self, part: SignedVariable) -> bool {
        self.profile.definition().signature.as_ref().is_some_and(|rule| rule.signs.uses(part))
    }

    fn vector<'a>(&'a self, name: &'static str, sent: &'a Sent, known: &'a [&'a Key]) -> Vector<'a> {
        Vector {
            name,
            headers: &sent.headers,
            query: &sent.query,
            body: &self.body,
            known,
            verified_at: self.sent_at,
        }
    }

    fn sent(&self, keys: &[&Key]) -> Sent {
        let context = RequestContext::of_event(&self.event, &self.tenant.id, self.webhook, self.sent_at);
        let keys: Vec<SigningKey> = keys.iter().map(|key| key.key.clone()).collect();
        let covered = Covered { query: &self.query, body: &self.body };
        let signed = signed_request(&self.profile, &ProfileOverride::default(), &context, covered, &keys);
        let query = match &signed.query_parameter {
            None => self.query.clone(),
            Some(parameter) => with_pair(&self.query, parameter),
        };
        Sent { headers: signed.headers, query }
    }

    /// With what a receiver of the profile makes of it.
    fn judged(&self, vector: &Vector<'_>) -> Result<Value, ClientError> {
        let request = ReceivedRequest { headers: vector.headers, query: vector.query, body: vector.body };
        let keys: Vec<VerifyingKey> = vector.known.iter().map(|key| key.key.verifying()).collect();
        let verdict = verify(&self.profile, &ProfileOverride::default(), request, &keys, vector.verified_at);
        self.show(vector, Some(verdict.map_err(|failure| failure.to_string())))
    }

    fn show(&self, vector: &Vector<'_>, verdict: Option<Result<(), String>>) -> Result<Value, ClientError> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(unusable);
        let mut headers = Vec::new();
        for header in vector.headers {
            headers.push(json!([&*header.name, text(&header.value)?]));
        }
        let secrets: Vec<&str> = vector.known.iter().map(|key| key.known.as_str()).collect();
        let query = if vector.query.is_empty() { String::new() } else { format!("?{}", vector.query) };
        let mut shown = json!({
            "name": vector.name, "secrets": secrets, "sent_at": self.sent_at, "timestamp": self.sent_at.as_seconds(),
            "verified_at": vector.verified_at, "method": self.profile.definition().request.method,
            "url": format!("{RECEIVER}{query}"), "headers": headers, "body": text(vector.body)?,
        });
        match verdict {
            None => {}
            Some(Ok(())) => shown["valid"] = Value::Bool(true),
            Some(Err(why)) => {
                shown["valid"] = Value::Bool(false);
                shown["why"] = Value::String(why);
            }
        }
        Ok(shown)
    }
}

/// Something under every parameter that is signed, such that it has to be decoded.
fn example_query(profile: &CompiledProfile) -> String {
    let mut names = profile.signed_parameters();
    let rule = profile.definition().signature.as_ref();
    if names.is_empty() && rule.is_some_and(|rule| rule.signs.uses(SignedVariable::Query)) {
        names.push("order".to_owned());
    }
    let pairs = names.iter().map(|name| encoded_pair(name, "an example/\u{fc}"));
    pairs.collect::<Vec<_>>().join("&")
}
