//! How much the templates and filters of a tenant's webhooks may hold together: every process keeps all of them, read,
//! for as long as their webhooks are there.

use postrider_contract::webhook::Webhook;
use postrider_service::problem::FieldErrors;

use super::fields::WebhookFields;
use crate::state::ManageState;

/// Notes a change that would add too much. What does not add to it is taken, however much there is.
pub(super) fn check(
    state: &ManageState,
    fields: &WebhookFields,
    before: &Webhook,
    after: &Webhook,
    errors: &mut FieldErrors,
) {
    let own = text_length(after);
    if own <= text_length(before) {
        return;
    }
    let limit = state.parts().limits.template_bytes_per_tenant;
    let Some(view) = state.directory().tenant(&after.tenant).known() else { return };
    let others = view.webhooks.iter().filter(|entry| entry.webhook.id != after.id);
    let others: usize = others.map(|entry| text_length(&entry.webhook)).sum();
    if others + own > limit {
        let pointer = if fields.template.given().is_some() { "/template" } else { "/filter" };
        let detail = format!(
            "the templates and filters of a tenant's webhooks may have {limit} bytes together; this one's would have \
             {own}, those of the others have {others}"
        );
        errors.add(pointer, detail);
    }
}

fn text_length(webhook: &Webhook) -> usize {
    let template = webhook.template.as_ref().map_or(0, |template| template.text().len());
    let filter = webhook.filter.as_ref().map_or(0, |filter| filter.to_string().len());
    template + filter
}
