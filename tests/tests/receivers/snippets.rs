//! The verifiers that `profiles verify-snippet` prints say of every vector that `profiles vectors` prints what is written
//! in it: for every built-in profile, and for one of each other kind of signature.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_contract::profile::builtin_profiles;
use postrider_tests::harness::process::Launch;
use postrider_tests::harness::{TempFolder, postrider};
use serde_json::Value;

use super::{Python, folder};

const ENOUGH: Duration = Duration::from_secs(60);

/// What signs in ways that no built-in profile does, by the secret's and the signature's part of the form.
const OTHERS: [(&str, &str, &str); 10] = [
    (
        "hmac-sha512",
        "origin = 'required'\nform = 'base64'\nprefix = 's-'",
        "header = 'X-Sig'\nalgorithm = 'hmac-sha512'\nsigns = '${body}'\nencoding = 'base64'",
    ),
    (
        "hmac-sha1",
        "origin = 'required'\nform = 'hex'",
        "header = 'X-Sig'\nalgorithm = 'hmac-sha1'\nsigns = '${body}'\nencoding = 'hex'\neach = 'sha1=${signature}'",
    ),
    (
        "plain-sha256",
        "origin = 'required'",
        "header = 'X-Sig'\nalgorithm = 'sha256'\nsigns = '${secret}${body}'\nencoding = 'hex'",
    ),
    (
        "plain-sha512",
        "origin = 'required'",
        "header = 'X-Sig'\nalgorithm = 'sha512'\nsigns = '${body}|${secret}'\nencoding = 'base64'",
    ),
    (
        "plain-sha1",
        "origin = 'required'",
        "header = 'X-Sig'\nalgorithm = 'sha1'\nsigns = '${body}${secret}'\nencoding = 'hex'",
    ),
    (
        "md5-over-fields",
        "origin = 'required'",
        "query_parameter = 'sig'\nalgorithm = 'md5'\nsigns = '${query.click_id}:${query.payout}:${secret}'\nencoding = 'hex'",
    ),
    (
        "query-over-query",
        "origin = 'required'",
        "query_parameter = 'hash'\nsigns = '${timestamp_ms}\u{fc}\"${query}#${body}'\nencoding = 'base64'\neach = '(${signature})'\nseparator = ' '\nvalue = 'at [${timestamp_ms}] ${signatures}'\nreplay_window = '1m'",
    ),
    (
        "ed25519",
        "origin = 'generated'\nform = 'ed25519'\nprefix = 'sk_'\npublic_key_prefix = 'pk_'",
        "header = 'X-Sig'\nalgorithm = 'ed25519'\nsigns = '${event.id}${timestamp}${body}'\nencoding = 'hex'\nreplay_window = '5m'",
    ),
    (
        "carried",
        "origin = 'required'",
        "header = 'X-Sig'\nsigns = '${delivery.id}.${attempt.number}.${body}'\nencoding = 'hex'",
    ),
    (
        "twice",
        "origin = 'required'",
        "header = 'X-Sig'\nsigns = '${timestamp}.${webhook.id}.${body}'\nencoding = 'hex'\nvalue = 't=${timestamp};x=${timestamp};${signatures}'\nreplay_window = '5m'",
    ),
];

fn form(name: &str, secret: &str, signature: &str) -> String {
    let headers = "[{ name = 'X-Id', value = '${event.id}' }, { name = 'X-Time', value = '${timestamp}' }, \
                   { name = 'X-Try', value = 'try ${attempt.number} of (${delivery.id}).' }, \
                   { name = 'X-Twice', value = '${webhook.id}/${webhook.id}' }]";
    format!(
        "name = '{name}'\n[request]\nheaders = {headers}\n[envelope]\nbody = '${{event.data}}'\n[retry]\nwaits = []\n\
         [secret]\n{secret}\n[signature]\n{signature}\n"
    )
}

/// The argument by which each profile is named: itself, or a file in `folder`.
fn profiles(folder: &Path) -> Result<Vec<String>> {
    let mut profiles: Vec<String> =
        builtin_profiles().iter().map(|profile| profile.name().to_string()).collect();
    for (name, secret, signature) in OTHERS {
        let path = folder.join(format!("{name}.toml"));
        std::fs::write(&path, form(name, secret, signature))?;
        profiles.push(path.display().to_string());
    }
    Ok(profiles)
}

/// Everything that a run in one language needs, in one folder: `NAME.EXTENSION` and `NAME.json` for each profile.
async fn written(language: &str, extension: &str) -> Result<(TempFolder, Vec<String>)> {
    let folder = TempFolder::new("snippets")?;
    let mut names = Vec::new();
    for profile in profiles(folder.path())? {
        let vectors =
            postrider::run(&["profiles", "vectors", &profile], &[], b"").await?.require_success()?;
        let name = serde_json::from_str::<Value>(&vectors)?["profile"].as_str().context("a name")?.to_owned();
        let arguments = ["profiles", "verify-snippet", &profile, "--lang", language];
        let snippet = postrider::run(&arguments, &[], b"").await?.require_success()?;
        std::fs::write(folder.join(&format!("{name}.{extension}")), snippet)?;
        std::fs::write(folder.join(&format!("{name}.json")), vectors)?;
        names.push(name);
    }
    Ok((folder, names))
}

/// The runner reads `NAME.json`, asks the snippet about each vector, and prints `NAME VECTOR true|false` for each.
async fn is_right(interpreter: &Path, script: &str, language: &str, extension: &str) -> Result<()> {
    let (work, names) = written(language, extension).await?;
    let launch = Launch::new("judging", interpreter, work.path())
        .arg(folder().join(script))
        .args(&names)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .errors_to(work.join("judging.err"));
    launch.run(ENOUGH).await?;
    let said = std::fs::read_to_string(launch.output())?;
    let mut expected = Vec::new();
    for name in &names {
        let document: Value =
            serde_json::from_str(&std::fs::read_to_string(work.join(&format!("{name}.json")))?)?;
        for vector in document["vectors"].as_array().context("vectors")? {
            expected.push(format!(
                "{name} {} {}",
                vector["name"].as_str().context("a name")?,
                vector["valid"]
            ));
        }
    }
    ensure!(
        expected.iter().any(|line| line.ends_with("true"))
            && expected.iter().any(|line| line.ends_with("false"))
    );
    ensure!(expected.contains(&"md5-over-fields parameter_twice false".to_owned()), "{expected:?}");
    let said: Vec<&str> = said.lines().collect();
    ensure!(
        said == expected,
        "the snippets say\n{}\nand the vectors\n{}",
        said.join("\n"),
        expected.join("\n")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verifiers_in_python_judge_every_vector_as_it_says() -> Result<()> {
    let interpreter = Python::interpreter_with_packages().await?;
    is_right(&interpreter, "judge_vectors.py", "python", "py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verifiers_in_javascript_judge_every_vector_as_it_says() -> Result<()> {
    let found = std::process::Command::new("node").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        // Written by hand, so that it is seen although the test passes.
        eprintln!("NOT TESTED: there is no node here, so the verifiers in JavaScript were not run");
        return Ok(());
    }
    is_right(Path::new("node"), "judge_vectors.js", "node", "js").await
}
