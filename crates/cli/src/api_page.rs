//! `/docs`: the API's description, for a person. One page and one script of our own, nothing from elsewhere.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName};

pub const HEADERS: [(HeaderName, &str); 1] = [(
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'",
)];

pub const PAGE: &str = include_str!("api_page/page.html");
pub const SCRIPT: &str = include_str!("api_page/page.js");
