//! An event against its tenant's catalogue, as far as the tenant has chosen that anybody looks.

use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::event::Versions;
use postrider_contract::ports::IntakeError;
use postrider_contract::schema::Violation;
use postrider_contract::submission::Submission;
use postrider_service::directory::TenantView;

/// # Errors
/// [`IntakeError::SchemaBroken`] where the tenant accepts no event that is not as its catalogue says.
pub(crate) fn refuse_broken(view: &TenantView, submission: &Submission) -> Result<(), IntakeError> {
    match view.tenant.schema_check {
        SchemaCheck::Off | SchemaCheck::Warn => Ok(()),
        SchemaCheck::Enforce => {
            let violations = judge(view, submission);
            if violations.is_empty() { Ok(()) } else { Err(IntakeError::SchemaBroken { violations }) }
        }
    }
}

/// What its producer is told of an event that is accepted all the same.
pub(crate) fn warnings(view: &TenantView, submission: &Submission) -> Vec<Violation> {
    match view.tenant.schema_check {
        SchemaCheck::Off | SchemaCheck::Enforce => Vec::new(),
        SchemaCheck::Warn => judge(view, submission),
    }
}

/// All that is not as the catalogue says, where the tenant has its events looked at, and whether the event is refused for
/// it.
pub(crate) fn explained(view: &TenantView, submission: &Submission) -> (Vec<Violation>, bool) {
    match view.tenant.schema_check {
        SchemaCheck::Off => (Vec::new(), false),
        SchemaCheck::Warn => (judge(view, submission), false),
        SchemaCheck::Enforce => {
            let violations = judge(view, submission);
            let is_refused = !violations.is_empty();
            (violations, is_refused)
        }
    }
}

fn judge(view: &TenantView, submission: &Submission) -> Vec<Violation> {
    view.catalogue.judge(&submission.event_type, &Versions::of(submission.schema_version, &submission.data))
}
