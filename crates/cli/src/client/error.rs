//! What can go wrong with a client command, said so that the reader knows what to do; and its exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::capture::CaptureError;
use crate::profile_argument::ProfileArgumentError;
use crate::secret_argument::SecretArgumentError;
use crate::table::printable;

/// The server refused, or what was asked for did not come out well.
const EXIT_REFUSED: u8 = 1;
/// The command cannot be carried out as it was given. The same code as for unknown options.
const EXIT_USAGE: u8 = 2;
/// Nothing answers where the server should be, or not in time.
const EXIT_NOT_REACHABLE: u8 = 3;

/// Why a client command ends without success.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An option or a file is not usable; nothing was sent.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Secret(#[from] SecretArgumentError),
    /// A profile's file cannot be had, or is not a profile: nothing was sent.
    #[error(transparent)]
    Profile(#[from] ProfileArgumentError),
    /// None that is known without a server, and no server says whether it knows it.
    #[error(
        "there is no built-in profile {name:?} (there are {known}), and no server to ask for one of its own"
    )]
    UnknownProfile { name: String, known: String, source: Box<ClientError> },
    /// There are no captured requests to compare with.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error("{what} ({path})")]
    File { what: &'static str, path: String, source: io::Error },
    #[error(
        "cannot reach {url} ({reason}): is `postrider serve` running there? set --server or POSTRIDER_URL to where it listens"
    )]
    NotReachable { url: String, reason: String },
    #[error("no whole answer from {url} within {} s: is the server overloaded, or is --server (POSTRIDER_URL) something else", .limit.as_secs())]
    TimedOut { url: String, limit: Duration },
    #[error(
        "what answers at {url} does not speak as Postrider does ({reason}): set --server or POSTRIDER_URL to where `postrider serve` listens"
    )]
    NotPostrider { url: String, reason: String },
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The command did what it was to do, and found something that is not as it should be.
    #[error("{0}")]
    NotWell(String),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Output(error)
    }
}

impl ClientError {
    fn exit_code(&self) -> u8 {
        match self {
            ClientError::Refused(_)
            | ClientError::NotWell(_)
            | ClientError::Profile(ProfileArgumentError::Invalid { .. })
            | ClientError::Output(_) => EXIT_REFUSED,
            ClientError::Profile(
                ProfileArgumentError::Unreadable { .. }
                | ProfileArgumentError::TooLarge { .. }
                | ProfileArgumentError::NotText { .. }
                | ProfileArgumentError::NotBuiltIn { .. },
            ) => EXIT_USAGE,
            ClientError::Usage(_)
            | ClientError::Secret(_)
            | ClientError::Capture(_)
            | ClientError::File { .. } => EXIT_USAGE,
            ClientError::NotReachable { .. }
            | ClientError::UnknownProfile { .. }
            | ClientError::TimedOut { .. }
            | ClientError::NotPostrider { .. } => EXIT_NOT_REACHABLE,
        }
    }

    /// Whoever read the output has seen enough: `… | head` is not a failure.
    fn is_reader_gone(&self) -> bool {
        matches!(self, ClientError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused(refusal) if refusal.status == StatusCode::NOT_FOUND)
    }

    /// Nothing answers at the moment; the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            ClientError::NotReachable { .. } | ClientError::TimedOut { .. } => true,
            ClientError::Refused(refusal) => {
                refusal.status.is_server_error() || refusal.status == StatusCode::TOO_MANY_REQUESTS
            }
            ClientError::Usage(_)
            | ClientError::Secret(_)
            | ClientError::Profile(_)
            | ClientError::UnknownProfile { .. }
            | ClientError::Capture(_)
            | ClientError::File { .. }
            | ClientError::NotPostrider { .. }
            | ClientError::NotWell(_)
            | ClientError::Output(_) => false,
        }
    }
}

/// How a command that ended with `error` ends the process: 1 where the server refused or something is not well,
/// 2 where the command cannot be carried out as given, 3 where the server cannot be reached; 0 where the reader of
/// the output left. With it, what goes to standard error: nothing in the last case.
#[must_use]
pub fn verdict(error: &anyhow::Error) -> (ExitCode, Option<String>) {
    match error.downcast_ref::<ClientError>() {
        Some(known) if known.is_reader_gone() => (ExitCode::SUCCESS, None),
        Some(known) => (ExitCode::from(known.exit_code()), Some(format!("error: {error:#}"))),
        None => (ExitCode::from(EXIT_REFUSED), Some(format!("error: {error:#}"))),
    }
}

/// A problem (RFC 9457) that the server answered with.
#[derive(Debug)]
pub struct Refusal {
    pub(super) status: StatusCode,
    problem: Problem,
    retry_after: Option<String>,
    credentials: Credentials,
}

/// What was sent to say who calls: decides what to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) has_key: bool,
    pub(super) has_tenant: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) code: String,
    pub(super) errors: Vec<FieldProblem>,
    pub(super) request_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldProblem {
    pub(super) pointer: String,
    pub(super) detail: String,
}

impl Refusal {
    /// `None` where the body is not a problem, so that something else than Postrider answered.
    pub(super) fn read(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<String>,
        credentials: Credentials,
    ) -> Option<Self> {
        let problem: Problem = serde_json::from_slice(body).ok()?;
        if problem.code.is_empty() {
            return None;
        }
        Some(Refusal { status, problem, retry_after, credentials })
    }

    /// What to do about it, where we know more than the server says.
    fn advice(&self) -> Option<String> {
        let Credentials { has_key, has_tenant } = self.credentials;
        match self.status {
            StatusCode::UNAUTHORIZED if !has_key => {
                Some("no key was given: set POSTRIDER_KEY (or --key) to the admin key or a tenant's key".to_owned())
            }
            StatusCode::UNAUTHORIZED => {
                Some("the key in POSTRIDER_KEY (or --key) is mistyped, expired, revoked, or of another installation".to_owned())
            }
            StatusCode::FORBIDDEN => {
                Some("use the admin key, or a key made with that scope (postrider keys create --scopes …)".to_owned())
            }
            StatusCode::BAD_REQUEST if !has_tenant && self.problem.code == "bad_request" => {
                Some("with the admin key, say for which tenant: --tenant or POSTRIDER_TENANT".to_owned())
            }
            StatusCode::NOT_FOUND => {
                let tenant = if has_tenant { ", and --tenant (POSTRIDER_TENANT)" } else { "" };
                Some(format!("check the id, whether it was deleted, whose key POSTRIDER_KEY is{tenant}"))
            }
            _ => self.retry_after.as_ref().map(|seconds| format!("try again in {} s", printable(seconds))),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, detail, code, errors, request_id } = &self.problem;
        write!(f, "{} ({} {})", printable(&title.to_lowercase()), self.status.as_u16(), printable(code))?;
        if errors.is_empty() && !detail.is_empty() {
            write!(f, ": {}", printable(detail))?;
        }
        for FieldProblem { pointer, detail } in errors {
            let place = if pointer.is_empty() { "the request" } else { pointer.as_str() };
            write!(f, "\n  {}: {}", printable(place), printable(detail))?;
        }
        if let Some(advice) = self.advice() {
            write!(f, "\n  {advice}")?;
        }
        if let Some(request_id) = request_id {
            write!(f, "\n  the server's log has the cause under request id {}", printable(request_id))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str, credentials: Credentials) -> String {
        let status = StatusCode::from_u16(status).expect("a status");
        let refusal = Refusal::read(status, body.as_bytes(), Some("2".to_owned()), credentials);
        refusal.expect("a problem").to_string()
    }

    const NOBODY: Credentials = Credentials { has_key: false, has_tenant: false };
    const SOMEBODY: Credentials = Credentials { has_key: true, has_tenant: true };

    #[test]
    fn every_field_that_was_refused_is_named() {
        let body = r#"{"title":"Invalid request","status":422,"detail":"/url: must be https","code":"invalid_request",
            "errors":[{"pointer":"/url","detail":"must be https"},{"pointer":"/events/0","detail":"no such type"}]}"#;
        let text = refusal(422, body, SOMEBODY);
        assert!(text.starts_with(
            "invalid request (422 invalid_request)\n  /url: must be https\n  /events/0: no such type"
        ));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let body = r#"{"title":"Unauthorized","detail":"a valid key is needed","code":"unauthorized"}"#;
        assert!(refusal(401, body, NOBODY).contains("set POSTRIDER_KEY"));
        assert!(refusal(401, body, SOMEBODY).contains("expired, revoked"));
        assert!(refusal(404, body, SOMEBODY).contains("--tenant"));
        let body =
            r#"{"title":"Bad request","detail":"the admin key must name the tenant","code":"bad_request"}"#;
        assert!(refusal(400, body, NOBODY).contains("say for which tenant"));
        assert!(refusal(503, body, SOMEBODY).contains("try again in 2 s"));
    }

    #[test]
    fn what_is_not_a_problem_is_not_taken_for_one() {
        for body in ["", "<html>", "{}", "[]"] {
            assert!(
                Refusal::read(StatusCode::BAD_GATEWAY, body.as_bytes(), None, NOBODY).is_none(),
                "{body}"
            );
        }
    }

    #[test]
    fn exit_codes_tell_refused_from_unusable_from_unreachable() {
        let not_reachable =
            || ClientError::NotReachable { url: "http://a".to_owned(), reason: "refused".to_owned() };
        let (name, known) = ("nobody".to_owned(), "some, others".to_owned());
        let unknown = ClientError::UnknownProfile { name, known, source: Box::new(not_reachable()) };
        for (error, code) in [
            (ClientError::NotWell("the ledger does not balance".to_owned()), 1),
            (ClientError::Usage("say which".to_owned()), 2),
            (not_reachable(), 3),
            (unknown, 3),
        ] {
            let (exit, text) = verdict(&error.into());
            assert_eq!(exit, ExitCode::from(code));
            assert!(text.is_some_and(|text| text.starts_with("error: ")));
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let file = ClientError::File { what: "cannot read", path: "nofile".to_owned(), source: missing() };
        let place = "nofile".to_owned();
        let secret = ClientError::Secret(SecretArgumentError::Unreadable { place, source: missing() });
        for error in [file, secret, ClientError::Output(missing())] {
            let (_, text) = verdict(&error.into());
            let text = text.expect("a message");
            assert_eq!(text.matches(&missing().to_string()).count(), 1, "{text}");
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let (exit, text) = verdict(&ClientError::Output(io::ErrorKind::BrokenPipe.into()).into());
        assert_eq!((exit, text), (ExitCode::SUCCESS, None));
    }
}
