//! How a profile signs: which bytes, with what, and where the signatures stand.

use serde::{Deserialize, Serialize};

use super::{HeaderName, Span};
use crate::pattern::Pattern;
use crate::signature::{EachVariable, SignedVariable, ValueVariable};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRule {
    /// Where the signatures stand.
    pub header: HeaderName,
    /// A webhook may choose another name for that header.
    #[serde(default)]
    pub header_configurable: bool,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The signed bytes.
    pub signs: Pattern<SignedVariable>,
    pub encoding: SignatureEncoding,
    /// One signature: `v1,${signature}`.
    #[serde(default = "bare_signature")]
    pub each: Pattern<EachVariable>,
    /// Stands between the signatures while several secrets are active. Absent: receivers read the header as one
    /// signature, so only the newest secret signs, and rotation ends the old one at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The header's value: `t=${timestamp},${signatures}`.
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
pub enum Algorithm {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
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
