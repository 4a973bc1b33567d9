//! Signatures: the headers of a request, made afresh for each try over the exact bytes that are sent; and their
//! check, as a receiver makes it.

mod key;
mod request;
mod variable;
mod verify;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use key::{InvalidSecret, SigningKey};
pub use request::{RequestContext, request_headers, sign};
pub use variable::{EachVariable, SignedVariable, TextVariable, ValueVariable};
pub use verify::{ReceivedRequest, VerifyFailure, verify};

use crate::pattern::{Pattern, Piece};
use crate::profile::{Algorithm, SignatureEncoding, SignatureRule};

/// One signature as text, over the bytes that the rule's pattern stands for. `write_text` fills in its text
/// variables: from the try when signing, from the received headers when verifying.
fn signature_text(
    rule: &SignatureRule,
    key: &SigningKey,
    body: &[u8],
    mut write_text: impl FnMut(TextVariable, &mut String),
) -> String {
    let mut scratch = String::new();
    let mac = match rule.algorithm {
        Algorithm::HmacSha256 => {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
            for piece in rule.signs.pieces() {
                match piece {
                    Piece::Literal(literal) => mac.update(literal.as_bytes()),
                    Piece::Variable(SignedVariable::Body) => mac.update(body),
                    Piece::Variable(SignedVariable::Text(variable)) => {
                        scratch.clear();
                        write_text(*variable, &mut scratch);
                        mac.update(scratch.as_bytes());
                    }
                }
            }
            mac.finalize().into_bytes()
        }
    };
    match rule.encoding {
        SignatureEncoding::Hex => hex::encode(mac),
        SignatureEncoding::Base64 => STANDARD.encode(mac),
    }
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
