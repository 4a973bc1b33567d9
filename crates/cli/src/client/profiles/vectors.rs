//! `profiles vectors`: requests as a profile makes them, for the tests of receivers' own code. Made by the code that
//! signs deliveries, and judged by the code that checks signatures; the same every time unless a time is named.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::{Entropy, Timestamp};
use postrider_contract::delivery::AttemptNumber;
use postrider_contract::event::{Event, EventType, SchemaVersion};
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::profile::{CompiledProfile, ProfileOverride};
use postrider_contract::rendering::render;
use postrider_contract::signature::{ReceivedRequest, RequestContext, SigningKey, request_headers, verify};
use postrider_contract::tenant::Tenant;
use serde_json::{Value, json};

use super::find;
use crate::client::error::ClientError;
use crate::client::input::{Source, TimeArgument, read_text};
use crate::client::session::Session;
use crate::secret_argument::SecretArgument;

/// 2026-01-01T00:00:00Z, in milliseconds: the vectors of a profile are the same whenever they are made.
const EXAMPLE_TIME: i64 = 1_767_225_600_000;
const DATA: &[u8] = br#"{"example":true,"amount":"12.50"}"#;

/// Prints requests with their signatures as JSON: secret, time, body and headers, genuine ones and forged ones
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

/// Counts up from a byte: secrets of examples, which nobody may use.
#[derive(Debug)]
struct CountingFrom(u8);

impl Entropy for CountingFrom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
    }
}

/// What all vectors of one profile are made from.
struct Example {
    profile: Arc<CompiledProfile>,
    event: Event,
    tenant: Tenant,
    webhook: WebhookId,
    sent_at: Timestamp,
    body: Bytes,
}

/// A secret and the key it is.
struct Key {
    secret: String,
    key: SigningKey,
}

/// A request, the secrets its receiver knows, and when it is looked at.
struct Vector<'a> {
    name: &'static str,
    headers: &'a [Header],
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
        Ok(Example { profile, event, tenant, webhook, sent_at, body })
    }

    fn vectors(&self, secret: Option<String>) -> Result<Vec<Value>, ClientError> {
        let Some(rule) = &self.profile.definition().secret else {
            let headers = self.headers(&[]);
            return Ok(vec![self.show(&self.vector("unsigned", &headers, &[]), None)?]);
        };
        let key = |secret: String| {
            let key = SigningKey::parse(&secret, rule)
                .map_err(|error| ClientError::Usage(format!("the secret {error}")))?;
            Ok::<Key, ClientError>(Key { secret, key })
        };
        let given = secret.unwrap_or_else(|| rule.generate(&CountingFrom(0)).reveal().to_owned());
        let (current, other) = (key(given)?, key(rule.generate(&CountingFrom(128)).reveal().to_owned())?);
        let (known, genuine) = ([&current], self.headers(&[&current]));
        let mut vectors = vec![self.judged(&self.vector("genuine", &genuine, &known))?];
        if self.profile.signs_with_several() {
            let both = self.headers(&[&other, &current]);
            vectors.push(self.judged(&self.vector("during_a_rotation", &both, &known))?);
        }
        let tampered = [&self.body[..], b" "].concat();
        let of_body = Vector { body: &tampered, ..self.vector("tampered_body", &genuine, &known) };
        vectors.push(self.judged(&of_body)?);
        let forged = self.headers(&[&other]);
        vectors.push(self.judged(&self.vector("another_secret", &forged, &known))?);
        let window = self.profile.definition().signature.as_ref().and_then(|rule| rule.replay_window);
        if let Some(window) = window {
            let verified_at = self.sent_at.plus(window.duration()).plus(std::time::Duration::from_secs(1));
            let late = Vector { verified_at, ..self.vector("replayed_too_late", &genuine, &known) };
            vectors.push(self.judged(&late)?);
        }
        Ok(vectors)
    }

    fn vector<'a>(&'a self, name: &'static str, headers: &'a [Header], known: &'a [&'a Key]) -> Vector<'a> {
        Vector { name, headers, body: &self.body, known, verified_at: self.sent_at }
    }

    fn headers(&self, keys: &[&Key]) -> Vec<Header> {
        let context = RequestContext {
            event_id: &self.event.id,
            event_type: &self.event.event_type,
            event_timestamp: self.event.timestamp,
            schema_version: self.event.schema_version,
            tenant: &self.tenant.id,
            webhook: self.webhook,
            delivery: DeliveryId::derive(self.sent_at, &self.event.id, self.webhook, 0),
            attempt: AttemptNumber::FIRST,
            started_at: self.sent_at,
        };
        let keys: Vec<SigningKey> = keys.iter().map(|key| key.key.clone()).collect();
        request_headers(&self.profile, &ProfileOverride::default(), &context, &self.body, &keys)
    }

    /// With what a receiver of the profile makes of it.
    fn judged(&self, vector: &Vector<'_>) -> Result<Value, ClientError> {
        let request = ReceivedRequest { headers: vector.headers, body: vector.body };
        let keys: Vec<SigningKey> = vector.known.iter().map(|key| key.key.clone()).collect();
        let verdict = verify(&self.profile, &ProfileOverride::default(), request, &keys, vector.verified_at);
        self.show(vector, Some(verdict.map_err(|failure| failure.to_string())))
    }

    fn show(&self, vector: &Vector<'_>, verdict: Option<Result<(), String>>) -> Result<Value, ClientError> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(unusable);
        let mut headers = Vec::new();
        for header in vector.headers {
            headers.push(json!([&*header.name, text(&header.value)?]));
        }
        let secrets: Vec<&str> = vector.known.iter().map(|key| key.secret.as_str()).collect();
        let mut shown = json!({
            "name": vector.name, "secrets": secrets, "sent_at": self.sent_at, "timestamp": self.sent_at.as_seconds(),
            "verified_at": vector.verified_at, "method": self.profile.definition().request.method,
            "headers": headers, "body": text(vector.body)?,
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
