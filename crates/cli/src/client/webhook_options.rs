//! The options that make or change a webhook, and the JSON that they stand for.

use postrider_contract::profile::Span;
use serde_json::{Map, Value, json};

use super::error::ClientError;
use super::input::{HeaderArgument, MetadataArgument, Source, header_object, read_text};
use super::postback_options::PostbackSettings;
use crate::secret_argument::SecretArgument;

/// What a webhook may be given, when it is registered and later.
#[derive(clap::Args)]
pub struct Settings {
    /// For people
    #[arg(long)]
    name: Option<String>,
    /// Its own delivery contract; the tenant's if absent
    #[arg(long)]
    profile: Option<String>,
    /// A signing secret of your own: itself, @file, or @- for standard input. If none is given, the server makes one
    /// where the profile wants one
    #[arg(long, value_name = "SECRET|@FILE")]
    secret: Option<SecretArgument>,
    /// A header sent with every request; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<HeaderArgument>,
    /// Authorization: Bearer TOKEN; the token may be @file, or @- for standard input
    #[arg(long, value_name = "TOKEN|@FILE", group = "authentication")]
    auth_bearer: Option<SecretArgument>,
    /// Authorization: Basic, made of USER:PASSWORD; the password may be @file, or @- for standard input
    #[arg(long, value_name = "USER:PASSWORD|USER:@FILE", group = "authentication")]
    auth_basic: Option<String>,
    /// A header that holds a key; the value may be @file, or @- for standard input
    #[arg(long, value_name = "NAME: VALUE|NAME: @FILE", group = "authentication")]
    auth_api_key: Option<HeaderArgument>,
    /// At most so many requests a second; what is over it waits
    #[arg(long, value_name = "N")]
    rate_limit: Option<u32>,
    /// At most so many requests at once
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u16>,
    /// Total time limit of one try: 500ms, 10s
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// The one major of its event types that it gets, until it is moved; the highest an event has if never given
    #[arg(long, value_name = "N")]
    schema_major: Option<u16>,
    /// slack, discord, teams_webhook, zapier, make or webhook; by the URL if never given
    #[arg(long)]
    provider: Option<String>,
    /// Its own body in place of the profile's envelope: JSON with {{variable}} in its strings, @file, or @- for standard
    /// input; null removes it
    #[arg(long, value_name = "JSON|@FILE")]
    template: Option<String>,
    /// Only the events whose data passes this: JSON such as '{"field": "payout", "at_least": 100}', joined by and, or and
    /// not (docs/filters.md), @file, or @- for standard input; null removes it
    #[arg(long, value_name = "JSON|@FILE")]
    filter: Option<String>,
    /// A string of the template that is nothing but one variable becomes the value with its own type
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    template_typed: Option<bool>,
    /// For people; several lines are fine
    #[arg(long)]
    description: Option<String>,
    /// Something of your own to find it by; may be repeated
    #[arg(long = "metadata", value_name = "NAME=VALUE")]
    metadata: Vec<MetadataArgument>,
    #[command(flatten)]
    postback: PostbackSettings,
}

impl Settings {
    /// The members of the request's body, those that were given.
    ///
    /// # Errors
    /// Where a user name and password are not separated, or a secret cannot be read.
    pub(super) fn into_members(self) -> Result<Map<String, Value>, ClientError> {
        let mut body = Map::new();
        let mut put =
            |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
        put("name", self.name.map(Value::String));
        put("profile", self.profile.map(Value::String));
        put("secret", self.secret.map(SecretArgument::resolve).transpose()?.map(Value::String));
        put("headers", header_object(self.headers));
        put("rate_limit_per_second", self.rate_limit.map(Value::from));
        put("max_in_flight", self.max_in_flight.map(Value::from));
        put("schema_major", self.schema_major.map(Value::from));
        let milliseconds =
            |span: Span| Value::from(u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX));
        put("timeout_ms", self.timeout.map(milliseconds));
        put("provider", self.provider.map(Value::String));
        put("filter", self.filter.as_deref().map(json_text).transpose()?);
        put("template", self.template.as_deref().map(json_text).transpose()?);
        put("template_typed", self.template_typed.map(Value::Bool));
        put("description", self.description.map(Value::String));
        if !self.metadata.is_empty() {
            let members = self.metadata.into_iter().map(|entry| (entry.name, Value::String(entry.value)));
            put("metadata", Some(Value::Object(members.collect())));
        }
        if let Some(token) = self.auth_bearer {
            extend(&mut body, json!({"auth_type": "bearer", "auth_token": token.resolve()?}));
        }
        if let Some(pair) = self.auth_basic {
            let separated = pair.split_once(':');
            let (user, password) = separated
                .ok_or_else(|| ClientError::Usage("--auth-basic must be USER:PASSWORD".to_owned()))?;
            let password = resolve(password)?;
            extend(
                &mut body,
                json!({"auth_type": "basic", "auth_username": user, "auth_password": password}),
            );
        }
        if let Some(HeaderArgument { name, value }) = self.auth_api_key {
            let value = resolve(&value)?;
            extend(
                &mut body,
                json!({"auth_type": "api_key", "api_key_header": name, "api_key_value": value}),
            );
        }
        self.postback.put_into(&mut body)?;
        Ok(body)
    }
}

/// As a string, so that it arrives as it was written.
fn json_text(argument: &str) -> Result<Value, ClientError> {
    let text = read_text(&Source::of_data(argument))?;
    Ok(if text.trim() == "null" { Value::Null } else { Value::String(text) })
}

/// The part of an argument that is secret.
fn resolve(part: &str) -> Result<String, ClientError> {
    let Ok(secret) = part.parse::<SecretArgument>();
    Ok(secret.resolve()?)
}

fn extend(body: &mut Map<String, Value>, more: Value) {
    if let Value::Object(members) = more {
        body.extend(members);
    }
}
