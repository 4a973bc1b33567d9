//! A webhook's filter: read from what a request says, as JSON or as a string that holds it.

use postrider_contract::filter::{Filter, InvalidFilter};
use postrider_contract::webhook::Webhook;
use postrider_service::problem::FieldErrors;
use serde_json::value::RawValue;

use super::fields::WebhookFields;
use crate::field_change::FieldChange;

const FILTER: &str = "/filter";

pub(super) fn apply(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.filter {
        FieldChange::Keep => {}
        FieldChange::Clear => after.filter = None,
        FieldChange::Set(written) => after.filter = read(written, errors),
    }
}

fn read(written: &RawValue, errors: &mut FieldErrors) -> Option<Filter> {
    if !written.get().starts_with('"') {
        let noted =
            |error: &InvalidFilter| errors.add(format!("{FILTER}{}", error.pointer), error.detail.as_str());
        return Filter::parse(written.get()).inspect_err(noted).ok();
    }
    let text = serde_json::from_str::<String>(written.get()).map_err(|_| "is not Unicode text");
    let text = errors.check(FILTER, text)?;
    // In a string there are no members to point at: the detail names the place.
    let place = |error: InvalidFilter| match error.pointer.as_str() {
        "" => error.detail,
        place => format!("{} (at {place})", error.detail),
    };
    errors.check(FILTER, Filter::parse(&text).map_err(place))
}
