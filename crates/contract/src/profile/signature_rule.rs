//! How a profile signs: which parts of a request, with what, and where the signatures stand.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HeaderName, ParameterName, Span};
use crate::pattern::Pattern;
use crate::signature::{EachVariable, SignedVariable, ValueVariable};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRule {
    /// Where the signatures stand: in this header, or …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderName>,
    /// A webhook may choose another name for that header.
    #[serde(default)]
    pub header_configurable: bool,
    /// … in this parameter, which is put behind the query. A profile that compiles has one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<ParameterName>,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The signed bytes.
    pub signs: Pattern<SignedVariable>,
    pub encoding: SignatureEncoding,
    /// One signature: `v1,${signature}`.
    #[serde(default = "bare_signature")]
    pub each: Pattern<EachVariable>,
    /// One signature by a secret that is an Ed25519 key, where the others are shared: `v1a,${signature}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each_ed25519: Option<Pattern<EachVariable>>,
    /// Stands between the signatures while several secrets are active. Absent: receivers read one signature, so only
    /// the newest secret signs, and rotation ends the old one at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// What the header or the parameter holds: `t=${timestamp},${signatures}`.
    #[serde(default = "bare_signatures")]
    pub value: Pattern<ValueVariable>,
    /// How far a receiver lets the signed time differ from its own, either way. Absent: no signed time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_window: Option<Span>,
}

fn bare_signature() -> Pattern<EachVariable> {
    Pattern::parse("${signature}").expect("a variable of this context alone")
}

fn bare_signatures() -> Pattern<ValueVariable> {
    Pattern::parse("${signatures}").expect("a variable of this context alone")
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
    Ed25519,
    /// A plain hash, as the four that follow: the secret is among the signed bytes.
    Sha256,
    Sha512,
    Sha1,
    Md5,
}

impl Algorithm {
    /// Whether the secret has to stand among the signed bytes, since nothing else brings it in.
    #[must_use]
    pub fn is_plain_hash(self) -> bool {
        match self {
            Algorithm::Sha256 | Algorithm::Sha512 | Algorithm::Sha1 | Algorithm::Md5 => true,
            Algorithm::HmacSha256 | Algorithm::HmacSha512 | Algorithm::HmacSha1 | Algorithm::Ed25519 => false,
        }
    }

    fn has_broken_hash(self) -> bool {
        match self {
            Algorithm::HmacSha1 | Algorithm::Sha1 | Algorithm::Md5 => true,
            Algorithm::HmacSha256
            | Algorithm::HmacSha512
            | Algorithm::Ed25519
            | Algorithm::Sha256
            | Algorithm::Sha512 => false,
        }
    }
}

/// How a signature's bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// Lower case.
    Hex,
    /// The standard alphabet, padded.
    Base64,
}

/// What makes a signature protect less than it could. Old receivers need such ones; nobody should choose one anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakness {
    BrokenHash,
    PlainHash,
    /// The query is covered.
    WithoutBody,
    NamedFieldsOnly,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Weakness::BrokenHash => "weak signature: its hash is broken (MD5, SHA-1)",
            Weakness::PlainHash => "weak signature: a plain hash that holds the secret is no MAC",
            Weakness::WithoutBody => "weak signature: it does not cover the body",
            Weakness::NamedFieldsOnly => {
                "weak signature: it covers named parameters alone, the rest of a request can be changed"
            }
        })
    }
}

impl SignatureRule {
    /// What an operator should know before choosing it.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let (body, query) = (self.signs.uses(SignedVariable::Body), self.signs.uses(SignedVariable::Query));
        let found = [
            (self.algorithm.has_broken_hash(), Weakness::BrokenHash),
            (self.algorithm.is_plain_hash(), Weakness::PlainHash),
            (query && !body, Weakness::WithoutBody),
            (!query && !body, Weakness::NamedFieldsOnly),
        ];
        found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, weakness)| weakness).collect()
    }
}
