//! Failures of a call, and what each says to the operator. Nothing here names an address: a webhook's owner reads
//! it, and must not learn from it what our network looks like inside.

use std::error::Error;
use std::io;

use postrider_contract::attempt::FailureClass;
use postrider_contract::egress::RefusedAddress;

/// Why a call ended without a response.
#[derive(Debug)]
pub enum CallFailure {
    /// The try was made and failed: it counts.
    Counted { class: FailureClass, detail: String },
    /// We lacked something, so no try was made: it does not count.
    NotMade(LocalShortage),
}

/// What this process or machine ran out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocalShortage {
    /// Files, ports or buffers.
    #[error("no socket could be opened here: {0}")]
    Sockets(io::ErrorKind),
    /// The bound on look-ups at once; this one did not get its turn.
    #[error("too many names are being looked up at once")]
    Lookups,
}

impl CallFailure {
    pub fn counted(class: FailureClass, detail: impl Into<String>) -> Self {
        CallFailure::Counted { class, detail: detail.into() }
    }

    pub fn blocked() -> Self {
        Self::counted(FailureClass::Blocked, RefusedAddress::CUSTOMER_TEXT)
    }

    /// A connection that was not made.
    pub fn of_connect(error: &io::Error) -> Self {
        Self::of_shortage(error)
            .unwrap_or_else(|| Self::counted(FailureClass::Connect, error.kind().to_string()))
    }

    /// A name that gave no addresses.
    pub fn of_lookup(error: &io::Error) -> Self {
        Self::of_shortage(error)
            .unwrap_or_else(|| Self::counted(FailureClass::Dns, "the name does not resolve"))
    }

    fn of_shortage(error: &io::Error) -> Option<Self> {
        let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
        let is_ours = error.raw_os_error().is_some_and(|code| shortages.contains(&code));
        is_ours.then(|| CallFailure::NotMade(LocalShortage::Sockets(error.kind())))
    }

    /// A TLS handshake that failed.
    pub fn of_handshake(error: &io::Error) -> Self {
        let detail = tls_cause(error).map_or_else(
            || format!("the connection ended during the handshake: {}", error.kind()),
            ToString::to_string,
        );
        Self::counted(FailureClass::Tls, detail)
    }

    /// A request that got no response head.
    pub fn of_exchange(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::counted(
                FailureClass::Protocol,
                "the response's head is larger than 64 KiB or 100 headers",
            );
        }
        if error.is_parse() {
            return Self::counted(FailureClass::Protocol, "the response is not HTTP/1.1");
        }
        if error.is_user() {
            return Self::counted(FailureClass::Protocol, "the request cannot be written as HTTP/1.1");
        }
        let cause = io_cause(error);
        if let Some(tls) = cause.and_then(tls_cause) {
            // With TLS 1.3 a receiver refuses us (a missing client certificate, say) after our handshake is done.
            return Self::counted(FailureClass::Tls, tls.to_string());
        }
        let detail = cause.map_or_else(
            || "the connection was closed before a response".to_owned(),
            |cause| format!("the connection was closed before a response: {}", cause.kind()),
        );
        Self::counted(FailureClass::Closed, detail)
    }
}

fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io);
        }
        source = cause.source();
    }
    None
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}
