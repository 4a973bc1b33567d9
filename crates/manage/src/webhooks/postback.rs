//! What a request says about a postback: its method, its form, what counts as success, and the macros in all of it; and
//! what it may not say.

use postrider_contract::postback::{MAX_ANSWER_TEXT, PostbackMethod, SuccessRule, check_form, check_url};
use postrider_contract::profile::StatusSet;
use postrider_contract::webhook::{Webhook, WebhookKind};
use postrider_service::problem::FieldErrors;

use super::fields::{SuccessFields, WebhookFields};
use crate::field_change::FieldChange;

/// Applies what is for postbacks alone; of any other webhook it is refused.
pub(super) fn apply(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match after.kind {
        WebhookKind::Webhook => refuse_given(fields, errors),
        WebhookKind::Postback => {
            apply_method(fields, after, errors);
            apply_form(fields, after, errors);
            apply_success(fields, after, errors);
            refuse_template(fields, errors);
            if let Some(url) = fields.url.given() {
                errors.check("/url", check_url(url));
            }
        }
    }
}

fn refuse_given(fields: &WebhookFields, errors: &mut FieldErrors) {
    let given = [
        ("/method", fields.method.given().is_some()),
        ("/form", fields.form.given().is_some()),
        ("/success", fields.success.given().is_some()),
    ];
    for (pointer, _) in given.iter().filter(|(_, is_given)| *is_given) {
        errors.add(*pointer, "is for webhooks of the kind postback; the profile decides for this one");
    }
}

/// It has no JSON body for one to shape.
fn refuse_template(fields: &WebhookFields, errors: &mut FieldErrors) {
    let given = [
        ("/template", fields.template.given().is_some()),
        ("/template_typed", fields.template_typed.given() == Some(&true)),
    ];
    for (pointer, _) in given.iter().filter(|(_, is_given)| *is_given) {
        errors.add(*pointer, "is for webhooks of the kind webhook; a postback says what it sends by the macros of its url and form");
    }
}

fn apply_method(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.method {
        FieldChange::Keep => {}
        FieldChange::Clear => after.postback.method = PostbackMethod::default(),
        FieldChange::Set(text) => match text.as_str() {
            "GET" => after.postback.method = PostbackMethod::Get,
            "POST" => after.postback.method = PostbackMethod::Post,
            _ => errors.add("/method", "must be GET or POST"),
        },
    }
}

fn apply_form(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.form {
        FieldChange::Keep => {}
        FieldChange::Clear => after.postback.form = None,
        FieldChange::Set(text) => {
            errors.check("/form", check_form(text));
            after.postback.form = Some(text.clone());
        }
    }
    if after.postback.form.is_some() && after.postback.method == PostbackMethod::Get {
        errors.add("/form", "a GET has no body; set method to POST, or form to null");
    }
}

fn apply_success(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.success {
        FieldChange::Keep => {}
        FieldChange::Clear => after.postback.success = None,
        FieldChange::Set(rule) => after.postback.success = read_success(rule, errors),
    }
}

fn read_success(rule: &SuccessFields, errors: &mut FieldErrors) -> Option<SuccessRule> {
    let texts = rule.statuses.iter().map(String::as_str);
    let statuses = errors.check("/success/statuses", StatusSet::parse(texts))?;
    if statuses.is_empty() {
        errors.add("/success/statuses", "must not be empty");
    }
    if let Some(text) = &rule.body_contains
        && !(1..=MAX_ANSWER_TEXT).contains(&text.len())
    {
        errors.add("/success/body_contains", format!("must be 1 to {MAX_ANSWER_TEXT} bytes long"));
    }
    Some(SuccessRule { statuses, body_contains: rule.body_contains.clone() })
}
