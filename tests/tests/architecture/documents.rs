//! Documents tell the truth: what they name is there.

use std::collections::BTreeSet;

use postrider_service::problem::Code;
use postrider_tests::harness::postrider;

use super::tree::{TextFile, assert_none, files_ending, read, root, rust_files};

/// Pages about what a program says when it does not start begin so; all others are about answers of the API.
const START: &str = "start-";

#[test]
fn every_refusal_has_a_page_and_every_page_a_refusal() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    let pages: BTreeSet<String> = error_pages()
        .iter()
        .map(|page| page.stem().to_owned())
        .filter(|stem| stem != "README" && !stem.starts_with(START))
        .collect();
    assert_eq!(pages, codes);
    let mut violations = Vec::new();
    for code in Code::ALL {
        let text = read(&format!("docs/errors/{code}.md"));
        let heading = format!("# {} (`{code}`, {})", code.title(), code.status().as_u16());
        if text.lines().next() != Some(heading.as_str()) {
            violations.push(format!("{code}.md does not begin with {heading:?}"));
        }
    }
    assert_none("a page says which answer it explains", &violations);
}

#[test]
fn the_list_of_errors_is_complete() {
    let list = read("docs/errors/README.md");
    let pages = error_pages().into_iter().filter(|page| page.stem() != "README");
    let missing = pages.filter(|page| !list.contains(&format!("]({}.md)", page.stem())));
    assert_none("each page stands in the list", &missing.map(|page| page.path).collect::<Vec<_>>());
}

#[test]
fn pages_about_starting_quote_what_is_really_said() {
    let code: String =
        rust_files("crates/").iter().map(|file| joined_literals(file.product_code())).collect();
    let mut violations = Vec::new();
    for page in error_pages().into_iter().filter(|page| page.stem().starts_with(START)) {
        let quotes: Vec<&str> = page.text.lines().filter_map(|line| line.strip_prefix("> ")).collect();
        if quotes.is_empty() {
            violations.push(format!("{} quotes nothing", page.path));
        }
        for part in
            quotes.iter().flat_map(|quote| quote.split('…')).map(str::trim).filter(|part| part.len() > 3)
        {
            if !code.contains(part) {
                violations.push(format!("{} quotes {part:?}, which no code says", page.path));
            }
        }
    }
    assert_none("an operator finds the page by the words on the screen", &violations);
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let code: String = files_ending(&[".rs"]).iter().map(|file| file.text.as_str()).collect();
    let table = read("docs/rabbitmq.md");
    let cells =
        table.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 30, "the table is read: {names:?}");
    let missing = names.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).map(str::to_owned);
    assert_none("what is said to be tested is tested", &missing.collect::<Vec<_>>());
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut violations = Vec::new();
    for page in files_ending(&[".md"]) {
        let folder = root().join(&page.path).parent().expect("a file is in a folder").to_owned();
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let is_elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !is_elsewhere && !folder.join(path).exists() {
                violations.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert_none("a link leads somewhere", &violations);
}

#[test]
fn metrics_in_documents_exist() {
    let sources: String =
        rust_files("crates/service/src/metrics").iter().map(|file| file.text.clone()).collect();
    let mut violations = Vec::new();
    for page in files_ending(&[".md", ".yml", ".yaml"]) {
        for word in page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let Some(name) = word.strip_prefix("postrider_") else { continue };
            let base =
                ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let is_crate = root().join("crates").join(name.replace('_', "-")).exists();
            if !is_crate && !sources.contains(&format!("\"{base}\"")) {
                violations.push(format!("{}: {word}", page.path));
            }
        }
    }
    assert_none("a metric that is named is there", &violations);
}

#[test]
fn the_reference_of_profiles_names_every_member_and_every_variable() {
    use postrider_contract::pattern::Variable;
    use postrider_contract::rendering::EnvelopeVariable;
    use postrider_contract::signature::{EachVariable, SignedVariable, ValueVariable};
    let page = read("docs/profiles.md");
    let mut expected = Vec::new();
    members(&postrider_contract::profile::profile_schema(), "", &mut expected);
    assert!(expected.len() >= 40, "{expected:?}");
    fn named<V: Variable>() -> Vec<String> {
        let families = V::families().iter().map(|family| family.name.to_owned());
        V::all().iter().map(|variable| variable.name().to_owned()).chain(families).collect()
    }
    let names = [
        named::<EnvelopeVariable>(),
        named::<SignedVariable>(),
        named::<ValueVariable>(),
        named::<EachVariable>(),
    ];
    let variables = names.concat().into_iter().map(|name| format!("`${{{name}}}`"));
    expected.extend(variables);
    let missing = expected.into_iter().filter(|word| !page.contains(word.as_str()));
    assert_none("docs/profiles.md explains the whole form", &missing.collect::<Vec<_>>());
}

/// Every member that has no members of its own, as the page writes it: `request.headers[].name`.
fn members(schema: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.push(format!("`{}`", at.trim_start_matches('.')));
        return;
    };
    for (name, member) in properties {
        members(member, &format!("{at}.{name}"), found);
        if member["items"]["properties"].is_object() {
            members(&member["items"], &format!("{at}.{name}[]"), found);
        }
    }
}

#[test]
fn the_changelog_has_a_place_for_what_is_new() {
    assert!(read("CHANGELOG.md").contains("## [Unreleased]"));
}

#[test]
fn targets_in_documents_are_in_the_makefile() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut violations = Vec::new();
    for (page, line) in command_lines() {
        let Some(arguments) = line.strip_prefix("make ") else { continue };
        let target = arguments.split_whitespace().next().unwrap_or_default();
        if !targets.contains(target) {
            violations.push(format!("{page}: {line}"));
        }
    }
    assert_none("a target that is named is there", &violations);
}

#[tokio::test]
async fn commands_in_documents_are_understood() {
    let mut violations = Vec::new();
    for (page, line) in command_lines() {
        let Some(arguments) = postrider_arguments(&line) else { continue };
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let is_name =
            |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
        let verbs: Vec<&str> = words.iter().take(2).take_while(is_name).copied().collect();
        let Some(help) = help_of(&verbs).await else {
            violations.push(format!("{page}: no such command: {line}"));
            continue;
        };
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().unwrap_or_default().trim_end_matches(['`', ')', ',']);
            if !help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == flag) {
                violations.push(format!("{page}: {flag} is not a flag: {line}"));
            }
        }
    }
    assert_none("a command that is shown can be pasted", &violations);
}

/// What the program says of `verbs`; of the first alone where the second is an argument.
async fn help_of(verbs: &[&str]) -> Option<String> {
    for count in (1..=verbs.len()).rev() {
        let arguments = [&verbs[..count], &["--help"]].concat();
        // A word that is an argument, not a command, is refused or taken: only the command's own help names it.
        let output = postrider::run(&arguments, &[], b"").await.expect("the program runs");
        let usage = format!("Usage: {} {}", program_name(&output.stdout), verbs[..count].join(" "));
        if output.status.success() && output.stdout.contains(&usage) {
            return Some(output.stdout);
        }
    }
    None
}

/// As the program calls itself in its own help.
fn program_name(help: &str) -> String {
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or_default();
    usage.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The arguments of a line that runs the program, be it within `$(…)`.
fn postrider_arguments(line: &str) -> Option<String> {
    let at = if line.starts_with("postrider ") { 0 } else { line.find("$(postrider ")? + 2 };
    let arguments = line[at..].strip_prefix("postrider ")?;
    Some(arguments.split([')', '|', '#', ';']).next().unwrap_or_default().trim().to_owned())
}

/// Every line of every block of shell commands, continued lines joined, with the page's path.
fn command_lines() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for page in files_ending(&[".md"]) {
        let mut is_shell = false;
        let mut begun = String::new();
        for line in page.text.lines() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                is_shell = language == "sh";
                continue;
            }
            if !is_shell {
                continue;
            }
            begun.push_str(line.trim());
            match begun.strip_suffix('\\') {
                Some(more) => begun = more.to_owned(),
                None => lines.push((page.path.clone(), std::mem::take(&mut begun))),
            }
        }
    }
    assert!(lines.iter().any(|(page, _)| page == "README.md"), "the README shows no commands");
    lines
}

fn error_pages() -> Vec<TextFile> {
    files_ending(&[".md"]).into_iter().filter(|page| page.path.starts_with("docs/errors/")).collect()
}

/// The code with string literals that are broken over lines put together again.
fn joined_literals(code: &str) -> String {
    let mut joined = String::new();
    let mut continues = false;
    for line in code.lines() {
        let text = if continues { line.trim_start() } else { line };
        continues = text.ends_with('\\');
        joined.push_str(text.strip_suffix('\\').unwrap_or(text));
        if !continues {
            joined.push('\n');
        }
    }
    joined
}

#[test]
fn every_metric_in_an_alert_rule_is_explained() {
    let (rules, manual) = (read("deploy/prometheus/postrider.rules.yml"), read("docs/operations.md"));
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let names: BTreeSet<&str> =
        rules.split(|letter| !is_name(letter)).filter(|name| name.starts_with("postrider_")).collect();
    assert!(!names.is_empty());
    let missing = names.into_iter().filter(|name| !manual.contains(&format!("`{name}"))).map(str::to_owned);
    assert_none("the manual says what an alert is about", &missing.collect::<Vec<_>>());
}
