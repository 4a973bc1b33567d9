//! What is refused, and in which words; and what each command can do without.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_service::http_server::HttpLimits;

use super::settings::{Purpose, Settings};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn read(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &str)],
    purpose: Purpose,
) -> Result<Settings, String> {
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags: BTreeMap<_, _> = flags.iter().map(|(path, value)| (*path, (*value).to_owned())).collect();
    let file = file.parse().expect("TOML");
    Settings::read(file, variables, flags, purpose).map_err(|error| error.to_string())
}

fn refusal(variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    read("", variables, flags, Purpose::Serve).expect_err("refused")
}

#[test]
fn a_value_that_is_not_right_is_told_what_would_be() {
    let cases: [(&str, &str, &str); 11] = [
        ("egress.allow_networks", "10.0.0.0/40", "\"10.0.0.0/40\" is not a network"),
        ("egress.allow_networks", "10.0.0.0/8,nonsense", "\"nonsense\" is not a network"),
        ("egress.open_ports", "70000", "must be port numbers"),
        ("worker.slots", "0", "must be at least 1 and at most 65535"),
        ("worker.slots", "70000", "must be at least 1 and at most 65535"),
        ("server.max_connections", "0", "must be at least 1"),
        ("worker.slots", "many", "must be a whole number"),
        ("server.listen", "8080", "must be an address and a port, for instance 127.0.0.1:8080"),
        ("server.dev", "yes", "must be true or false"),
        ("server.grace", "soon", "for instance 250ms, 5s"),
        ("log.format", "purple", "must be auto, human or json"),
    ];
    for (path, value, words) in cases {
        let said = refusal(&[], &[(path, value)]);
        assert!(said.contains(words) && said.contains(path), "{path} = {value}: {said}");
        assert!(said.contains("(on the command line)"), "{said}");
    }
}

#[test]
fn lists_and_numbers_can_be_given_as_text() {
    let variables = [("POSTRIDER_EGRESS_OPEN_PORTS", "22, 25"), ("POSTRIDER_EGRESS_PUBLISHED_ADDRESSES", "")];
    let flags = [("egress.allow_networks", "10.0.0.0/8, fd00::/8"), ("worker.slots", "7")];
    let settings = read("", &variables, &flags, Purpose::Serve).expect("right");
    assert_eq!(settings.egress.open_ports, [22, 25]);
    assert_eq!(settings.egress.allow_networks.len(), 2);
    assert!(settings.egress.published_addresses.is_empty());
    assert_eq!(settings.worker.slots.get(), 7);
    let as_in_the_file = [("POSTRIDER_EGRESS_ALLOW_NETWORKS", "[\"10.0.0.0/8\"]")];
    let settings = read("", &as_in_the_file, &[], Purpose::Serve).expect("right");
    assert_eq!(settings.egress.allow_networks.len(), 1);
}

#[test]
fn a_master_key_is_looked_at_with_the_other_settings_and_never_quoted() {
    let said = refusal(
        &[("POSTRIDER_MASTER_KEY", "hunter2"), ("POSTRIDER_NONSENSE", "1")],
        &[("worker.slots", "0")],
    );
    for words in ["security.master_key", "32 bytes", "POSTRIDER_NONSENSE", "worker.slots"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    read("", &[("POSTRIDER_MASTER_KEY", MASTER_KEY)], &[], Purpose::Serve).expect("a master key");
}

#[test]
fn a_command_needs_only_what_it_uses() {
    let queue = [("engine.queue", "amqp://localhost")];
    let store = [("engine.store", "postgres://localhost/x")];
    read("", &[], &queue, Purpose::Topology).expect("the queue is enough");
    read("", &[], &store, Purpose::Migrate).expect("the store is enough");
    let said = read("", &[], &queue, Purpose::Migrate).expect_err("refused");
    assert!(said.contains("engine.store"), "{said}");
    let said = read("", &[], &[queue[0], store[0]], Purpose::Serve).expect_err("refused");
    assert!(said.contains("security.master_key: is required"), "{said}");
    let said =
        read("", &[], &[("engine.queue", "http://localhost")], Purpose::Topology).expect_err("refused");
    assert!(said.contains("amqp://"), "{said}");
}

#[test]
fn requests_are_taken_for_a_while_where_another_process_can_take_over() {
    let cluster = [("engine.queue", "amqp://localhost"), ("engine.store", "postgres://localhost/x")];
    let key = [("POSTRIDER_MASTER_KEY", MASTER_KEY)];
    let delay = |more: &[(&'static str, &str)]| {
        let flags = [&cluster[..], more].concat();
        read("", &key, &flags, Purpose::Serve).expect("right").drain_delay()
    };
    assert_eq!(delay(&[]), Duration::from_secs(10));
    assert_eq!(delay(&[("server.grace", "4s")]), Duration::from_secs(2));
    assert_eq!(delay(&[("server.dev", "true")]), Duration::ZERO);
    assert_eq!(delay(&[("server.dev", "true"), ("server.drain_delay", "3s")]), Duration::from_secs(3));
    assert_eq!(delay(&[("server.roles", "worker,status")]), Duration::ZERO);
    let embedded = read("", &[], &[], Purpose::Serve).expect("defaults");
    assert_eq!(embedded.drain_delay(), Duration::ZERO);
    let said = refusal(&[], &[("server.drain_delay", "30s")]);
    assert!(said.contains("server.drain_delay: must be shorter than server.grace"), "{said}");
}

#[test]
fn the_limit_of_connections_is_the_servers_own() {
    let settings = read("", &[], &[], Purpose::Serve).expect("defaults");
    let limit = usize::try_from(settings.server.max_connections.get()).expect("it fits");
    assert_eq!(limit, HttpLimits::default().connections);
}
