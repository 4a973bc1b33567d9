//! What holds of every refusal, whatever was wrong.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postrider::{ADMIN_KEY, MASTER_KEY};

use super::wire::Reply;

/// Words of the inside: of a panic, of a statement, of a path, of a library.
const INSIDE: [&str; 20] = [
    "panicked",
    "backtrace",
    ".rs:",
    "src/",
    "thread '",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "sqlite",
    "rusqlite",
    "SQLSTATE",
    "lapin",
    "tokio",
    "os error",
    "/root",
    "/home",
    "/tmp",
    "/usr",
    "queue.db",
    "core::",
];

/// `application/problem+json` with a stable code, the field where a field is wrong, and nothing from inside.
pub fn check_refusal(reply: &Reply) -> Result<()> {
    ensure!((400..500).contains(&reply.status) || reply.status == 503, "not a refusal: {reply}");
    let kind = reply.header("content-type").with_context(|| format!("no content type: {reply}"))?;
    ensure!(kind == "application/problem+json", "not a problem: {reply}");
    let body = reply.json()?;
    ensure!(body["status"] == reply.status, "another status in the body: {reply}");
    for member in ["type", "title", "detail", "code"] {
        ensure!(body[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {reply}");
    }
    if reply.status == 422 && body["code"] == "invalid_request" {
        let errors = body["errors"].as_array().with_context(|| format!("no errors: {reply}"))?;
        ensure!(!errors.is_empty(), "no field is named: {reply}");
        for error in errors {
            let pointer = error["pointer"].as_str().with_context(|| format!("no pointer: {reply}"))?;
            ensure!(pointer.is_empty() || pointer.starts_with('/'), "not a JSON pointer: {reply}");
            ensure!(error["detail"].as_str().is_some_and(|text| !text.is_empty()), "no detail: {reply}");
        }
    }
    if reply.status == 405 {
        ensure!(reply.header("allow").is_some_and(|allow| !allow.is_empty()), "405 without Allow: {reply}");
    }
    if reply.status == 401 {
        ensure!(reply.header("www-authenticate").is_some(), "401 without WWW-Authenticate: {reply}");
    }
    check_no_inside(reply)
}

/// No answer tells of the inside, or holds a key.
pub fn check_no_inside(reply: &Reply) -> Result<()> {
    let text = String::from_utf8_lossy(&reply.body);
    for word in INSIDE.into_iter().chain([ADMIN_KEY, MASTER_KEY]) {
        ensure!(!text.contains(word), "tells {word:?}: {reply}");
    }
    Ok(())
}

/// The resident memory of a process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("not a number of kB")?;
    Ok(kibibytes * 1024)
}
