//! What a source file may be called, how long it may be, and what it may not hold.

use std::collections::{BTreeMap, BTreeSet};

use postrider_contract::profile::builtin_profiles;

use super::tree::{all_files, assert_none, files_ending, rust_files};

const LONGEST_FILE: usize = 500;

/// Names that say nothing of what is inside.
const NAMES_OF_NOTHING: [&str; 10] =
    ["util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "managers", "shared_types"];

/// Where the name of a built-in profile may stand in code, and why.
const NAMED_PROFILES: [(&str, &str); 2] = [
    ("crates/contract/src/profile/name.rs", "the default of a tenant that chose none"),
    (
        "crates/contract/src/catalogue/builtin.rs",
        "the table of built-in catalogues, found by the name a profile gives",
    ),
];

/// Where test code may let time pass, and why.
const WAITING: [(&str, &str); 5] = [
    ("tests/src/harness/", "waits with a deadline in one place; its receiver is slow on purpose"),
    ("tests/src/conformance.rs", "asks again until it is so, with a deadline"),
    ("tests/tests/conformance/rabbitmq/broker.rs", "asks a broker that announces nothing, with a deadline"),
    ("tests/src/simulation/", "its clock stands still and is moved when nothing else can happen"),
    ("crates/delivery-worker/src/client/tests/receiver.rs", "a receiver that drips on purpose"),
];

/// What starts a server that must be installed first.
const NEEDS_SERVERS: [&str; 6] = [
    "shared_rabbitmq()",
    "shared_postgres()",
    "RabbitMq::start",
    "RabbitMqCluster::start",
    "Postgres::start",
    "ServerOptions::cluster(",
];
/// By these words in a test's path `make test-embedded` leaves it out.
const SERVER_MODULES: [&str; 5] = ["rabbitmq", "postgres", "amqp", "servers", "cluster"];

#[test]
fn a_file_is_at_most_500_lines() {
    // What a generator writes is as long as its input.
    let files = files_ending(&[".rs"]).into_iter().filter(|file| file.stem() != "generated");
    let long =
        files.map(|file| (file.text.lines().count(), file.path)).filter(|(lines, _)| *lines > LONGEST_FILE);
    let violations: Vec<_> = long.map(|(lines, path)| format!("{path}: {lines} lines")).collect();
    assert_none("a file is one idea", &violations);
}

#[test]
fn a_file_is_named_for_its_idea() {
    let violations: Vec<_> = files_ending(&[".rs"])
        .into_iter()
        .filter(|file| file.path.split(['/', '.']).any(|part| NAMES_OF_NOTHING.contains(&part)))
        .map(|file| file.path)
        .collect();
    assert_none("a name says what is inside", &violations);
}

#[test]
fn exceptions_are_expected_never_allowed() {
    let words = [
        concat!("#[", "allow("),
        concat!("#![", "allow("),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
    ];
    assert_none("exceptions say why they are there", &lines_with(&words, |_| true));
}

#[test]
fn no_work_is_left_as_a_note() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    assert_none("what is not done is an issue, not a comment", &lines_with(&words, |_| true));
}

#[test]
fn no_test_waits_by_the_clock() {
    let mut violations = Vec::new();
    for file in rust_files("") {
        let may_wait = WAITING.iter().any(|(place, _)| file.path.starts_with(place));
        if may_wait || file.path.starts_with("tests/tests/architecture") {
            continue;
        }
        let code = file.test_code();
        // A clock that stands still until it is moved makes no test wait.
        if code.contains("sleep(") && !code.contains("start_paused") {
            violations.push(file.path.clone());
        }
        violations.extend(sleepers(code).into_iter().map(|test| format!("{}: {test}", file.path)));
    }
    assert_none("tests wait for signals, with a deadline", &violations);
}

/// The tests that let time pass in their own bodies, though their clock goes on by itself.
fn sleepers(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let attribute = line.trim_start();
        if attribute != "#[test]" && !attribute.starts_with("#[tokio::test") {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - attribute.len()]);
        let test: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        if !attribute.contains("start_paused") && test.iter().any(|line| line.contains("sleep(")) {
            found.extend(test.into_iter().find(|line| line.contains("fn ")).map(str::trim));
        }
    }
    found
}

#[test]
fn a_test_that_sleeps_is_found_among_others_that_may() {
    let test = |attribute: &str, name: &str, body: &str| {
        format!("    #[tokio::test{attribute}]\n    async fn {name}() {{\n        {body};\n    }}\n\n")
    };
    let paused = test("(start_paused = true)", "paused", "sleep(A_WHILE)");
    let quick = test("", "quick", "look()");
    let waits = test("", "waits", "if late() {\n            sleep(A_WHILE)\n        }");
    assert_eq!(sleepers(&format!("{paused}{quick}fn helps() {{\n    sleep(A_WHILE)\n}}")), [""; 0]);
    assert_eq!(sleepers(&format!("{paused}{waits}{quick}")), ["async fn waits() {"]);
}

#[test]
fn every_failpoint_is_named_by_a_fault_test() {
    let tests: String = rust_files("tests/tests/fault").iter().map(|file| file.text.as_str()).collect();
    let product = rust_files("crates");
    let places = product.iter().flat_map(|file| file.product_code().split("hit(\"").skip(1));
    let places: BTreeSet<&str> = places.filter_map(|rest| rest.split('"').next()).collect();
    assert!(places.len() > 30, "found only {places:?}");
    let unmet: Vec<_> = places.into_iter().filter(|place| !tests.contains(place)).collect();
    assert!(unmet.is_empty(), "no fault test names {unmet:?}");
}

#[test]
fn no_code_knows_a_profile_by_name() {
    let mut violations = Vec::new();
    for file in rust_files("crates/") {
        if NAMED_PROFILES.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for (number, line) in file.product_code().lines().enumerate() {
            let is_code = !line.trim_start().starts_with("//") && !line.trim_start().starts_with("#[");
            let names = |profile: &str| line.contains(&format!("\"{profile}\""));
            if is_code && builtin_profiles().iter().any(|profile| names(profile.name().as_str())) {
                violations.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("a delivery contract is data, never an `if`", &violations);
}

/// The API's description knows a schema by this name alone: of two, one would be lost.
#[test]
fn what_the_api_shows_has_a_name_of_its_own() {
    let mut places = BTreeMap::new();
    let mut violations = Vec::new();
    for file in rust_files("crates/") {
        let mut lines = file.product_code().lines();
        while let Some(line) = lines.next() {
            if !(line.contains("derive(") && line.contains("ToSchema")) {
                continue;
            }
            let Some(name) = lines.by_ref().find_map(declared_name) else { continue };
            if let Some(other) = places.insert(name.to_owned(), file.path.clone()) {
                violations.push(format!("{name}: {other} and {}", file.path));
            }
        }
    }
    assert!(places.contains_key("WebhookView"), "no schema is found");
    assert_none("a schema of the API has a name of its own", &violations);
}

fn declared_name(line: &str) -> Option<&str> {
    let after = ["struct ", "enum "].into_iter().find_map(|word| line.split_once(word))?.1;
    after.split(|character: char| !character.is_alphanumeric() && character != '_').next()
}

#[test]
fn tests_that_need_servers_can_be_left_out_by_name() {
    let mut violations = Vec::new();
    for file in rust_files("tests/tests/") {
        let is_named = file.path.split(['/', '.', '_']).any(|part| SERVER_MODULES.contains(&part));
        if is_named || file.path.starts_with("tests/tests/architecture") {
            continue;
        }
        let modules = SERVER_MODULES.map(|name| format!("mod {name} {{"));
        let needs = NEEDS_SERVERS.iter().any(|word| file.text.contains(word));
        if needs && !modules.iter().any(|module| file.text.contains(module)) {
            violations.push(file.path);
        }
    }
    let rule = "a test that needs RabbitMQ or PostgreSQL has rabbitmq, postgres, amqp, servers or cluster in its path";
    assert_none(rule, &violations);
}

#[test]
fn the_repository_knows_no_machine() {
    let words = ["work", "tmp", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut violations = Vec::new();
    for file in all_files() {
        for (number, line) in file.text.lines().enumerate() {
            let found = words.iter().find(|word| names_a_place(line, word));
            violations.extend(found.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    assert_none("no path of anyone's machine", &violations);
}

/// Whether a path begins there: not so where a host name stands before it.
fn names_a_place(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"})_-.$*".contains(before))
    })
}

fn lines_with(words: &[&str], concerns: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files("").into_iter().filter(|file| concerns(&file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            let word = words.iter().find(|word| line.contains(**word));
            found.extend(word.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    found
}
