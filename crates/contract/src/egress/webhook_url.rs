//! A webhook's URL: the serialised form that the URL rule accepted, stored and sent to as it is.
//!
//! Parsed once. Nothing else may parse the text again: two parsers that disagree about the host are how a
//! guard is walked around. For some receivers the path is the credential, so `Debug` masks it and there is no
//! `Display`: [`WebhookUrl::as_str`] is asked for by name, [`WebhookUrl::display_masked`] is for logs.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Position, Url};

use super::url_rule::RefusedUrl;

/// An absolute `http` or `https` URL with a host, without user info or fragment.
///
/// Made by [`UrlRule::check`](super::UrlRule::check) from a customer's text, or read back from where it was
/// stored. Deserialising is for stored and queued values: it parses, but does not judge, because an operator's
/// rule may have changed since. Request bodies take a `String` and go through the rule.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookUrl {
    url: Url,
    host: Host,
    port: u16,
}

/// The host of a [`WebhookUrl`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name: lower case, punycode, no final dot. Resolve it as fully qualified, without search domains.
    Name(String),
    /// A literal address, which no resolver sees: the address rule must be asked.
    Address(IpAddr),
}

impl WebhookUrl {
    /// Reads a stored URL back. Parsed, not judged: see the type.
    ///
    /// # Errors
    /// Text that [`UrlRule::check`](super::UrlRule::check) cannot have produced.
    pub fn from_stored(text: &str) -> Result<Self, RefusedUrl> {
        let url = Url::parse(text).map_err(RefusedUrl::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::UserInfo);
        }
        Self::from_parsed(url)
    }

    /// Drops the fragment, which is never sent, and the host's final dot: certificates and `Host` headers are
    /// written without it, and names are resolved as fully qualified either way.
    pub(super) fn from_parsed(mut url: Url) -> Result<Self, RefusedUrl> {
        let default_port = match url.scheme() {
            "https" => 443,
            "http" => 80,
            _ => return Err(RefusedUrl::Scheme),
        };
        url.set_fragment(None);
        let undotted = url.domain().and_then(|name| name.strip_suffix('.')).map(str::to_owned);
        if let Some(name) = undotted {
            url.set_host(Some(&name)).map_err(RefusedUrl::Malformed)?;
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) => Host::Name(name.to_owned()),
            Some(url::Host::Ipv4(address)) => Host::Address(IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => Host::Address(IpAddr::V6(address)),
            None => return Err(RefusedUrl::Malformed(url::ParseError::EmptyHost)),
        };
        let port = url.port().unwrap_or(default_port);
        Ok(Self { url, host, port })
    }

    /// The whole URL, as stored and as sent to. May hold a receiver's credential: not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host to resolve or judge, and to name in TLS.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port to connect to, the scheme's own if the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The `Host` header: the host as written in a URL (IPv6 in brackets), and the port unless it is the
    /// scheme's own.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// The request target: path and query, percent-encoded.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.url[Position::BeforePath..Position::AfterQuery]
    }

    /// The path, percent-encoded; `/` at least.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// What stands after the `?`; `None` if there is none.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.url.query()
    }

    /// Scheme and authority with everything after them hidden: `https://hooks.example.com/…`. A URL of
    /// nothing but the root path has nothing to hide and is shown whole.
    #[must_use]
    pub fn display_masked(&self) -> String {
        let origin = &self.url[..Position::BeforePath];
        let hidden = if self.path_and_query() == "/" { "" } else { "…" };
        format!("{origin}/{hidden}")
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("WebhookUrl").field(&self.display_masked()).finish()
    }
}

impl Serialize for WebhookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for WebhookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_stored(&text).map_err(serde::de::Error::custom)
    }
}
