use super::*;

const FORM: &str = "
name = 'own'
[request]
headers = [{ name = 'X-Time', value = '${timestamp}' }]
[envelope]
body = '${event.data}'
[retry]
waits = []
[secret]
origin = 'optional'
[signature]
encoding = 'hex'
";

/// What is wrong with a profile of this secret and this signature; `None` if nothing is.
fn refusal(secret: &str, signature: &str) -> Option<(String, String)> {
    let text = FORM.replace("origin = 'optional'", &format!("origin = 'optional'\n{secret}")) + signature;
    let refused = Profile::from_toml(&text).and_then(Profile::compile).err()?;
    Some((refused.pointer().to_owned(), refused.detail))
}

#[test]
fn what_receivers_could_not_verify_is_refused_by_its_place() {
    for (signature, pointer, part) in [
        ("signs = '${body}'", "/signature/header", "missing"),
        (
            "header = 'X-Sig'\nquery_parameter = 'sig'\nsigns = '${body}'",
            "/signature/query_parameter",
            "one place",
        ),
        (
            "query_parameter = 'sig'\nheader_configurable = true\nsigns = '${body}'",
            "/signature/header_configurable",
            "in the query",
        ),
        ("header = 'X-Time'\nsigns = '${body}'", "/signature/header", "among request.headers"),
        ("query_parameter = 'a b'\nsigns = '${body}'", "/signature/query_parameter", "letters"),
        ("query_parameter = ''\nsigns = '${body}'", "/signature/query_parameter", "letters"),
        ("header = 'X-Sig'\nsigns = '${timestamp}'", "/signature/signs", "${query.NAME}"),
        ("header = 'X-Sig'\nsigns = '${body}${body}'", "/signature/signs", "once each"),
        ("header = 'X-Sig'\nsigns = '${query}${query}'", "/signature/signs", "once each"),
        ("header = 'X-Sig'\nsigns = '${body}${event.id}'", "/signature/signs", "no header carries event.id"),
        ("header = 'X-Sig'\nsigns = '${body}${secret}'", "/signature/signs", "plain hash alone"),
        ("header = 'X-Sig'\nalgorithm = 'md5'\nsigns = '${body}'", "/signature/signs", "exactly once"),
        (
            "header = 'X-Sig'\nalgorithm = 'sha1'\nsigns = '${secret}${body}${secret}'",
            "/signature/signs",
            "exactly once",
        ),
        ("query_parameter = 'sig'\nsigns = '${body}${query.sig}'", "/signature/signs", "itself stands there"),
        ("header = 'X-Sig'\nsigns = '${body}${query.}'", "/signature/signs", "position 7"),
        ("header = 'X-Sig'\nsigns = '${body}${query.a b}'", "/signature/signs", "query.NAME"),
        (
            "header = 'X-Sig'\nsigns = '${body}'\nreplay_window = '5m'",
            "/signature/replay_window",
            "signed timestamp",
        ),
        (
            "header = 'X-Sig'\nsigns = '${body}'\nalgorithm = 'rot13'",
            "/signature/algorithm",
            "unknown variant",
        ),
    ] {
        let (found, detail) = refusal("", signature).unwrap_or_default();
        assert_eq!(found, pointer, "{signature}: {detail}");
        assert!(detail.contains(part), "{signature}: {detail}");
    }
    for signature in [
        "header = 'X-Sig'\nsigns = '${timestamp}.${body}'\nreplay_window = '5m'",
        "query_parameter = 'sig'\nsigns = '${query}'",
        "query_parameter = 'sig'\nalgorithm = 'md5'\nsigns = '${query.a}${query.b}${query.a}${secret}'",
    ] {
        assert_eq!(refusal("", signature), None, "{signature}");
    }
}

#[test]
fn key_pairs_and_shared_secrets_must_be_told_apart() {
    let shared = "header = 'X-Sig'\nsigns = '${body}'";
    let both =
        "header = 'X-Sig'\nsigns = '${body}'\neach = 'v1,${signature}'\neach_ed25519 = 'v1a,${signature}'";
    let pairs = "header = 'X-Sig'\nsigns = '${body}'\nalgorithm = 'ed25519'";
    for (secret, signature, pointer) in [
        ("key_pair_prefix = 'k_'\npublic_key_prefix = 'p_'", shared, "/secret/key_pair_prefix"),
        ("public_key_prefix = 'p_'", shared, "/secret/public_key_prefix"),
        ("form = 'ed25519'\npublic_key_prefix = 'p_'", shared, "/secret/form"),
        ("", both, "/secret/key_pair_prefix"),
        ("key_pair_prefix = ''\npublic_key_prefix = 'p_'", both, "/secret/key_pair_prefix"),
        ("prefix = 'k_a'\nkey_pair_prefix = 'k_'\npublic_key_prefix = 'p_'", both, "/secret/key_pair_prefix"),
        ("prefix = 'k'\nkey_pair_prefix = 'k_'\npublic_key_prefix = 'p_'", both, "/secret/key_pair_prefix"),
        ("key_pair_prefix = 'k_'", both, "/secret/public_key_prefix"),
        ("key_pair_prefix = 'k_'\npublic_key_prefix = 'k_'", both, "/secret/public_key_prefix"),
        (
            "prefix = 's_'\nkey_pair_prefix = 'k_'\npublic_key_prefix = 's_'",
            both,
            "/secret/public_key_prefix",
        ),
        ("key_pair_prefix = 'k '\npublic_key_prefix = 'p_'", both, "/secret/key_pair_prefix"),
        ("", pairs, "/secret/form"),
        ("form = 'ed25519'", pairs, "/secret/public_key_prefix"),
        (
            "form = 'ed25519'\npublic_key_prefix = 'p_'\nkey_pair_prefix = 'k_'",
            pairs,
            "/secret/key_pair_prefix",
        ),
    ] {
        let (found, detail) = refusal(secret, signature).unwrap_or_default();
        assert_eq!(found, pointer, "{secret} {signature}: {detail}");
    }
    let same = both.replace("v1a", "v1");
    assert_eq!(
        refusal("key_pair_prefix = 'k_'\npublic_key_prefix = 'p_'", &same).unwrap_or_default().0,
        "/signature/each_ed25519"
    );
    assert_eq!(refusal("key_pair_prefix = 'k_'\npublic_key_prefix = 'p_'", both), None);
    assert_eq!(refusal("form = 'ed25519'\npublic_key_prefix = 'p_'", pairs), None);
}
