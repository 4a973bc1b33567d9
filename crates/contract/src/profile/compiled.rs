//! A profile that was checked as a whole, with what deliveries ask of it worked out beforehand.

use std::time::Duration;

use super::signing_check::check_signing;
use super::{
    EnvelopeRule, InvalidProfile, ParameterName, Profile, ProfileName, ProfileOverride, RequestRule,
    SignatureRule, Weakness,
};
use crate::pattern::Pattern;
use crate::rendering::{EnvelopeVariable, check_envelope};
use crate::retry::{MAX_WAIT, MIN_WAIT, RetryRule, RetrySchedule};
use crate::webhook::MAX_TIME_LIMIT;

/// The shortest total time limit in which an ordinary receiver can answer at all.
const MIN_TIME_LIMIT: Duration = Duration::from_millis(100);
/// Together with the signature well below the 8 KiB of headers that common servers accept.
pub(super) const MAX_HEADERS: usize = 32;
pub(super) const MAX_RESERVED: usize = 64;
/// Of one member's name; far above any in use.
pub(super) const MAX_RESERVED_NAME: usize = 256;
/// Names and literal parts of the profile's headers together: half of what common servers accept, the rest is the
/// signature's, the webhook's own and HTTP's.
pub(super) const MAX_HEADER_BYTES: usize = 4 * 1024;
/// As for webhooks.
pub(super) const MAX_DESCRIPTION: usize = 1_000;

/// A [`Profile`] that holds together. Only [`Profile::compile`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledProfile {
    definition: Profile,
    literal_length: usize,
    body_depends_on_webhook: bool,
}

impl CompiledProfile {
    #[must_use]
    pub fn name(&self) -> &ProfileName {
        &self.definition.name
    }

    /// The profile as it was written.
    #[must_use]
    pub fn definition(&self) -> &Profile {
        &self.definition
    }

    /// Whether two webhooks with this profile may get different bodies for one event. If not, they share one.
    #[must_use]
    pub fn body_depends_on_webhook(&self) -> bool {
        self.body_depends_on_webhook
    }

    /// How many bytes of every body are the envelope's own.
    #[must_use]
    pub fn literal_length(&self) -> usize {
        self.literal_length
    }

    /// Whether a header is this profile's, so that a webhook may not set it: its own headers, the signature's,
    /// content type and user agent.
    #[must_use]
    pub fn owns_header(&self, name: &str) -> bool {
        let is_signature = |rule: &SignatureRule| rule.header.as_ref().is_some_and(|header| header.is(name));
        name.eq_ignore_ascii_case("content-type")
            || name.eq_ignore_ascii_case("user-agent")
            || self.definition.request.headers.iter().any(|header| header.name.is(name))
            || self.definition.signature.as_ref().is_some_and(is_signature)
    }

    /// The same for a webhook that may have chosen where its signature stands.
    #[must_use]
    pub fn sets_header(&self, name: &str, overrides: &ProfileOverride) -> bool {
        let chosen = overrides.signature_header.as_ref();
        self.owns_header(name) || chosen.is_some_and(|header| header.is(name))
    }

    /// Whether its requests hold JSON and say no more of it than that: what a body of a webhook's own form is.
    #[must_use]
    pub fn sends_plain_json(&self) -> bool {
        let content_type = &self.definition.request.content_type;
        let literal: String = content_type.literals().collect();
        let media_type = literal.split(';').next().unwrap_or_default().trim();
        content_type.variables().next().is_none() && media_type.eq_ignore_ascii_case("application/json")
    }

    /// Whether an old secret can go on signing beside a new one: receivers read several signatures.
    #[must_use]
    pub fn signs_with_several(&self) -> bool {
        self.definition.signature.as_ref().is_some_and(|rule| rule.separator.is_some())
    }

    /// The parameter that is put behind the query of every signed request.
    #[must_use]
    pub fn signature_parameter(&self) -> Option<&ParameterName> {
        self.definition.signature.as_ref().and_then(|rule| rule.query_parameter.as_ref())
    }

    /// The parameters whose values are signed: every URL must have each of them once.
    #[must_use]
    pub fn signed_parameters(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for variable in self.definition.signature.iter().flat_map(|rule| rule.signs.variables()) {
            let name = variable.parameter().map(|parameter| parameter.name().to_owned());
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names
    }

    /// What makes its signature protect less than it could.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<Weakness> {
        self.definition.signature.as_ref().map(SignatureRule::weaknesses).unwrap_or_default()
    }

    /// The total time limit of one try.
    #[must_use]
    pub fn time_limit(&self, overrides: &ProfileOverride) -> Duration {
        let limit = overrides.time_limit.unwrap_or(self.definition.request.time_limit.duration());
        limit.clamp(MIN_TIME_LIMIT, MAX_TIME_LIMIT)
    }

    /// Checks what a webhook asks for differently.
    ///
    /// # Errors
    /// When a wait or the time limit is out of bounds, or the signature's header may not be chosen here.
    pub fn check_override(&self, overrides: &ProfileOverride) -> Result<(), InvalidProfile> {
        if let Some(waits) = &overrides.waits {
            RetrySchedule::new(waits.clone()).map_err(|error| InvalidProfile::at("waits", error))?;
        }
        if let Some(limit) = overrides.time_limit {
            check_time_limit("time_limit", limit)?;
        }
        let Some(header) = &overrides.signature_header else { return Ok(()) };
        let is_configurable = |rule: &SignatureRule| rule.header_configurable;
        if !self.definition.signature.as_ref().is_some_and(is_configurable) {
            return Err(InvalidProfile::at("signature_header", "cannot be chosen in this profile"));
        }
        let is_own =
            self.definition.signature.as_ref().is_some_and(|rule| rule.header.as_ref() == Some(header));
        if self.owns_header(header.as_str()) && !is_own {
            return Err(InvalidProfile::at(
                "signature_header",
                format!("{header} is a header of the profile"),
            ));
        }
        Ok(())
    }
}

impl Profile {
    /// Checks what no single value shows.
    ///
    /// # Errors
    /// The first thing that does not hold together, with its place.
    pub fn compile(self) -> Result<CompiledProfile, InvalidProfile> {
        check_identity(&self)?;
        check_request(&self.request)?;
        check_reserved(&self.envelope)?;
        check_envelope(&self.envelope).map_err(|detail| InvalidProfile::at("envelope.body", detail))?;
        check_signing(&self)?;
        if self.answers.success.is_empty() {
            return Err(InvalidProfile::at("answers.success", "must not be empty"));
        }
        for (path, set) in
            [("answers.permanent", &self.answers.permanent), ("answers.disabling", &self.answers.disabling)]
        {
            if let Some(status) = self.answers.success.overlap(set) {
                return Err(InvalidProfile::at(path, format!("{status} is a success too")));
            }
        }
        check_retry(&self.retry)?;
        let body = &self.envelope.body;
        let literal_length = body.literals().map(str::len).sum();
        let body_depends_on_webhook = body.variables().any(EnvelopeVariable::depends_on_webhook);
        Ok(CompiledProfile { definition: self, literal_length, body_depends_on_webhook })
    }
}

fn check_identity(profile: &Profile) -> Result<(), InvalidProfile> {
    if profile.name.is_none() {
        return Err(InvalidProfile::at("name", "is missing"));
    }
    let is_layout = |character: char| matches!(character, '\n' | '\r' | '\t');
    let is_text = |character: char| !character.is_control() || is_layout(character);
    if profile.description.chars().count() > MAX_DESCRIPTION || !profile.description.chars().all(is_text) {
        let detail = format!("must be at most {MAX_DESCRIPTION} characters without control characters");
        return Err(InvalidProfile::at("description", detail));
    }
    Ok(())
}

fn check_time_limit(path: &str, limit: Duration) -> Result<(), InvalidProfile> {
    if (MIN_TIME_LIMIT..=MAX_TIME_LIMIT).contains(&limit) {
        return Ok(());
    }
    Err(InvalidProfile::at(path, format!("must be between {MIN_TIME_LIMIT:?} and {MAX_TIME_LIMIT:?}")))
}

/// Header values are written as they are, so what is literal in them must be printable ASCII.
pub(super) fn check_header_text<'a>(
    path: &str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<(), InvalidProfile> {
    for text in texts {
        if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(InvalidProfile::at(path, "may hold printable ASCII only"));
        }
    }
    Ok(())
}

fn check_request(request: &RequestRule) -> Result<(), InvalidProfile> {
    check_time_limit("request.time_limit", request.time_limit.duration())?;
    check_header_text("request.content_type", request.content_type.literals())?;
    check_header_text("request.user_agent", request.user_agent.literals())?;
    if request.headers.len() > MAX_HEADERS {
        return Err(InvalidProfile::at("request.headers", format!("must be at most {MAX_HEADERS}")));
    }
    let fields = [&request.content_type, &request.user_agent].into_iter();
    let literals =
        fields.chain(request.headers.iter().map(|header| &header.value)).flat_map(Pattern::literals);
    let names = request.headers.iter().map(|header| header.name.as_str());
    if literals.chain(names).map(str::len).sum::<usize>() > MAX_HEADER_BYTES {
        let detail = format!("must have at most {MAX_HEADER_BYTES} bytes together");
        return Err(InvalidProfile::at("request.headers", detail));
    }
    for (index, header) in request.headers.iter().enumerate() {
        let path = format!("request.headers[{index}]");
        if header.name.is("content-type") || header.name.is("user-agent") {
            return Err(InvalidProfile::at(path, format!("{} has a field of its own", header.name)));
        }
        if request.headers[..index].iter().any(|earlier| earlier.name == header.name) {
            return Err(InvalidProfile::at(path, format!("{} is there twice", header.name)));
        }
        check_header_text(&path, header.value.literals())?;
    }
    Ok(())
}

fn check_reserved(envelope: &EnvelopeRule) -> Result<(), InvalidProfile> {
    let reserved = &envelope.reserved_data_members;
    if reserved.len() > MAX_RESERVED {
        let detail = format!("must name at most {MAX_RESERVED} members");
        return Err(InvalidProfile::at("envelope.reserved_data_members", detail));
    }
    if reserved.iter().any(|name| name.len() > MAX_RESERVED_NAME) {
        let detail = format!("must name members of at most {MAX_RESERVED_NAME} bytes");
        return Err(InvalidProfile::at("envelope.reserved_data_members", detail));
    }
    if !reserved.is_empty() && !envelope.body.uses(EnvelopeVariable::EventDataMembers) {
        let detail = "are of use only where the body holds ${event.data.members}";
        return Err(InvalidProfile::at("envelope.reserved_data_members", detail));
    }
    Ok(())
}

fn check_retry(rule: &RetryRule) -> Result<(), InvalidProfile> {
    let Some(retry_after) = &rule.retry_after else { return Ok(()) };
    let (minimum, maximum) = (retry_after.minimum.duration(), retry_after.maximum.duration());
    if minimum < MIN_WAIT || maximum > MAX_WAIT || minimum > maximum {
        let detail = "minimum and maximum must be between 100ms and 24h, in that order";
        return Err(InvalidProfile::at("retry.retry_after.minimum", detail));
    }
    Ok(())
}
