//! What can go wrong before the engine runs, and how the client library's errors are read.
//!
//! Errors are told apart by AMQP's reply codes, never by their text; the broker's text is passed on, because it
//! names the object and the argument.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use postrider_contract::ports::QueueError;

use crate::version::Version;

/// Why the engine did not start. Each is one line that says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the broker's URL is not valid: {reason}")]
    InvalidUrl { reason: String },
    #[error("cannot reach RabbitMQ at {address}: {reason}; is it running, and is the address right?")]
    Unreachable { address: String, reason: String },
    #[error("the broker at {address} refuses user {user:?}: check the name and password in its URL")]
    AccessRefused { address: String, user: String },
    #[error("the broker at {address} does not let user {user:?} into virtual host {vhost:?}: {reason}")]
    VhostRefused { address: String, user: String, vhost: String, reason: String },
    #[error("the broker at {address} is RabbitMQ {found}; at least {needed} is needed")]
    TooOld { address: String, found: Version, needed: Version },
    /// An object of ours exists with other arguments, or may not be declared.
    #[error("the broker's objects are not as expected: {reason}")]
    Mismatch { reason: String },
    #[error(
        "the certificate of the broker at {address} is not to be trusted: {reason}; name the file of the authority \
         that signed it in engine.ca_file"
    )]
    Untrusted { address: String, reason: String },
    #[error(
        "the certificate of the broker at {address} is for another name: {reason}; use a name of the certificate in \
         engine.queue"
    )]
    OtherName { address: String, reason: String },
    #[error("the broker at {address} did not do its part: {reason}")]
    Failed { address: String, reason: String },
}

/// What a broker's refusal means to whoever caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403: the password, or a missing right.
    Access,
    /// 404: a queue or exchange is not there.
    NotFound,
    /// 406: it exists with other arguments.
    Precondition,
    /// 530: above all a virtual host that is missing or closed to this user.
    NotAllowed,
    /// 541: the broker stumbled over this very question, and closes the connection for it.
    Internal,
    /// Anything else the broker said.
    Other,
}

/// The broker's own refusal in an error, with its text; `None` if the error is of another kind.
pub(crate) fn read_refusal(error: &lapin::Error) -> Option<(Refusal, String)> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    let kind = error.kind();
    let refusal = if *kind == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) {
        Refusal::Access
    } else if *kind == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) {
        Refusal::NotFound
    } else if *kind == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) {
        Refusal::Precondition
    } else if *kind == AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) {
        Refusal::NotAllowed
    } else if *kind == AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR) {
        Refusal::Internal
    } else {
        Refusal::Other
    };
    Some((refusal, error.get_message().to_string()))
}

/// Why the certificate of the broker was refused.
pub(crate) enum CertificateProblem {
    OtherName(String),
    /// Unknown authority, expired, revoked, or otherwise no proof.
    Untrusted(String),
}

/// The refusal of a certificate in an error, if that is what it is.
pub(crate) fn read_certificate_problem(error: &lapin::Error) -> Option<CertificateProblem> {
    let ErrorKind::IOError(error) = error.kind() else {
        return None;
    };
    let Some(rustls::Error::InvalidCertificate(problem)) = find_tls_error(error) else {
        return None;
    };
    let is_other_name = matches!(
        problem,
        rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. }
    );
    let reason = problem.to_string();
    Some(if is_other_name {
        CertificateProblem::OtherName(reason)
    } else {
        CertificateProblem::Untrusted(reason)
    })
}

/// However deep it is wrapped: an IO error may hold another one.
fn find_tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| find_tls_error(inner.downcast_ref()?))
}

/// Why an object of ours could not be declared or looked at.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TopologyError {
    /// It is there with other arguments, or we may not touch it: will not mend itself.
    #[error("{0}")]
    Mismatch(String),
    #[error("{0}")]
    Missing(String),
    /// The connection or the broker failed meanwhile.
    #[error("{0}")]
    Failed(String),
    /// The broker stumbled over it and closed the connection: it would again.
    #[error("{0}")]
    Stumbled(String),
    /// It may have been done or not.
    #[error("the broker did not answer within {0:?}")]
    NoAnswer(Duration),
}

impl From<lapin::Error> for TopologyError {
    fn from(error: lapin::Error) -> Self {
        match read_refusal(&error) {
            Some((Refusal::Access | Refusal::Precondition | Refusal::NotAllowed, text)) => {
                TopologyError::Mismatch(text)
            }
            Some((Refusal::NotFound, text)) => TopologyError::Missing(text),
            Some((Refusal::Internal, text)) => TopologyError::Stumbled(text),
            Some((Refusal::Other, text)) => TopologyError::Failed(text),
            None => TopologyError::Failed(error.to_string()),
        }
    }
}

impl From<TopologyError> for QueueError {
    fn from(error: TopologyError) -> Self {
        match error {
            TopologyError::Mismatch(reason) => QueueError::Mismatch { reason },
            TopologyError::Missing(reason) => {
                QueueError::Mismatch { reason: format!("{reason}; `postrider topology declare` makes it") }
            }
            error @ (TopologyError::Failed(_) | TopologyError::Stumbled(_) | TopologyError::NoAnswer(_)) => {
                QueueError::Unavailable { reason: error.to_string() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn refused(kind: impl Into<AMQPErrorKind>) -> TopologyError {
        lapin::Error::from(ErrorKind::ProtocolError(AMQPError::new(kind.into(), "said by the broker".into())))
            .into()
    }

    #[test]
    fn a_queue_that_is_missing_is_named_with_what_makes_it() {
        let error = QueueError::from(refused(AMQPSoftError::NOTFOUND)).to_string();
        assert!(
            error.contains("said by the broker") && error.contains("postrider topology declare"),
            "{error}"
        );
    }

    #[test]
    fn what_the_broker_stumbles_over_is_told_from_a_connection_that_broke() {
        assert!(matches!(refused(AMQPHardError::INTERNALERROR), TopologyError::Stumbled(_)));
        assert!(matches!(refused(AMQPHardError::CONNECTIONFORCED), TopologyError::Failed(_)));
    }
}
