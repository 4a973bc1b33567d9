//! The verifier in JavaScript, for Node.

use postrider_contract::pattern::Piece;
use postrider_contract::signature::SignedVariable;

use super::{
    Scheme, SecretForm, SignatureEncoding, Variable, expression, group_names, hash_name, identifier, is_bare,
    quoted, wrapped,
};

pub(super) fn snippet(scheme: &Scheme<'_>) -> String {
    let heading = scheme.heading("node", "Node 16, no packages.");
    let comment = |line: String| if line.is_empty() { "//".to_owned() } else { format!("// {line}") };
    let mut lines: Vec<String> = heading.into_iter().map(comment).collect();
    lines.extend(
        [
            "",
            "const crypto = require(\"node:crypto\");",
            "",
            "// Throws for a request that is not genuine. headers: an object of names and values. body: a Buffer. secrets:",
            "// every one that may sign now, two while one takes the other's place. query: what stands behind the ? of the",
            "// URL. now: seconds since 1970.",
            "function verify(headers, body, secrets, query = \"\", now = Math.floor(Date.now() / 1000)) {",
        ]
        .map(str::to_owned),
    );
    if scheme.rule.header.is_some() || !scheme.carried.is_empty() {
        lines.extend(
            [
                "  const received = {};",
                "  for (const [name, value] of Object.entries(headers)) received[name.toLowerCase()] = value;",
            ]
            .map(str::to_owned),
        );
    }
    value(scheme, &mut lines);
    carried(scheme, &mut lines);
    window(scheme, &mut lines);
    comparison(scheme, &mut lines);
    lines.push("}".to_owned());
    functions(scheme, &mut lines);
    lines.extend(["", "module.exports = { verify };"].map(str::to_owned));
    lines.join("\n")
}

/// What stands in the signature's place, taken apart.
fn value(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let groups = scheme.value_groups();
    let into = if groups.is_some() { "value" } else { "signatures" };
    match (&scheme.rule.header, &scheme.rule.query_parameter) {
        (Some(name), _) => lines.extend(header(into, name.as_str())),
        (None, Some(name)) => {
            let name = quoted(name.as_str());
            lines.push(format!("  const {into} = parameter(query, {name}).toString();"));
            lines.push(format!(
                "  query = query.split(\"&\").filter((pair) => pair.split(\"=\")[0] !== {name}).join(\"&\");"
            ));
        }
        (None, None) => {}
    }
    if let Some(groups) = groups {
        lines.extend(matched("parts", &groups, &expression(&scheme.rule.value), into));
    }
}

fn header(into: &str, name: &str) -> [String; 2] {
    let missing = quoted(&format!("the header {name} is missing"));
    [
        format!("  const {into} = received[{}];", quoted(&name.to_ascii_lowercase())),
        format!("  if (typeof {into} !== \"string\") throw new Error({missing});"),
    ]
}

fn matched(parts: &str, groups: &[Option<String>], expression: &str, from: &str) -> [String; 3] {
    let names: Vec<&str> = groups.iter().map(|name| name.as_deref().unwrap_or_default()).collect();
    let anchored = quoted(&format!("^{expression}$"));
    [
        format!("  const {parts} = new RegExp({anchored}).exec({from});"),
        format!("  if (!{parts}) throw new Error(\"the signature is not of the expected form\");"),
        format!("  const [, {}] = {parts};", names.join(", ")),
    ]
}

fn carried(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    for carried in &scheme.carried {
        let into = identifier(carried.variable.name());
        if is_bare(carried.pattern) {
            lines.extend(header(&into, carried.header));
            continue;
        }
        let whole = format!("{into}_header");
        lines.extend(header(&whole, carried.header));
        let groups = group_names(carried.pattern, |variable| *variable == carried.variable);
        lines.extend(matched(&format!("{into}_parts"), &groups, &expression(carried.pattern), &whole));
    }
}

fn window(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let Some(window) = scheme.window() else { return };
    let text = identifier(window.variable.name());
    let (unit, limit) = (window.per_second, u64::try_from(window.per_second).unwrap_or(1) * window.seconds);
    let now = if unit == 1 { "now".to_owned() } else { format!("now * {unit}") };
    lines.extend([
        format!("  if (!/^[0-9]+$/.test({text}) || Math.abs({now} - Number({text})) > {limit}) {{"),
        "    throw new Error(\"too old, or of the future\");".to_owned(),
        "  }".to_owned(),
    ]);
}

/// The signed bytes as an expression; `key` is the secret's, where that is among them.
fn message(scheme: &Scheme<'_>) -> String {
    let parts: Vec<String> = scheme
        .rule
        .signs
        .pieces()
        .iter()
        .map(|piece| match piece {
            Piece::Literal(literal) => format!("Buffer.from({})", quoted(literal)),
            Piece::Variable(SignedVariable::Body) => "body".to_owned(),
            Piece::Variable(SignedVariable::Query) => "Buffer.from(query)".to_owned(),
            Piece::Variable(SignedVariable::Secret) => "key".to_owned(),
            Piece::Variable(SignedVariable::Parameter(parameter)) => {
                format!("parameter(query, {})", quoted(parameter.name()))
            }
            Piece::Variable(SignedVariable::Text(variable)) => {
                format!("Buffer.from({})", identifier(variable.name()))
            }
        })
        .collect();
    format!("Buffer.concat([{}])", parts.join(", "))
}

fn comparison(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let candidates = match &scheme.rule.separator {
        Some(separator) => format!("signatures.split({}).slice(0, 16)", quoted(separator)),
        None => "[signatures]".to_owned(),
    };
    lines.push(format!("  const candidates = {candidates};"));
    let (has_pairs, has_shared) = (scheme.around_pairs().is_some(), scheme.signs_with_shared_secrets());
    let has_secret = scheme.signs(&SignedVariable::Secret);
    if !has_secret {
        lines.push(format!("  const message = {};", message(scheme)));
    }
    lines.push("  for (const secret of secrets) {".to_owned());
    let call = "candidates.some((candidate) => isSignedBy(secret, message, candidate))";
    match (has_pairs, has_shared) {
        (true, true) => lines.extend([
            format!("    if (secret.startsWith({})) {{", quoted(&scheme.secret.public_key_prefix)),
            format!("      if ({call}) return;"),
            "      continue;".to_owned(),
            "    }".to_owned(),
        ]),
        (true, false) => lines.push(format!("    if ({call}) return;")),
        (false, _) => {}
    }
    if has_shared {
        lines.push(format!("    const key = {};", key(scheme)));
        if has_secret {
            lines.push(format!("    const message = {};", message(scheme)));
        }
        let expected = wrapped(&scheme.around_shared(), signature(scheme));
        lines.push(format!("    const expected = Buffer.from({expected});"));
        lines.push(
            "    if (candidates.some((candidate) => isSame(Buffer.from(candidate), expected))) return;"
                .to_owned(),
        );
    }
    lines.extend(["  }", "  throw new Error(\"no signature matches\");"].map(str::to_owned));
}

fn key(scheme: &Scheme<'_>) -> String {
    let prefix = &scheme.secret.prefix;
    let digits = if prefix.is_empty() {
        "secret".to_owned()
    } else {
        let prefix = quoted(prefix);
        format!("(secret.startsWith({prefix}) ? secret.slice({prefix}.length) : secret)")
    };
    match scheme.secret.form {
        SecretForm::Text => "Buffer.from(secret)".to_owned(),
        SecretForm::Base64 | SecretForm::Ed25519 => format!("Buffer.from({digits}, \"base64\")"),
        SecretForm::Hex => format!("Buffer.from({digits}, \"hex\")"),
    }
}

fn signature(scheme: &Scheme<'_>) -> String {
    let hash = quoted(hash_name(scheme.rule.algorithm).unwrap_or_default());
    let encoding = encoding(scheme);
    if scheme.rule.algorithm.is_plain_hash() {
        format!("crypto.createHash({hash}).update(message).digest({encoding})")
    } else {
        format!("crypto.createHmac({hash}, key).update(message).digest({encoding})")
    }
}

fn encoding(scheme: &Scheme<'_>) -> &'static str {
    match scheme.rule.encoding {
        SignatureEncoding::Hex => "\"hex\"",
        SignatureEncoding::Base64 => "\"base64\"",
    }
}

/// What `verify` calls.
fn functions(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    if scheme.signs_with_shared_secrets() {
        lines.extend(
            [
                "",
                "function isSame(one, other) {",
                "  return one.length === other.length && crypto.timingSafeEqual(one, other);",
                "}",
            ]
            .map(str::to_owned),
        );
    }
    if scheme.rule.query_parameter.is_some() || scheme.signs_parameters() {
        lines.extend(
            [
                "",
                "function parameter(query, name) {",
                "  const values = new URLSearchParams(query).getAll(name);",
                "  if (values.length !== 1) throw new Error(`the query has the parameter ${name} ${values.length} times`);",
                "  return Buffer.from(values[0]);",
                "}",
            ]
            .map(str::to_owned),
        );
    }
    let Some((before, behind)) = scheme.around_pairs() else { return };
    let (prefix, before, behind) =
        (quoted(&scheme.secret.public_key_prefix), quoted(&before), quoted(&behind));
    lines.extend([
        String::new(),
        "function isSignedBy(secret, message, candidate) {".to_owned(),
        format!("  const before = {before}, behind = {behind}, prefix = {prefix};"),
        "  if (!candidate.startsWith(before) || !candidate.endsWith(behind)) return false;".to_owned(),
        "  const text = candidate.slice(before.length, candidate.length - behind.length);".to_owned(),
        "  const digits = secret.startsWith(prefix) ? secret.slice(prefix.length) : secret;".to_owned(),
        "  // The 32 bytes of the key behind the head of every Ed25519 key in DER.".to_owned(),
        "  const der = Buffer.concat([Buffer.from(\"302a300506032b6570032100\", \"hex\"), Buffer.from(digits, \"base64\")]);".to_owned(),
        "  const key = crypto.createPublicKey({ key: der, format: \"der\", type: \"spki\" });".to_owned(),
        format!("  return crypto.verify(null, message, key, Buffer.from(text, {}));", encoding(scheme)),
        "}".to_owned(),
    ]);
}
