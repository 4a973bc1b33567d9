//! `/docs`: the API's description, for a person. One page and one script of our own, nothing from elsewhere. Below it, the
//! page of each code that a refusal may have, which its `type` leads to.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName};

pub const HEADERS: [(HeaderName, &str); 1] = [(
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'",
)];

pub const PAGE: &str = include_str!("api_page/page.html");
pub const SCRIPT: &str = include_str!("api_page/page.js");

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        &[$(($code, include_str!(concat!("../../../docs/errors/", $code, ".md")))),*]
    };
}

const ERROR_PAGES: &[(&str, &str)] = pages![
    "bad_request",
    "conflict",
    "forbidden",
    "head_too_large",
    "idempotency_in_progress",
    "idempotency_key_reused",
    "in_doubt",
    "internal",
    "invalid_query",
    "invalid_request",
    "malformed_json",
    "method_not_allowed",
    "not_found",
    "payload_too_large",
    "precondition_failed",
    "request_timeout",
    "too_many_requests",
    "unauthorized",
    "unavailable",
    "unsupported_media_type",
    "uri_too_long",
];

/// What a code means and what to do about it, as Markdown. Pages name each other with `.md`, so that is taken too.
pub fn error_page(code: &str) -> Option<&'static str> {
    let code = code.strip_suffix(".md").unwrap_or(code);
    ERROR_PAGES.iter().find(|(name, _)| *name == code).map(|(_, page)| *page)
}

#[cfg(test)]
mod tests {
    use postrider_service::problem::Code;

    use super::*;

    #[test]
    fn every_refusal_leads_to_its_page() {
        for code in Code::ALL {
            let page = error_page(code.as_str()).expect("a page");
            assert!(page.starts_with(&format!("# {} (`{code}`", code.title())), "{code}");
        }
        assert_eq!(ERROR_PAGES.len(), Code::ALL.len());
        assert_eq!(error_page("nothing"), None);
    }
}
