//! One URL for a broker of several nodes: `amqp://user:password@one:5672,two:5672,three/vhost`.
//!
//! Everything but host and port is the same for all of them.

use lapin::uri::AMQPUri;

/// The nodes of a URL, in its order; at least one.
///
/// # Errors
/// What is wrong with it, without the URL, which holds a password.
pub(crate) fn parse_nodes(url: &str) -> Result<Vec<AMQPUri>, String> {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..].find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
    // A password may hold commas, and what is before the last `@` is no host.
    let hosts_begin = url[after_scheme..end].rfind('@').map_or(after_scheme, |at| after_scheme + at + 1);
    let (before, hosts, after) = (&url[..hosts_begin], &url[hosts_begin..end], &url[end..]);
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > 1 && hosts.iter().any(|host| host.is_empty()) {
        return Err("a host is missing between two commas".to_owned());
    }
    hosts.into_iter().map(|host| parse_node(&format!("{before}{host}{after}"), host)).collect()
}

fn parse_node(url: &str, host: &str) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.parse()?;
    // The parser takes an IPv6 address for no host at all, and no host for this machine.
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        address.clone_into(&mut uri.authority.host);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<(String, u16)> {
        let nodes = parse_nodes(url).expect(url);
        nodes.into_iter().map(|uri| (uri.authority.host, uri.authority.port)).collect()
    }

    #[test]
    fn one_host_is_a_url_like_any_other() {
        assert_eq!(addresses("amqp://user:password@broker/shop"), [("broker".to_owned(), 5672)]);
        assert_eq!(addresses("amqps://broker:5999"), [("broker".to_owned(), 5999)]);
    }

    #[test]
    fn several_hosts_share_user_password_virtual_host_and_query() {
        let nodes = parse_nodes("amqp://user:pa,ss@one:5001,two,[::1]:5003/shop?heartbeat=7").expect("nodes");
        let seen: Vec<_> =
            nodes.iter().map(|uri| (uri.authority.host.as_str(), uri.authority.port)).collect();
        assert_eq!(seen, [("one", 5001), ("two", 5672), ("::1", 5003)]);
        for uri in &nodes {
            assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), ("shop", Some(7)));
            assert_eq!(uri.authority.userinfo.password, "pa,ss");
        }
    }

    #[test]
    fn a_missing_host_is_refused_without_telling_the_password() {
        for url in
            ["amqp://user:s3cret@one,,two/shop", "amqp://user:s3cret@one,/shop", "amqp://one,,two", "one,two"]
        {
            let problem = parse_nodes(url).expect_err(url);
            assert!(!problem.contains("s3cret"), "{problem}");
        }
    }
}
