//! A webhook's template: read from what a request says, shown as it was written.

use postrider_contract::template::{LoneVariables, Template};
use postrider_contract::webhook::Webhook;
use postrider_service::problem::FieldErrors;
use serde_json::value::RawValue;

use super::fields::WebhookFields;
use crate::field_change::FieldChange;

const TEMPLATE: &str = "/template";

pub(super) fn apply(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    let before = after.template.take();
    let lone_variables = match (&fields.template_typed, &before) {
        (FieldChange::Keep, Some(template)) => template.lone_variables(),
        (FieldChange::Set(true), _) => LoneVariables::Typed,
        (FieldChange::Set(false) | FieldChange::Clear, _) | (FieldChange::Keep, None) => LoneVariables::Text,
    };
    after.template = match &fields.template {
        FieldChange::Keep => before.map(|template| template.with(lone_variables)),
        FieldChange::Clear => None,
        FieldChange::Set(written) => read(written, lone_variables, errors),
    };
    let is_absent = after.template.is_none() && fields.template.given().is_none();
    if is_absent && fields.template_typed.given() == Some(&true) {
        errors.add("/template_typed", "is of use only with a template");
    }
}

/// A template is given as JSON, or as a string that holds it.
fn read(written: &RawValue, lone_variables: LoneVariables, errors: &mut FieldErrors) -> Option<Template> {
    let is_string = written.get().starts_with('"');
    let in_string = if is_string {
        let unescaped = serde_json::from_str::<String>(written.get()).map_err(|_| "is not Unicode text");
        Some(errors.check(TEMPLATE, unescaped)?)
    } else {
        None
    };
    let text = in_string.as_deref().unwrap_or(written.get());
    match Template::parse(text, lone_variables) {
        Ok(template) => Some(template),
        Err(error) => {
            // In a string there are no members to point at: the detail names the place.
            let in_json = || (format!("{TEMPLATE}{}", error.pointer), error.problem.to_string());
            let (pointer, detail) =
                if is_string { (TEMPLATE.to_owned(), error.to_string()) } else { in_json() };
            errors.add(pointer, detail);
            None
        }
    }
}

/// As it was written, and whether its lone variables keep their types.
pub(super) fn shown(template: &Template) -> (Option<Box<RawValue>>, bool) {
    let typed = template.lone_variables() == LoneVariables::Typed;
    (RawValue::from_string(template.text().to_owned()).ok(), typed)
}
