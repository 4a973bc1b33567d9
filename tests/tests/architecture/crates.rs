//! The crate graph has no cycles and no short cuts, and each library has one owner.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{assert_none, files_ending, rust_files};

const ADAPTERS: [&str; 3] = ["rabbitmq", "postgres", "sqlite"];
const ROLES: [&str; 4] = ["ingest", "delivery-worker", "status", "manage"];

/// Libraries that one crate alone may name. The tests' harness stands outside of the product.
const OWNED: [(&str, &str); 5] = [
    ("lapin", "rabbitmq"),
    ("tokio-postgres", "postgres"),
    ("deadpool-postgres", "postgres"),
    ("tokio-postgres-rustls", "postgres"),
    ("rusqlite", "sqlite"),
];

/// What would give the contract a runtime, a clock, chance or IO of its own.
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio-util",
    "hyper",
    "hyper-util",
    "axum",
    "reqwest",
    "getrandom",
    "rand",
    "tracing",
    "futures-util",
];

struct Manifest {
    /// Without `postrider-`.
    name: String,
    ours: BTreeSet<String>,
    others: BTreeSet<String>,
}

fn manifests() -> Vec<Manifest> {
    let files = files_ending(&["/Cargo.toml"]);
    let crates = files.iter().filter(|file| file.path.starts_with("crates/"));
    crates
        .map(|file| {
            let table: toml::Table = file.text.parse().expect("a manifest is TOML");
            let name = table["package"]["name"].as_str().expect("a package has a name");
            let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
            let sections = sections.iter().filter_map(|section| table.get(*section)?.as_table());
            let names = sections.flat_map(|section| section.keys().cloned());
            let (ours, others): (BTreeSet<_>, BTreeSet<_>) =
                names.partition(|name| name.starts_with("postrider-"));
            let short = |name: &str| name.trim_start_matches("postrider-").to_owned();
            Manifest { name: short(name), ours: ours.iter().map(|name| short(name)).collect(), others }
        })
        .collect()
}

/// Who may know whom.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut allowed = BTreeMap::from([("contract", vec![]), ("service", vec!["contract"])]);
    allowed.extend(ADAPTERS.map(|adapter| (adapter, vec!["contract"])));
    allowed.extend(ROLES.map(|role| (role, vec!["contract", "service"])));
    let everyone = [&["contract", "service"][..], &ADAPTERS, &ROLES].concat();
    allowed.insert("cli", everyone);
    allowed
}

#[test]
fn a_crate_knows_only_those_it_may_know() {
    let allowed = allowed();
    let manifests = manifests();
    let names: BTreeSet<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "a crate came or went: say here whom it may know");
    let mut violations = Vec::new();
    for manifest in &manifests {
        let known =
            manifest.ours.iter().filter(|other| !allowed[manifest.name.as_str()].contains(&other.as_str()));
        violations.extend(known.map(|other| format!("{} depends on {other}", manifest.name)));
    }
    assert_none("the crate graph has no short cuts", &violations);
}

#[test]
fn each_library_has_one_owner() {
    let mut violations = Vec::new();
    for manifest in manifests() {
        for (library, owner) in OWNED {
            if manifest.others.contains(library) && manifest.name != owner {
                violations.push(format!("{} depends on {library}, which is {owner}'s alone", manifest.name));
            }
        }
    }
    assert_none("an engine's library is named by its adapter alone", &violations);
}

#[test]
fn the_contract_is_pure() {
    let mut violations = Vec::new();
    let contract =
        manifests().into_iter().find(|manifest| manifest.name == "contract").expect("there is one");
    violations.extend(contract.others.iter().filter(|name| IMPURE.contains(&name.as_str())).cloned());
    let words =
        ["SystemTime", "Instant::now", "std::fs::", "std::env::", "TcpStream", "UdpSocket", "std::process"];
    for file in rust_files("crates/contract/src/") {
        let code = without_comments(file.product_code());
        violations.extend(
            words.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: {word}", file.path)),
        );
    }
    assert_none("the contract has no IO, no runtime, no clock and no chance of its own", &violations);
}

#[test]
fn only_the_assembly_names_adapters() {
    let mut violations = Vec::new();
    for file in rust_files("crates/cli/src/") {
        let is_assembly = file.path.starts_with("crates/cli/src/assemble");
        for adapter in ADAPTERS.map(|name| format!("postrider_{name}::")) {
            if !is_assembly && without_comments(&file.text).contains(&adapter) {
                violations.push(format!("{} names {adapter}", file.path));
            }
        }
    }
    assert_none("cli/src/assemble is the only place that names adapters", &violations);
}

#[test]
fn only_the_delivery_worker_calls_customers() {
    // The command line is a client of Postrider's own API; the harness is not part of the product.
    let may = ["crates/delivery-worker/", "crates/cli/src/client", "crates/cli/src/bench"];
    let names = ["hyper::client", "hyper_util::client", "reqwest::"];
    let mut violations = Vec::new();
    for file in rust_files("crates/") {
        let is_client = names.iter().any(|name| without_comments(file.product_code()).contains(name));
        if is_client && !may.iter().any(|place| file.path.starts_with(place)) {
            violations.push(file.path);
        }
    }
    assert_none("only the delivery worker sends requests to customers", &violations);
}

/// The code with whole-line comments left out.
fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
