//! Properties of the address and URL rules, against a second statement of the address rule written from
//! number ranges instead of networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;

/// Whether IPv4 address `[a, b, c, d]` is public, octet by octet.
fn is_public_v4(octets: [u8; 4]) -> bool {
    !matches!(
        octets,
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [168, 63, 129, 16]
    )
}

/// Whether an unmapped IPv6 address is public, by ranges of its value.
fn is_public_v6(value: u128) -> bool {
    let first_32 = value >> 96;
    let is_global = (0x2000_0000..=0x3fff_ffff).contains(&first_32);
    let is_protocol = (0x2001_0000..=0x2001_01ff).contains(&first_32);
    let is_six_to_four = (0x2002_0000..=0x2002_ffff).contains(&first_32);
    let is_documentation = first_32 == 0x2001_0db8 || (0x3fff_0000..=0x3fff_0fff).contains(&first_32);
    is_global && !is_protocol && !is_six_to_four && !is_documentation
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4.octets()),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4.octets()),
            None => is_public_v6(v6.to_bits()),
        },
    }
}

/// Any IPv4 address, often at or next to the edge of a network.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let edge =
        (any::<u32>(), 0u32..=32, any::<bool>(), 0u32..=2).prop_map(|(bits, prefix, is_last, step)| {
            let host_bits = u32::MAX.checked_shr(prefix).unwrap_or(0);
            let end = if is_last { bits | host_bits } else { bits & !host_bits };
            end.wrapping_add(step).wrapping_sub(1)
        });
    let first =
        prop::sample::select(vec![0u8, 10, 100, 127, 168, 169, 172, 192, 198, 203, 223, 224, 240, 255]);
    let second = prop::sample::select(vec![0u8, 16, 18, 31, 32, 51, 63, 64, 88, 127, 128, 168, 254]);
    let near = (first, second, prop::sample::select(vec![0u8, 2, 99, 100, 113, 129, 255]), any::<u8>())
        .prop_map(|(a, b, c, d)| u32::from_be_bytes([a, b, c, d]));
    prop_oneof![any::<u32>(), edge, near].prop_map(Ipv4Addr::from_bits)
}

/// Any IPv6 address, often under a prefix that means something.
fn any_v6() -> impl Strategy<Value = Ipv6Addr> {
    let heads = prop::sample::select(vec![
        0u32,
        0x64_ff9b,
        0x100_0000,
        0x1fff_ffff,
        0x2000_0000,
        0x2000_ffff,
        0x2001_0000,
        0x2001_01ff,
        0x2001_0200,
        0x2001_0db7,
        0x2001_0db8,
        0x2001_0db9,
        0x2001_ffff,
        0x2002_0000,
        0x2002_ffff,
        0x2003_0000,
        0x3ffe_ffff,
        0x3fff_0000,
        0x3fff_0fff,
        0x3fff_1000,
        0x3fff_ffff,
        0x4000_0000,
        0x5f00_0000,
        0xfc00_0000,
        0xfd00_0ec2,
        0xfe80_0000,
        0xfec0_0000,
        0xff0e_0000,
    ]);
    let rest = (any::<u128>(), prop::sample::select(vec![0u32, 32, 64, 96, 112, 127]));
    let near = (heads, rest)
        .prop_map(|(head, (bits, zeros))| (u128::from(head) << 96) | ((bits >> 32) & (u128::MAX >> zeros)));
    let mapped = any_v4().prop_map(|v4| v4.to_ipv6_mapped().to_bits());
    prop_oneof![any::<u128>(), near, mapped].prop_map(Ipv6Addr::from_bits)
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any_v4().prop_map(IpAddr::V4), any_v6().prop_map(IpAddr::V6)]
}

/// Text that often gets past the first checks.
fn url_like() -> impl Strategy<Value = String> {
    let scheme =
        prop::sample::select(vec!["https://", "http://", "HTTPS://", "https:/", "https:///", "//", ""]);
    let host = prop_oneof![
        "[a-z0-9.-]{1,20}",
        "[a-z]{1,8}\\.(com|example|local|localhost|internal)\\.?",
        "[0-9a-fx.]{1,16}",
        "\\[[0-9a-f:.%]{0,20}\\]",
        "\\PC{0,12}",
        any_v4().prop_map(|v4| v4.to_string()),
        any_v4().prop_map(|v4| v4.to_bits().to_string()),
        any_v6().prop_map(|v6| format!("[{v6}]")),
    ];
    let port =
        prop_oneof![Just(String::new()), any::<u16>().prop_map(|port| format!(":{port}")), ":[0-9+-]{0,6}"];
    let rest = prop_oneof![Just(String::new()), "[/?#][a-zA-Z0-9/?#@:%{}|^`\"'<>.]{0,24}", "[/?#]\\PC{0,16}"];
    (scheme, host, port, rest).prop_map(|(scheme, host, port, rest)| format!("{scheme}{host}{port}{rest}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_address_is_allowed_exactly_if_it_is_public(address in any_address()) {
        let verdict = AddressRule::default().judge(address);
        // Inside public space only ISATAP-shaped addresses that carry a metadata service are refused too.
        let carries_metadata = verdict.is_err_and(|refused| refused.class == AddressClass::Metadata);
        prop_assert_eq!(verdict.is_ok(), is_public(address) && !carries_metadata);
    }

    #[test]
    fn a_mapped_address_gets_the_verdict_of_the_address_it_carries(
        v4 in any_v4(),
        network in any_v4(),
        prefix in 0u8..=32,
    ) {
        let allowed = ipnet::Ipv4Net::new(network, prefix).unwrap();
        for rule in [AddressRule::default(), AddressRule::new(vec![allowed.into()])] {
            let mapped = rule.judge(IpAddr::V6(v4.to_ipv6_mapped()));
            prop_assert_eq!(rule.judge(IpAddr::V4(v4)), mapped);
        }
    }

    #[test]
    fn an_allowed_network_only_adds(address in any_address(), network in any_address(), prefix in 0u8..=32) {
        let allowed = ipnet::IpNet::new(network, prefix).unwrap();
        let widened = AddressRule::new(vec![allowed]).judge(address);
        match AddressRule::default().judge(address) {
            Ok(()) => prop_assert_eq!(widened, Ok(())),
            Err(refused) if refused.class == AddressClass::Metadata => prop_assert_eq!(widened, Err(refused)),
            Err(refused) => {
                let is_inside = allowed.contains(&address.to_canonical()) || allowed.contains(&address);
                prop_assert!(is_inside || widened == Err(refused));
            }
        }
    }

    #[test]
    fn only_an_allowed_address_becomes_vetted(address in any_address(), port in any::<u16>()) {
        let rule = AddressRule::default();
        let target = SocketAddr::new(address, port);
        let vetted = rule.vet(target);
        prop_assert_eq!(vetted.is_ok(), rule.judge(address).is_ok());
        if let Ok(vetted) = vetted {
            prop_assert!(vetted.is_peer(target));
            prop_assert!(is_public(vetted.socket_addr().ip()));
        }
    }

    #[test]
    fn any_text_at_all_is_judged_without_a_panic(input in any::<String>()) {
        let _checked = UrlRule::dev().check(&input);
        let _stored = WebhookUrl::from_stored(&input);
    }

    #[test]
    fn an_accepted_url_is_accepted_again_as_the_same_value(input in url_like()) {
        for rule in [UrlRule::default(), UrlRule::dev()] {
            if let Ok(url) = rule.check(&input) {
                prop_assert_eq!(rule.check(url.as_str()), Ok(url.clone()));
                prop_assert_eq!(WebhookUrl::from_stored(url.as_str()), Ok(url));
            }
        }
    }

    #[test]
    fn an_accepted_url_is_what_the_rule_says(input in url_like()) {
        if let Ok(url) = UrlRule::default().check(&input) {
            prop_assert!(url.is_tls() && url.as_str().starts_with("https://"));
            prop_assert!(url.as_str().is_ascii() && url.as_str().len() <= MAX_URL_BYTES);
            prop_assert!(!url.as_str().contains(['#', '\\', ' ']) && !url.authority().contains('@'));
            prop_assert!(url.path_and_query().starts_with('/'));
            prop_assert_eq!(format!("https://{}{}", url.authority(), url.path_and_query()), url.as_str());
            match url.host() {
                Host::Address(literal) => prop_assert!(is_public(*literal)),
                Host::Name(name) => {
                    prop_assert!(name.parse::<IpAddr>().is_err());
                    prop_assert!(name.contains('.') && !name.ends_with('.'));
                }
            }
        }
    }
}
