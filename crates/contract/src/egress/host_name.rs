//! The name rule: what a host name in a webhook's URL must look like.
//!
//! Works on the name the URL parser made (lower case, punycode, percent-decoded, without its final dot), never
//! on what was typed. A name that passes may still resolve to a private address: that is for the connector.

/// Longest label, in octets (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// Longest name, in octets, as written without the final dot (RFC 1035 §2.3.4: 255 on the wire).
const MAX_NAME: usize = 253;

/// Top-level names that the public DNS does not serve: special use (RFC 6761, 6762 with its appendix G, 8375),
/// reserved by ICANN for private use (`internal`), or in common use inside networks and clusters.
const INTERNAL_SUFFIXES: [&str; 10] =
    ["local", "internal", "home.arpa", "localdomain", "intranet", "private", "corp", "home", "lan", "svc"];

/// Names of metadata services, from the cloud providers' documentation. Early feedback: the address rule
/// refuses what they resolve to.
const METADATA_NAMES: [&str; 7] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "metadata.azure.internal",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Whether names that only a private network resolves may be registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InternalNames {
    /// Names of the public DNS only.
    #[default]
    Refused,
    /// Single labels (`receiver`) and internal suffixes (`receiver.internal`) too: for operators who allow
    /// networks of their own. `localhost` stays bound to loopback being allowed.
    Allowed,
}

/// A host name that a webhook's URL may not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedName {
    /// Longer than a DNS name can be.
    #[error("host name is {0} characters long; a name has at most {MAX_NAME}")]
    TooLong(usize),
    /// Nothing between two dots, or no name at all.
    #[error("host name has an empty label (two dots in a row, or a dot at its start)")]
    EmptyLabel,
    /// A label longer than the DNS allows.
    #[error("host name has a label longer than {MAX_LABEL} characters")]
    LongLabel,
    /// Something else than letters, digits and hyphens, or a hyphen at a label's edge.
    #[error("host name may hold letters, digits, dots and inner hyphens only")]
    Character,
    /// Looks like an address but is none.
    #[error("host name ends in a number but is not an ip address")]
    EndsInNumber,
    /// `localhost`, or a name under it.
    #[error("`localhost` may not be called")]
    Localhost,
    /// One label, which only a private network resolves.
    #[error("host name needs at least one dot: a single label is an internal name")]
    SingleLabel,
    /// Under a suffix that only private networks resolve.
    #[error("names under `.{0}` are internal and may not be called")]
    Internal(&'static str),
    /// A cloud's metadata service by name.
    #[error("cloud metadata services may not be called")]
    Metadata,
}

/// What the rule needs to know of the installation.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameRule {
    pub(super) internal_names: InternalNames,
    pub(super) is_localhost_allowed: bool,
}

impl NameRule {
    /// Judges `name`, a parsed host name without its final dot.
    pub(super) fn judge(self, name: &str) -> Result<(), RefusedName> {
        check_syntax(name)?;
        if METADATA_NAMES.contains(&name) {
            return Err(RefusedName::Metadata);
        }
        if is_under(name, "localhost") {
            return if self.is_localhost_allowed { Ok(()) } else { Err(RefusedName::Localhost) };
        }
        match self.internal_names {
            InternalNames::Allowed => Ok(()),
            InternalNames::Refused => check_public(name),
        }
    }
}

fn check_syntax(name: &str) -> Result<(), RefusedName> {
    if name.len() > MAX_NAME {
        return Err(RefusedName::TooLong(name.len()));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(RefusedName::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(RefusedName::LongLabel);
        }
        let is_ldh = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_ldh || label.starts_with('-') || label.ends_with('-') {
            return Err(RefusedName::Character);
        }
    }
    // The URL parser already takes such hosts for IPv4 addresses or refuses them; no resolver may get to
    // read one differently.
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_hex =
        last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RefusedName::EndsInNumber);
    }
    Ok(())
}

fn check_public(name: &str) -> Result<(), RefusedName> {
    if let Some(suffix) = INTERNAL_SUFFIXES.into_iter().find(|suffix| is_under(name, suffix)) {
        return Err(RefusedName::Internal(suffix));
    }
    if name.contains('.') { Ok(()) } else { Err(RefusedName::SingleLabel) }
}

fn is_under(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: NameRule = NameRule { internal_names: InternalNames::Refused, is_localhost_allowed: false };
    const OPEN: NameRule = NameRule { internal_names: InternalNames::Allowed, is_localhost_allowed: true };

    #[test]
    fn public_names_pass() {
        for name in
            ["example.com", "a.b", "r3---sn-x.example", "xn--bcher-kva.example", "1and1.example", "a.1b"]
        {
            assert_eq!(STRICT.judge(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn malformed_names_are_refused_whatever_is_allowed() {
        let cases = [
            ("", RefusedName::EmptyLabel),
            ("a..b", RefusedName::EmptyLabel),
            (".a.b", RefusedName::EmptyLabel),
            ("a.b.", RefusedName::EmptyLabel),
            ("-a.example", RefusedName::Character),
            ("a-.example", RefusedName::Character),
            ("a_b.example", RefusedName::Character),
            ("{{host}}", RefusedName::Character),
            ("a.example%", RefusedName::Character),
            ("a.1", RefusedName::EndsInNumber),
            ("1.2.3.256", RefusedName::EndsInNumber),
            ("a.0x7f", RefusedName::EndsInNumber),
            ("a.0x", RefusedName::EndsInNumber),
        ];
        for (name, refused) in cases {
            assert_eq!(STRICT.judge(name), Err(refused), "{name}");
            assert_eq!(OPEN.judge(name), Err(refused), "{name}");
        }
    }

    #[test]
    fn labels_and_names_end_where_the_dns_says() {
        let label = "a".repeat(MAX_LABEL);
        assert_eq!(STRICT.judge(&format!("{label}.example")), Ok(()));
        assert_eq!(STRICT.judge(&format!("{label}a.example")), Err(RefusedName::LongLabel));
        let longest = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert_eq!((longest.len(), STRICT.judge(&longest)), (MAX_NAME, Ok(())));
        assert_eq!(STRICT.judge(&format!("{longest}a")), Err(RefusedName::TooLong(MAX_NAME + 1)));
    }

    #[test]
    fn internal_names_pass_only_where_the_operator_allows_them() {
        for name in
            ["rabbitmq", "printer.local", "host.docker.internal", "router.home.arpa", "local", "a.svc"]
        {
            assert!(STRICT.judge(name).is_err(), "{name}");
            assert_eq!(OPEN.judge(name), Ok(()), "{name}");
        }
        assert_eq!(STRICT.judge("notlocal.example"), Ok(()));
        assert_eq!(STRICT.judge("my-local.com"), Ok(()));
    }

    #[test]
    fn localhost_follows_loopback_and_not_internal_names() {
        let internal = NameRule { is_localhost_allowed: false, ..OPEN };
        let loopback = NameRule { internal_names: InternalNames::Refused, ..OPEN };
        for name in ["localhost", "a.localhost"] {
            assert_eq!(internal.judge(name), Err(RefusedName::Localhost));
            assert_eq!(loopback.judge(name), Ok(()));
        }
    }

    #[test]
    fn metadata_names_are_never_lifted() {
        for name in METADATA_NAMES {
            assert_eq!(OPEN.judge(name), Err(RefusedName::Metadata));
        }
    }
}
