//! The files that a private broker reads at its start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Knobs, shipped};

/// The name of the `number`th virtual host for tests.
pub fn virtual_host(number: usize) -> String {
    format!("test-{number}")
}

/// Whom a node forms a broker with.
#[derive(Debug, Clone)]
pub enum Membership {
    Alone,
    /// With these nodes, itself among them, all of which know this cookie.
    Among {
        nodes: Vec<String>,
        cookie: String,
    },
}

/// Writes them all into `folder`, for a broker with the virtual host `/` and `virtual_hosts` others.
pub fn write(folder: &Path, knobs: &Knobs, membership: &Membership, virtual_hosts: usize) -> Result<()> {
    let definitions = folder.join("definitions.json");
    let home = folder.join("home");
    std::fs::create_dir(&home)?;
    if let Membership::Among { cookie, .. } = membership {
        let file = home.join(".erlang.cookie");
        std::fs::write(&file, cookie)?;
        // Erlang refuses one that others may read.
        std::fs::set_permissions(&file, Permissions::from_mode(0o400))?;
    }
    std::fs::write(folder.join("enabled_plugins"), "[].\n")?;
    std::fs::write(&definitions, serde_json::to_vec_pretty(&content(virtual_hosts))?)?;
    std::fs::write(folder.join("rabbitmq.conf"), settings(&definitions, knobs, membership)?)?;
    std::fs::write(folder.join("advanced.config"), advanced(knobs))?;
    Ok(())
}

fn settings(definitions: &Path, knobs: &Knobs, membership: &Membership) -> Result<String> {
    let definitions = definitions.to_str().context("the temporary folder's name is not UTF-8")?;
    // The default of 512 MB makes memory swing by as much.
    let small = vec!["raft.wal_max_size_bytes = 64000000".to_owned()];
    let mut lines = if knobs.is_shipped { shipped::settings() } else { small };
    lines.extend([
        // Small machines have little room left; the tests are not about that unless they say so.
        "disk_free_limit.absolute = 50MB".to_owned(),
        format!("load_definitions = {definitions}"),
    ]);
    if let Membership::Among { nodes, .. } = membership {
        lines.push("cluster_formation.peer_discovery_backend = classic_config".to_owned());
        lines.push("cluster_partition_handling = pause_minority".to_owned());
        // How long a silent node counts as there, in seconds; a minute by default.
        lines.push("net_ticktime = 8".to_owned());
        for (number, node) in (1..).zip(nodes) {
            lines.push(format!("cluster_formation.classic_config.nodes.{number} = {node}"));
        }
    }
    lines.extend(knobs.configuration.iter().cloned());
    Ok(lines.join("\n") + "\n")
}

fn advanced(knobs: &Knobs) -> String {
    if knobs.is_shipped {
        return shipped::advanced().to_owned();
    }
    let (prefetch, again) = (knobs.dead_letter_prefetch, knobs.dead_letter_again.as_millis());
    let mut terms = vec![
        format!("{{dead_letter_worker_consumer_prefetch,{prefetch}}}"),
        format!("{{dead_letter_worker_publisher_confirm_timeout,{again}}}"),
    ];
    if let Some(timeout) = knobs.consumer_timeout {
        terms.push(format!("{{consumer_timeout,{}}}", timeout.as_millis()));
        // How often channels look whether it has passed; a minute by default.
        terms.push("{channel_tick_interval,1000}".to_owned());
    }
    format!("[{{rabbit,[{}]}}].\n", terms.join(","))
}

/// A broker that loads definitions makes no default user, so they hold one.
fn content(virtual_hosts: usize) -> Value {
    let names: Vec<String> =
        std::iter::once("/".to_owned()).chain((0..virtual_hosts).map(virtual_host)).collect();
    json!({
        "users": [{
            "name": "guest",
            "password_hash": password_hash("guest"),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": "administrator",
        }],
        "vhosts": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "permissions": names
            .iter()
            .map(|name| json!({ "user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*" }))
            .collect::<Vec<_>>(),
    })
}

/// Base64 of a four-byte salt and the SHA-256 of salt and password. The salt guards nothing here.
fn password_hash(password: &str) -> String {
    let salt = *b"salt";
    let digest = Sha256::digest([salt.as_slice(), password.as_bytes()].concat());
    STANDARD.encode([salt.as_slice(), digest.as_slice()].concat())
}
