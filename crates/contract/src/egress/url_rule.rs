//! The URL rule: may this text be registered as a webhook's URL?
//!
//! Some checks read the raw text, because the parser repairs what it should refuse (spaces at the ends, tabs
//! and newlines anywhere, backslashes, missing or extra slashes, an empty user name). All others read the
//! parsed URL, because the raw text can spell a host in a dozen ways. What is accepted is accepted again, as
//! the same value, when its stored form is checked.

use url::Url;

use super::address::{AddressRule, RefusedAddress};
use super::host_name::{InternalNames, NameRule, RefusedName};
use super::port::{PortRule, RefusedPort};
use super::webhook_url::{Host, WebhookUrl};

/// Longest URL, in bytes, as typed and as stored: what proxies and receivers commonly take in a request line.
pub const MAX_URL_BYTES: usize = 2_048;

/// What an installation accepts as a webhook's URL. The default is the strictest: https to public hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlRule {
    /// Whether plain http is accepted.
    pub schemes: Schemes,
    /// Judges literal hosts, and whether `localhost` is allowed.
    pub addresses: AddressRule,
    /// Which ports may be named.
    pub ports: PortRule,
    /// Whether names of a private network may be registered.
    pub internal_names: InternalNames,
}

/// Which schemes a webhook's URL may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Schemes {
    /// `https` alone.
    #[default]
    HttpsOnly,
    /// `http` too, where the operator says so.
    HttpToo,
}

impl UrlRule {
    /// For development on one machine: http, loopback addresses and `localhost` are accepted too.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            schemes: Schemes::HttpToo,
            addresses: AddressRule::default().with_loopback(),
            ..Self::default()
        }
    }

    /// Turns a customer's text into the URL to store and to call.
    ///
    /// Accepted spellings are normalised: case, percent-encoding and international characters in the host
    /// (to punycode), a default or empty port, dot segments in the path. One final dot of the host and the
    /// fragment are removed.
    ///
    /// # Errors
    /// The first rule the text breaks.
    pub fn check(&self, input: &str) -> Result<WebhookUrl, RefusedUrl> {
        check_raw(input)?;
        let url = Url::parse(input).map_err(RefusedUrl::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::UserInfo);
        }
        if self.schemes == Schemes::HttpsOnly && url.scheme() == "http" {
            return Err(RefusedUrl::PlainHttp);
        }
        let url = WebhookUrl::from_parsed(url)?;
        self.check_host(url.host())?;
        self.ports.judge(url.port())?;
        // The stored form can be longer than the text: percent-encoding takes three bytes for one.
        check_length(url.as_str())?;
        Ok(url)
    }

    fn check_host(&self, host: &Host) -> Result<(), RefusedUrl> {
        match host {
            Host::Address(address) => self.addresses.judge(*address)?,
            Host::Name(name) => {
                let rule = NameRule {
                    internal_names: self.internal_names,
                    is_localhost_allowed: self.addresses.allows_loopback(),
                };
                rule.judge(name)?;
            }
        }
        Ok(())
    }
}

/// Why a URL was refused. The text is for the person who typed the URL; it never repeats the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUrl {
    /// No text.
    #[error("url is empty")]
    Empty,
    /// Longer than [`MAX_URL_BYTES`], as typed or once percent-encoded.
    #[error("url is {0} bytes long once encoded; at most {MAX_URL_BYTES} are accepted")]
    TooLong(usize),
    /// A control character, white space or a backslash, anywhere.
    #[error(
        "url holds U+{code_point:04X} at byte {offset}; white space, control characters and backslashes must be percent-encoded"
    )]
    Character {
        /// Of the first such character.
        code_point: u32,
        /// Where it begins, in bytes from the start.
        offset: usize,
    },
    /// Neither `https` nor `http`.
    #[error("url must begin with https://, or in development mode with http://")]
    Scheme,
    /// `http`, which this installation does not accept.
    #[error("plain http is not accepted here; use https")]
    PlainHttp,
    /// Not exactly two slashes after the scheme.
    #[error(
        "url must have exactly two slashes and then a host after its scheme, as in https://example.com/hook"
    )]
    Slashes,
    /// A user name, a password or an `@` before the host.
    #[error("url may not hold a user name or password; set the webhook's authentication instead")]
    UserInfo,
    /// The parser could not make a URL of it: a malformed literal, port, punycode and so on.
    #[error("url cannot be parsed: {0}")]
    Malformed(#[source] url::ParseError),
    /// The host name breaks the name rule.
    #[error(transparent)]
    Name(#[from] RefusedName),
    /// The port breaks the port rule.
    #[error(transparent)]
    Port(#[from] RefusedPort),
    /// The host is a literal address that may not be called.
    #[error(transparent)]
    Address(#[from] RefusedAddress),
}

impl RefusedUrl {
    /// A stable name for the cause, for clients that act on it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "url_empty",
            Self::TooLong(_) => "url_too_long",
            Self::Character { .. } => "url_character",
            Self::Scheme => "url_scheme",
            Self::PlainHttp => "url_plain_http",
            Self::Slashes => "url_slashes",
            Self::UserInfo => "url_user_info",
            Self::Malformed(_) => "url_malformed",
            Self::Port(_) => "url_port",
            Self::Address(_) => "url_address",
            Self::Name(name) => match name {
                RefusedName::TooLong(_)
                | RefusedName::EmptyLabel
                | RefusedName::LongLabel
                | RefusedName::Character
                | RefusedName::EndsInNumber => "url_host",
                RefusedName::Localhost
                | RefusedName::SingleLabel
                | RefusedName::Internal(_)
                | RefusedName::Metadata => "url_internal_name",
            },
        }
    }
}

fn check_length(text: &str) -> Result<(), RefusedUrl> {
    if text.len() > MAX_URL_BYTES { Err(RefusedUrl::TooLong(text.len())) } else { Ok(()) }
}

/// What the parser would repair in silence.
fn check_raw(input: &str) -> Result<(), RefusedUrl> {
    if input.is_empty() {
        return Err(RefusedUrl::Empty);
    }
    check_length(input)?;
    let is_refused =
        |character: char| character.is_control() || character.is_whitespace() || character == '\\';
    if let Some((offset, character)) = input.char_indices().find(|(_, character)| is_refused(*character)) {
        return Err(RefusedUrl::Character { code_point: character.into(), offset });
    }
    let (scheme, rest) = input.split_once(':').ok_or(RefusedUrl::Scheme)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(RefusedUrl::Scheme);
    }
    let rest = rest.strip_prefix("//").ok_or(RefusedUrl::Slashes)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.is_empty() {
        return Err(RefusedUrl::Slashes);
    }
    // The parsed URL no longer shows an empty user name.
    if authority.contains('@') {
        return Err(RefusedUrl::UserInfo);
    }
    Ok(())
}
