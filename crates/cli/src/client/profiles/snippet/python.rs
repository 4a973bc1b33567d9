//! The verifier in Python.

use postrider_contract::pattern::Piece;
use postrider_contract::signature::SignedVariable;

use super::{
    Scheme, SecretForm, SignatureEncoding, TextVariable, Variable, expression, group_names, hash_name,
    identifier, is_bare, quoted, wrapped,
};

pub(super) fn snippet(scheme: &Scheme<'_>) -> String {
    let mut lines = vec!["\"\"\"".to_owned()];
    let needs = match scheme.around_pairs() {
        None => "Python 3.9, no packages.",
        Some(_) => "Python 3.9; Ed25519 keys need the package cryptography.",
    };
    lines.extend(scheme.heading("python", needs));
    lines.extend(["\"\"\"".to_owned(), String::new()]);
    lines.extend(imports(scheme).into_iter().map(|name| format!("import {name}")));
    lines.extend([String::new(), String::new()]);
    lines.push("def verify(headers, body, secrets, query=\"\", now=None):".to_owned());
    lines.extend(
        [
            "    \"\"\"Raises ValueError for a request that is not genuine.",
            "",
            "    headers: names and values. body: the bytes. secrets: every one that may sign now, two while one takes",
            "    the other's place. query: what stands behind the ? of the URL. now: seconds since 1970.",
            "    \"\"\"",
        ]
        .map(str::to_owned),
    );
    if scheme.rule.header.is_some() || !scheme.carried.is_empty() {
        lines.push("    headers = {name.lower(): value for name, value in headers.items()}".to_owned());
    }
    value(scheme, &mut lines);
    carried(scheme, &mut lines);
    window(scheme, &mut lines);
    comparison(scheme, &mut lines);
    functions(scheme, &mut lines);
    lines.join("\n")
}

fn imports(scheme: &Scheme<'_>) -> Vec<&'static str> {
    let rule = scheme.rule;
    let has_base64 = rule.encoding == SignatureEncoding::Base64
        || scheme.around_pairs().is_some()
        || scheme.secret.form == SecretForm::Base64;
    let needs_expressions =
        scheme.value_groups().is_some() || scheme.carried.iter().any(|carried| !is_bare(carried.pattern));
    let wanted = [
        (has_base64, "base64"),
        (scheme.signs_with_shared_secrets(), "hashlib"),
        (scheme.signs_with_shared_secrets(), "hmac"),
        (needs_expressions, "re"),
        (scheme.window().is_some(), "time"),
        (rule.query_parameter.is_some() || scheme.signs_parameters(), "urllib.parse"),
    ];
    wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, name)| name).collect()
}

/// What stands in the signature's place, taken apart.
fn value(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let groups = scheme.value_groups();
    let into = if groups.is_some() { "value" } else { "signatures" };
    match (&scheme.rule.header, &scheme.rule.query_parameter) {
        (Some(name), _) => lines.extend(header(into, name.as_str())),
        (None, Some(name)) => {
            let name = quoted(name.as_str());
            lines.push(format!("    {into} = parameter(query, {name}).decode(\"ascii\", \"replace\")"));
            lines.push(format!(
                "    query = \"&\".join(pair for pair in query.split(\"&\") if pair.split(\"=\")[0] != {name})"
            ));
        }
        (None, None) => {}
    }
    if let Some(groups) = groups {
        lines.extend(matched(&groups, &expression(&scheme.rule.value), into));
    }
}

fn header(into: &str, name: &str) -> [String; 3] {
    [
        format!("    {into} = headers.get({})", quoted(&name.to_ascii_lowercase())),
        format!("    if {into} is None:"),
        format!("        raise ValueError({})", quoted(&format!("the header {name} is missing"))),
    ]
}

fn matched(groups: &[Option<String>], expression: &str, from: &str) -> [String; 4] {
    let names: Vec<&str> = groups.iter().map(|name| name.as_deref().unwrap_or("_")).collect();
    [
        format!("    parts = re.fullmatch({}, {from})", quoted(expression)),
        "    if parts is None:".to_owned(),
        "        raise ValueError(\"the signature is not of the expected form\")".to_owned(),
        format!("    ({},) = parts.groups()", names.join(", ")),
    ]
}

fn carried(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    for carried in &scheme.carried {
        let into = identifier(carried.variable.name());
        lines.extend(header(&into, carried.header));
        if !is_bare(carried.pattern) {
            let groups = group_names(carried.pattern, |variable| *variable == carried.variable);
            lines.extend(matched(&groups, &expression(carried.pattern), &into));
        }
    }
}

fn window(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let Some(window) = scheme.window() else { return };
    let text = identifier(window.variable.name());
    let (unit, limit) = (window.per_second, u64::try_from(window.per_second).unwrap_or(1) * window.seconds);
    let now = if unit == 1 { "now".to_owned() } else { format!("now * {unit}") };
    lines.extend([
        "    now = int(time.time()) if now is None else now".to_owned(),
        format!("    if not {text}.isascii() or not {text}.isdigit() or abs({now} - int({text})) > {limit}:"),
        "        raise ValueError(\"too old, or of the future\")".to_owned(),
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
            Piece::Literal(literal) if literal.chars().all(|one| matches!(one, ' '..='~')) => {
                format!("b{}", quoted(literal))
            }
            Piece::Literal(literal) => format!("{}.encode()", quoted(literal)),
            Piece::Variable(SignedVariable::Body) => "body".to_owned(),
            Piece::Variable(SignedVariable::Query) => "query.encode()".to_owned(),
            Piece::Variable(SignedVariable::Secret) => "key".to_owned(),
            Piece::Variable(SignedVariable::Parameter(parameter)) => {
                format!("parameter(query, {})", quoted(parameter.name()))
            }
            Piece::Variable(SignedVariable::Text(variable)) => text_bytes(*variable),
        })
        .collect();
    parts.join(" + ")
}

fn text_bytes(variable: TextVariable) -> String {
    format!("{}.encode()", identifier(variable.name()))
}

fn comparison(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    let candidates = match &scheme.rule.separator {
        Some(separator) => format!("signatures.split({})[:16]", quoted(separator)),
        None => "[signatures]".to_owned(),
    };
    lines.push(format!("    candidates = {candidates}"));
    let (has_pairs, has_shared) = (scheme.around_pairs().is_some(), scheme.signs_with_shared_secrets());
    let has_secret = scheme.signs(&SignedVariable::Secret);
    if !has_secret {
        lines.push(format!("    message = {}", message(scheme)));
    }
    lines.push("    for secret in secrets:".to_owned());
    let call = "is_signed_by(secret, message, candidates)";
    match (has_pairs, has_shared) {
        (true, true) => lines.extend([
            format!("        if secret.startswith({}):", quoted(&scheme.secret.public_key_prefix)),
            format!("            if {call}:"),
            "                return".to_owned(),
            "            continue".to_owned(),
        ]),
        (true, false) => lines.extend([format!("        if {call}:"), "            return".to_owned()]),
        (false, _) => {}
    }
    if has_shared {
        lines.push(format!("        key = {}", key(scheme)));
        if has_secret {
            lines.push(format!("        message = {}", message(scheme)));
        }
        lines.push(format!("        expected = {}", wrapped(&scheme.around_shared(), signature(scheme))));
        lines.extend(
            [
                "        if any(hmac.compare_digest(candidate.encode(), expected.encode()) for candidate in candidates):",
                "            return",
            ]
            .map(str::to_owned),
        );
    }
    lines.push("    raise ValueError(\"no signature matches\")".to_owned());
}

fn key(scheme: &Scheme<'_>) -> String {
    let digits = format!("secret.removeprefix({})", quoted(&scheme.secret.prefix));
    match scheme.secret.form {
        SecretForm::Text => "secret.encode()".to_owned(),
        SecretForm::Base64 | SecretForm::Ed25519 => format!("base64.b64decode({digits}, validate=True)"),
        SecretForm::Hex => format!("bytes.fromhex({digits})"),
    }
}

fn signature(scheme: &Scheme<'_>) -> String {
    let hash = hash_name(scheme.rule.algorithm).unwrap_or_default();
    let digest = if scheme.rule.algorithm.is_plain_hash() {
        format!("hashlib.{hash}(message)")
    } else {
        format!("hmac.new(key, message, hashlib.{hash})")
    };
    match scheme.rule.encoding {
        SignatureEncoding::Hex => format!("{digest}.hexdigest()"),
        SignatureEncoding::Base64 => format!("base64.b64encode({digest}.digest()).decode()"),
    }
}

/// What `verify` calls.
fn functions(scheme: &Scheme<'_>, lines: &mut Vec<String>) {
    if scheme.rule.query_parameter.is_some() || scheme.signs_parameters() {
        lines.extend(
            [
                "",
                "",
                "def parameter(query, name):",
                "    pairs = [pair.partition(\"=\") for pair in query.split(\"&\")]",
                "    values = [value for key, _, value in pairs if urllib.parse.unquote_plus(key) == name]",
                "    if len(values) != 1:",
                "        raise ValueError(f\"the query has the parameter {name} {len(values)} times\")",
                "    return urllib.parse.unquote_to_bytes(values[0].replace(\"+\", \" \"))",
            ]
            .map(str::to_owned),
        );
    }
    let Some((before, behind)) = scheme.around_pairs() else { return };
    let decode = match scheme.rule.encoding {
        SignatureEncoding::Hex => "bytes.fromhex(text)",
        SignatureEncoding::Base64 => "base64.b64decode(text, validate=True)",
    };
    let mut is_other = format!("not candidate.startswith({})", quoted(&before));
    let mut end = String::new();
    if !behind.is_empty() {
        is_other.push_str(&format!(" or not candidate.endswith({})", quoted(&behind)));
        end = format!(" len(candidate) - {}", behind.len());
    }
    lines.extend(["", "", "def is_signed_by(secret, message, candidates):"].map(str::to_owned));
    lines.extend([
        "    from cryptography.exceptions import InvalidSignature".to_owned(),
        "    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey".to_owned(),
        String::new(),
        format!("    digits = secret.removeprefix({})", quoted(&scheme.secret.public_key_prefix)),
        "    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(digits, validate=True))".to_owned(),
        "    for candidate in candidates:".to_owned(),
        format!("        if {is_other}:"),
        "            continue".to_owned(),
        format!("        text = candidate[{}:{end}]", before.len()),
        "        try:".to_owned(),
        format!("            key.verify({decode}, message)"),
        "            return True".to_owned(),
        "        except (InvalidSignature, ValueError):".to_owned(),
        "            pass".to_owned(),
        "    return False".to_owned(),
    ]);
}
