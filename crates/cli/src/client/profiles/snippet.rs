//! `profiles verify-snippet`: a short verifier for a profile's requests, written from the profile's data for whoever
//! receives them. Nothing of a profile but its name, its version and what its signature is made of gets into the code.

mod node;
mod python;

use postrider_contract::pattern::{Pattern, Piece, Variable};
use postrider_contract::profile::{
    Algorithm, CompiledProfile, SecretForm, SecretRule, SignatureEncoding, SignatureRule,
};
use postrider_contract::signature::{EachVariable, SignedVariable, TextVariable, ValueVariable};

use super::find;
use crate::client::error::ClientError;
use crate::client::session::Session;

/// Prints a verifier of a profile's requests, to be copied into a receiver: one function, the standard library
///
/// It is checked against `profiles vectors` by Postrider's own tests.
///
/// Example:
///   postrider profiles verify-snippet trcker --lang python > verify.py
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct VerifySnippet {
    /// A profile's name, or a file with its form (.toml, .json)
    profile: String,
    /// In which language
    #[arg(long = "lang", value_name = "LANGUAGE")]
    language: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Python,
    Node,
}

impl VerifySnippet {
    pub(in crate::client) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let profile = find(session, &self.profile).await?;
        let scheme = Scheme::of(&profile).ok_or_else(|| {
            ClientError::Usage(format!("requests of the profile {} are not signed", profile.name()))
        })?;
        let snippet = match self.language {
            Language::Python => python::snippet(&scheme),
            Language::Node => node::snippet(&scheme),
        };
        session.line(snippet.trim_end())
    }
}

/// What a verifier has to do, whatever the language.
struct Scheme<'a> {
    profile: &'a CompiledProfile,
    rule: &'a SignatureRule,
    secret: &'a SecretRule,
    /// What is signed beside the request's own parts, and does not stand in the signature's own place.
    carried: Vec<Carried<'a>>,
}

/// A text that is signed, and the header that carries it.
struct Carried<'a> {
    variable: TextVariable,
    header: &'a str,
    /// What the header holds beside it.
    pattern: &'a Pattern<TextVariable>,
}

/// The time under a signature, and how far it may differ.
struct Window {
    variable: TextVariable,
    /// How many of its units are a second.
    per_second: i64,
    seconds: u64,
}

impl<'a> Scheme<'a> {
    /// `None` for a profile that does not sign.
    fn of(profile: &'a CompiledProfile) -> Option<Self> {
        let definition = profile.definition();
        let (rule, secret) = (definition.signature.as_ref()?, definition.secret.as_ref()?);
        let mut carried: Vec<Carried<'a>> = Vec::new();
        for variable in rule.signs.variables().filter_map(|variable| variable.text()) {
            let is_known = carried.iter().any(|known| known.variable == variable);
            if is_known || rule.value.uses(ValueVariable::Text(variable)) {
                continue;
            }
            let header = definition.request.headers.iter().find(|header| header.value.uses(variable))?;
            carried.push(Carried { variable, header: header.name.as_str(), pattern: &header.value });
        }
        Some(Scheme { profile, rule, secret, carried })
    }

    fn window(&self) -> Option<Window> {
        let seconds = self.rule.replay_window?.duration().as_secs();
        let mut texts = self.rule.signs.variables().filter_map(|variable| variable.text());
        let (variable, millis) = texts.find_map(|text| text.time_unit().map(|millis| (text, millis)))?;
        Some(Window { variable, per_second: 1000 / millis, seconds })
    }

    /// The names of the groups of the signature's value, where it holds more than the signatures.
    fn value_groups(&self) -> Option<Vec<Option<String>>> {
        (!is_bare(&self.rule.value)).then(|| group_names(&self.rule.value, |_| true))
    }

    fn signs(&self, wanted: &SignedVariable) -> bool {
        self.rule.signs.variables().any(|variable| variable == *wanted)
    }

    fn signs_parameters(&self) -> bool {
        self.rule.signs.variables().any(|variable| variable.parameter().is_some())
    }

    fn signs_with_shared_secrets(&self) -> bool {
        self.rule.algorithm != Algorithm::Ed25519
    }

    /// What stands before and behind one signature by a key pair.
    fn around_pairs(&self) -> Option<(String, String)> {
        let each = match self.rule.algorithm {
            Algorithm::Ed25519 => Some(&self.rule.each),
            Algorithm::HmacSha256
            | Algorithm::HmacSha512
            | Algorithm::HmacSha1
            | Algorithm::Sha256
            | Algorithm::Sha512
            | Algorithm::Sha1
            | Algorithm::Md5 => self.rule.each_ed25519.as_ref(),
        };
        each.map(around)
    }

    fn around_shared(&self) -> (String, String) {
        around(&self.rule.each)
    }

    /// Lines about the profile, to stand at the top as a comment.
    fn heading(&self, language: &str, needs: &str) -> Vec<String> {
        let (name, version) = (self.profile.name(), self.profile.definition().version);
        let mut lines = vec![
            format!("Verifies requests of the delivery contract {name}, version {version}. {needs}"),
            format!("Written by: postrider profiles verify-snippet {name} --lang {language}"),
            String::new(),
            "A signature covers the very bytes that came: take the body before anything parses it."
                .to_owned(),
        ];
        lines.extend(self.profile.weaknesses().iter().map(|weakness| format!("A {weakness}.")));
        if self.window().is_none() {
            lines.push(
                "There is no time under the signature: a copy of a request passes too. Remember what came."
                    .to_owned(),
            );
        }
        lines
    }
}

fn around(each: &Pattern<EachVariable>) -> (String, String) {
    let (mut before, mut behind) = (String::new(), String::new());
    let mut is_before = true;
    for piece in each.pieces() {
        match piece {
            Piece::Literal(literal) if is_before => before.push_str(literal),
            Piece::Literal(literal) => behind.push_str(literal),
            Piece::Variable(EachVariable::Signature) => is_before = false,
        }
    }
    (before, behind)
}

/// A variable's name as both languages take it.
fn identifier(name: &str) -> String {
    name.replace('.', "_")
}

/// The names of a pattern's groups, in order: `None` for what is not wanted, and for what was named before, since a name
/// is given once and verifiers go by the first.
fn group_names<V: Variable + PartialEq>(
    pattern: &Pattern<V>,
    is_wanted: impl Fn(&V) -> bool,
) -> Vec<Option<String>> {
    let mut named: Vec<V> = Vec::new();
    let mut names = Vec::new();
    for variable in pattern.variables() {
        let is_named = is_wanted(&variable) && !named.contains(&variable);
        names.push(is_named.then(|| identifier(variable.name())));
        named.push(variable);
    }
    names
}

/// A text as both languages write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A regular expression that both languages read: a group for each variable.
fn expression<V: Variable>(pattern: &Pattern<V>) -> String {
    let mut expression = String::new();
    let last = pattern.pieces().len().saturating_sub(1);
    for (index, piece) in pattern.pieces().iter().enumerate() {
        match piece {
            Piece::Literal(literal) => {
                for character in literal.chars() {
                    if "\\^$.|?*+()[]{}".contains(character) {
                        expression.push('\\');
                    }
                    expression.push(character);
                }
            }
            Piece::Variable(_) => expression.push_str(if index == last { "(.+)" } else { "(.+?)" }),
        }
    }
    expression
}

/// What stands around a signature, with the expression of the signature itself.
fn wrapped((before, behind): &(String, String), signature: String) -> String {
    let literal = |text: &String| (!text.is_empty()).then(|| quoted(text));
    let parts = [literal(before), Some(signature), literal(behind)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
}

/// Whether a pattern is nothing but one variable.
fn is_bare<V: Variable>(pattern: &Pattern<V>) -> bool {
    matches!(pattern.pieces(), [Piece::Variable(_)])
}

/// The hash's name, as both languages know it; `None` of Ed25519, which has its own.
fn hash_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::HmacSha256 | Algorithm::Sha256 => Some("sha256"),
        Algorithm::HmacSha512 | Algorithm::Sha512 => Some("sha512"),
        Algorithm::HmacSha1 | Algorithm::Sha1 => Some("sha1"),
        Algorithm::Md5 => Some("md5"),
        Algorithm::Ed25519 => None,
    }
}
