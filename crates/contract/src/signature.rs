//! Signatures: made afresh for each try over the exact bytes that are sent, in a header or in the query; and their
//! check, as a receiver makes it.

mod algorithm;
mod key;
mod key_pair;
mod request;
mod variable;
mod verify;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use key::{InvalidSecret, SigningKey, VerifyingKey};
pub(crate) use key_pair::KeyPair;
pub use request::{Place, RequestContext, SignedRequest, place, signed_request};
pub use variable::{EachVariable, SignedParameter, SignedVariable, TextVariable, ValueVariable};
pub use verify::{ReceivedRequest, VerifyFailure, verify};

use crate::pattern::{Pattern, Piece};
use crate::profile::{Algorithm, SignatureEncoding, SignatureRule};
use crate::query_string::parameter_value;
use algorithm::{Sink, keyed_sum};

/// The parts of a request that a signature can cover.
#[derive(Clone, Copy, Debug)]
pub struct Covered<'a> {
    /// What stands behind the `?` without the signature's own parameter; empty if nothing does.
    pub query: &'a str,
    /// Byte for byte.
    pub body: &'a [u8],
}

/// The signature by a shared secret over the bytes that the rule's pattern stands for. `write_text` fills in its text
/// variables: from the try when signing, from what was received when verifying. `None` where the algorithm has no use
/// for a shared secret.
fn shared_signature(
    rule: &SignatureRule,
    secret: &[u8],
    covered: Covered<'_>,
    write_text: impl FnMut(TextVariable, &mut String),
) -> Option<String> {
    let sum = keyed_sum(rule.algorithm, secret, |sink| feed(rule, secret, covered, write_text, sink));
    sum.map(|sum| encoded(rule.encoding, &sum))
}

/// The bytes under a signature by a private key, which are needed in one piece.
fn message(
    rule: &SignatureRule,
    covered: Covered<'_>,
    write_text: impl FnMut(TextVariable, &mut String),
) -> Vec<u8> {
    let mut message = Vec::with_capacity(covered.body.len() + 256);
    feed(rule, &[], covered, write_text, &mut |bytes| message.extend_from_slice(bytes));
    message
}

fn feed(
    rule: &SignatureRule,
    secret: &[u8],
    covered: Covered<'_>,
    mut write_text: impl FnMut(TextVariable, &mut String),
    sink: Sink<'_>,
) {
    let mut scratch = String::new();
    for piece in rule.signs.pieces() {
        match piece {
            Piece::Literal(literal) => sink(literal.as_bytes()),
            Piece::Variable(SignedVariable::Body) => sink(covered.body),
            Piece::Variable(SignedVariable::Query) => sink(covered.query.as_bytes()),
            Piece::Variable(SignedVariable::Secret) => sink(secret),
            // One that is not there counts as empty; that it is there is seen to when a webhook is saved.
            Piece::Variable(SignedVariable::Parameter(parameter)) => {
                sink(&parameter_value(covered.query, parameter.name()).unwrap_or_default());
            }
            Piece::Variable(SignedVariable::Text(variable)) => {
                scratch.clear();
                write_text(*variable, &mut scratch);
                sink(scratch.as_bytes());
            }
        }
    }
}

fn encoded(encoding: SignatureEncoding, signature: &[u8]) -> String {
    match encoding {
        SignatureEncoding::Hex => hex::encode(signature),
        SignatureEncoding::Base64 => STANDARD.encode(signature),
    }
}

fn decoded(encoding: SignatureEncoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        SignatureEncoding::Hex => hex::decode(text).ok(),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}

/// What is put around one signature by a private key.
fn each_of_pairs(rule: &SignatureRule) -> Option<&Pattern<EachVariable>> {
    if rule.algorithm == Algorithm::Ed25519 { Some(&rule.each) } else { rule.each_ed25519.as_ref() }
}

/// What is put around one signature.
fn write_each(pattern: &Pattern<EachVariable>, signature: &str, out: &mut String) {
    for piece in pattern.pieces() {
        match piece {
            Piece::Literal(literal) => out.push_str(literal),
            Piece::Variable(EachVariable::Signature) => out.push_str(signature),
        }
    }
}

#[cfg(test)]
mod tests;
