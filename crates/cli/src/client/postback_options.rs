//! The options of a postback, and the JSON that they stand for.

use serde_json::{Map, Value, json};

use super::error::ClientError;
use super::input::{Source, read_text};

/// What a webhook of the kind postback may be given, when it is registered and later.
#[derive(clap::Args)]
#[command(next_help_heading = "Postbacks")]
pub struct PostbackSettings {
    /// GET (which it is if never given) or POST
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// With --method POST: a form-encoded body with macros, such as 'cid={click_id}&id={event.id}', @file, or @- for
    /// standard input; null removes it
    #[arg(long, value_name = "TEXT|@FILE")]
    form: Option<String>,
    /// An answer that means it has arrived: 200, 2xx, 300-302; may be repeated. If never given, the profile says; null goes
    /// back to that
    #[arg(long = "success-status", value_name = "STATUS")]
    success_statuses: Vec<String>,
    /// A text that such an answer's body must hold too, letter for letter
    #[arg(long, value_name = "TEXT", requires = "success_statuses")]
    success_body: Option<String>,
}

impl PostbackSettings {
    /// The members of the request's body, those that were given.
    ///
    /// # Errors
    /// Where the form cannot be read.
    pub(super) fn put_into(self, body: &mut Map<String, Value>) -> Result<(), ClientError> {
        let mut put =
            |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
        put("method", self.method.map(|method| Value::String(method.to_uppercase())));
        put("form", self.form.as_deref().map(form).transpose()?);
        put("success", success(self.success_statuses, self.success_body));
        Ok(())
    }
}

/// A file ends with a line end, which no form can hold.
fn form(argument: &str) -> Result<Value, ClientError> {
    let text = read_text(&Source::of_data(argument))?;
    let text = text.trim_end_matches(['\r', '\n']);
    Ok(if text.trim() == "null" { Value::Null } else { Value::from(text) })
}

fn success(statuses: Vec<String>, body: Option<String>) -> Option<Value> {
    match statuses.as_slice() {
        [] => None,
        [only] if only == "null" && body.is_none() => Some(Value::Null),
        statuses => Some(match body {
            Some(text) => json!({"statuses": statuses, "body_contains": text}),
            None => json!({"statuses": statuses}),
        }),
    }
}
