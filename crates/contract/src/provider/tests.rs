use proptest::prelude::*;
use serde_json::{Value, json};

use super::cutting::{cut, json_bytes, units};
use super::*;
use crate::profile::builtin_profile;
use crate::samples::{self, tenant};

const CARDS: [Provider; 3] = [Provider::Slack, Provider::Discord, Provider::TeamsWebhook];

fn event(data: &str, summary: Option<&str>) -> Event {
    Event {
        event_type: "visibility_changed".parse().expect("a type"),
        summary: summary.map(str::to_owned),
        ..samples::event(data)
    }
}

fn green() -> Option<Colour> {
    builtin_profile(&"trakkr".parse().expect("a name")).expect("built in").definition().accent_colour
}

fn message(provider: Provider, event: &Event, brand: &str) -> Value {
    let body = provider.message(event, &tenant(brand), green()).expect("a form of its own");
    serde_json::from_slice(&body).expect("JSON")
}

fn provider_at(url: &str) -> Provider {
    Provider::detect(&WebhookUrl::from_stored(url).expect("a URL"))
}

#[test]
fn a_provider_is_known_by_its_host_and_path() {
    for (url, provider) in [
        ("https://hooks.slack.com/services/T0/B0/x", Provider::Slack),
        ("https://HOOKS.slack.com:443/services/T0/B0/x", Provider::Slack),
        ("https://hooks.slack-gov.com/services/T0/B0/x", Provider::Slack),
        ("https://hooks.slack.com/triggers/T0/1/x", Provider::Webhook),
        ("https://hooks.slack.com/workflows/T0/1/x", Provider::Webhook),
        ("https://hooks.slack.com.evil.example/services/T0/B0/x", Provider::Webhook),
        ("https://evil.example/hooks.slack.com/services/T0", Provider::Webhook),
        ("https://xhooks.slack.com/services/T0/B0/x", Provider::Webhook),
        ("https://discord.com/api/webhooks/1/token", Provider::Discord),
        ("https://discordapp.com/api/v10/webhooks/1/token?wait=true", Provider::Discord),
        ("https://canary.discord.com/api/webhooks/1/token/", Provider::Discord),
        ("https://ptb.discord.com/api/v9/webhooks/1/token", Provider::Discord),
        ("https://discord.com/api/webhooks/1/token/slack", Provider::Webhook),
        ("https://discord.com/api/webhooks/1/token/github", Provider::Webhook),
        ("https://discord.com/api/users/@me/1", Provider::Webhook),
        ("https://other.discord.com/api/webhooks/1/token", Provider::Webhook),
        (
            "https://prod-12.westeurope.logic.azure.com:443/workflows/a/triggers/manual/paths/invoke?sig=s",
            Provider::TeamsWebhook,
        ),
        (
            "https://default0.1.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/a/triggers/manual/paths/invoke?sig=s",
            Provider::TeamsWebhook,
        ),
        ("https://acme.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d", Provider::TeamsWebhook),
        ("https://outlook.office.com/webhook/a/IncomingWebhook/c/d", Provider::TeamsWebhook),
        ("https://logic.azure.com/workflows/a", Provider::Webhook),
        ("https://hooks.zapier.com/hooks/catch/1/abc/", Provider::Zapier),
        ("https://zapier.com/hooks/catch/1/abc/", Provider::Webhook),
        ("https://hook.eu1.make.com/abc", Provider::Make),
        ("https://hook.us2.make.com/abc", Provider::Make),
        ("https://hook.eu1.make.celonis.com/abc", Provider::Make),
        ("https://hook.integromat.com/abc", Provider::Make),
        ("https://eu1.make.com/abc", Provider::Webhook),
        ("https://hook.a.b.make.com/abc", Provider::Webhook),
        ("https://hookeu1.make.com/abc", Provider::Webhook),
        ("https://192.0.2.1/services/T0", Provider::Webhook),
        ("https://receiver.example/hook", Provider::Webhook),
    ] {
        assert_eq!(provider_at(url), provider, "{url}");
    }
}

#[test]
fn a_provider_is_named_as_the_api_names_it() {
    for provider in Provider::ALL {
        assert_eq!(provider.as_str().parse(), Ok(provider));
        assert_eq!(serde_json::to_value(provider).expect("serialises"), json!(provider.as_str()));
    }
    for text in ["", "Slack", "teams", "generic"] {
        assert_eq!(text.parse::<Provider>(), Err(UnknownProvider));
    }
}

#[test]
fn those_without_a_form_of_their_own_take_the_envelope() {
    for provider in Provider::ALL {
        let body = provider.message(&event("{}", None), &tenant("Acme"), None);
        assert_eq!(body.is_some(), provider.has_own_format(), "{provider}");
    }
}

const DATA: &str =
    r#"{"score":12345678901234567890.10,"who":"<!channel> & *co*","list":[1, 2],"gone":null,"":" "}"#;

#[test]
fn slack_gets_a_header_a_summary_fields_and_where_it_comes_from() {
    let message = message(Provider::Slack, &event(DATA, Some("it <rose>")), "A & B");
    let mrkdwn = |text: &str| json!({"type": "mrkdwn", "text": text});
    let expected = json!({
        "text": "visibility_changed: it &lt;rose&gt;",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "visibility_changed", "emoji": false}},
            {"type": "section", "text": mrkdwn("it &lt;rose&gt;")},
            {"type": "section", "fields": [
                mrkdwn("*score*\n12345678901234567890.10"),
                mrkdwn("*who*\n&lt;!channel&gt; &amp; *co*"),
                mrkdwn("*list*\n[1, 2]"),
                mrkdwn("*gone*\nnull"),
                mrkdwn("*–*\n–"),
            ]},
            {"type": "context", "elements": [mrkdwn("A &amp; B · evt_1 · 2026-11-21T09:30:00.123Z")]},
        ],
    });
    assert_eq!(message, expected);
}

#[test]
fn discord_gets_one_embed_in_the_profiles_colour_that_calls_nobody() {
    let message = message(Provider::Discord, &event(DATA, Some("it rose")), "Acme");
    let field = |name: &str, value: &str| json!({"name": name, "value": value, "inline": true});
    let expected = json!({
        "allowed_mentions": {"parse": []},
        "embeds": [{
            "title": "visibility_changed",
            "description": "it rose",
            "color": 0x16_a3_4a,
            "fields": [
                field("score", "12345678901234567890.10"),
                field("who", "<!channel> & *co*"),
                field("list", "[1, 2]"),
                field("gone", "null"),
                field("–", "–"),
            ],
            "footer": {"text": "Acme · evt_1"},
            "timestamp": "2026-11-21T09:30:00.123Z",
        }],
    });
    assert_eq!(message, expected);
}

#[test]
fn teams_gets_an_adaptive_card_in_a_message() {
    let message = message(Provider::TeamsWebhook, &event(r#"{"score":1}"#, None), "Acme");
    assert_eq!(message["type"], "message");
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(card["body"].as_array().expect("a body").len(), 3);
    assert_eq!(
        (&card["body"][0]["text"], &card["body"][0]["color"]),
        (&json!("visibility_changed"), &json!("Good"))
    );
    assert_eq!(card["body"][1], json!({"type": "FactSet", "facts": [{"title": "score", "value": "1"}]}));
    assert_eq!(card["body"][2]["text"], "Acme · evt_1 · 2026-11-21T09:30:00.123Z");
}

/// Every string under a key, anywhere.
fn strings_under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.extend(member.as_str());
                }
                strings_under(member, key, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| strings_under(element, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.encode_utf16().count())
}

fn is_within(value: &Value, limit: usize) -> bool {
    (1..=limit).contains(&length(value)) && !super::cutting::is_blank(value.as_str().unwrap_or_default())
}

fn check_slack(message: &Value) {
    let blocks = message["blocks"].as_array().expect("blocks");
    assert!((2..=50).contains(&blocks.len()) && is_within(&message["text"], 3_000));
    let mut texts = Vec::new();
    strings_under(&message["blocks"], "text", &mut texts);
    assert!(texts.iter().map(|text| text.encode_utf16().count()).sum::<usize>() <= slack::ALL_TEXTS);
    for text in texts {
        assert!(!text.contains(['<', '>']), "{text}");
        let rest = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
        assert!(!rest.contains('&'), "an entity was cut: {text}");
    }
    for block in blocks {
        match block["type"].as_str().expect("a type") {
            "header" => assert!(is_within(&block["text"]["text"], slack::HEADER_TEXT)),
            "section" if block["fields"].is_null() => {
                assert!(is_within(&block["text"]["text"], slack::SECTION_TEXT))
            }
            "section" => {
                let fields = block["fields"].as_array().expect("fields");
                assert!((1..=slack::FIELDS).contains(&fields.len()));
                assert!(fields.iter().all(|field| is_within(&field["text"], slack::FIELD_TEXT)));
            }
            "context" => assert!(is_within(&block["elements"][0]["text"], slack::CONTEXT_TEXT)),
            other => panic!("{other}"),
        }
    }
}

fn check_discord(message: &Value) {
    let embed = &message["embeds"][0];
    assert!(is_within(&embed["title"], discord::TITLE));
    assert!(embed["description"].is_null() || is_within(&embed["description"], discord::DESCRIPTION));
    assert!(is_within(&embed["footer"]["text"], discord::FOOTER));
    let fields = embed["fields"].as_array().expect("fields");
    assert!(fields.len() <= discord::FIELDS);
    for field in fields {
        assert!(
            is_within(&field["name"], discord::FIELD_NAME)
                && is_within(&field["value"], discord::FIELD_VALUE)
        );
    }
    let of_fields: usize = fields.iter().map(|field| length(&field["name"]) + length(&field["value"])).sum();
    let around = length(&embed["title"]) + length(&embed["description"]) + length(&embed["footer"]["text"]);
    assert!(around + of_fields <= discord::ALL_TEXTS, "{}", around + of_fields);
}

fn check_teams(message: &Value) {
    assert!(message.to_string().len() <= teams::REQUEST, "{}", message.to_string().len());
    let body = message["attachments"][0]["content"]["body"].as_array().expect("a body");
    for element in body {
        assert!(element["type"] != "TextBlock" || is_within(&element["text"], teams::REQUEST));
        for fact in element["facts"].as_array().into_iter().flatten() {
            assert!(is_within(&fact["title"], teams::REQUEST) && is_within(&fact["value"], teams::REQUEST));
        }
    }
}

fn check_all(event: &Event, brand: &str) {
    for provider in CARDS {
        let check = match provider {
            Provider::Slack => check_slack,
            Provider::Discord => check_discord,
            Provider::TeamsWebhook => check_teams,
            Provider::Webhook | Provider::Zapier | Provider::Make => continue,
        };
        check(&message(provider, event, brand));
    }
}

#[test]
fn hostile_lengths_and_characters_stay_within_every_limit() {
    for unit in [
        "x",
        "&",
        "<",
        "é",
        "😀",
        "👩‍👩‍👧‍👦",
        "e\u{301}\u{302}",
        "\"",
        "\\",
        "\n",
        "\u{1}",
        "\u{200b}",
        "\u{fffd}",
        "\u{202e}",
        "*",
    ] {
        for times in [0, 1, 151, 3_001, 9_000] {
            let text = unit.repeat(times);
            let long = serde_json::to_string(&text).expect("serialises");
            for members in [0, 1, 11, 26, 60] {
                let members: Vec<String> =
                    (0..members).map(|number| format!("\"{number}\":{long}")).collect();
                if members.len() * long.len() > 100_000 {
                    continue;
                }
                let data = format!("{{{}}}", members.join(","));
                check_all(&event(&data, Some(&text)), &text);
            }
            let named = format!("{{{long}:[{long}],{long}:{{}}}}");
            check_all(&event(&named, None), &text);
        }
    }
    check_all(&event(r#"{"\ud800":"\udc00\u0000","n":1e400}"#, Some("")), "");
}

#[test]
fn what_is_not_shown_is_counted() {
    let members: Vec<String> = (0..30).map(|number| format!("\"m{number}\":{number}")).collect();
    let event = event(&format!("{{{}}}", members.join(",")), None);
    let slack = message(Provider::Slack, &event, "Acme").to_string();
    let discord = message(Provider::Discord, &event, "Acme");
    assert!(slack.contains("Acme · evt_1 · 20 more not shown · 2026"), "{slack}");
    assert_eq!(discord["embeds"][0]["footer"]["text"], "Acme · evt_1 · 5 more not shown");
}

#[test]
fn a_text_is_cut_where_nothing_that_belongs_together_is_torn() {
    for (text, limit, expected) in [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("a word", 4, "a w…"),
        ("a word", 3, "a…"),
        ("e\u{301}e\u{301}e\u{301}", 5, "e\u{301}e\u{301}…"),
        ("xe\u{301}y", 3, "x…"),
        ("x👩‍👩‍👧‍👦y", 8, "x…"),
        ("👍🏽👍🏽", 5, "👍🏽…"),
        ("😀😀😀", 4, "😀…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("", 0, ""),
    ] {
        assert_eq!(cut(text, limit, units), expected, "{text} to {limit}");
    }
    assert_eq!(cut("\"\"\"\"", 7, json_bytes), "\"\"…");
}

proptest! {
    #[test]
    fn a_cut_text_is_a_beginning_within_its_limit(text in any::<String>(), limit in 0_usize..40, by_bytes in any::<bool>()) {
        let cost = if by_bytes { json_bytes } else { units };
        let kept = cut(&text, limit, cost);
        prop_assert!(kept.chars().map(cost).sum::<usize>() <= limit);
        let beginning = if kept == text { &*kept } else { kept.strip_suffix('…').unwrap_or(&kept) };
        prop_assert!(text.starts_with(beginning));
    }

    #[test]
    fn any_event_makes_a_message_within_every_limit(
        members in prop::collection::btree_map(any::<String>(), any::<String>(), 0..40),
        summary in any::<Option<String>>(), brand in any::<String>(), times in 1_usize..200,
    ) {
        let members: serde_json::Map<_, _> =
            members.into_iter().map(|(name, value)| (name, Value::String(value.repeat(times)))).collect();
        let summary = summary.map(|summary| summary.repeat(times));
        check_all(&event(&Value::Object(members).to_string(), summary.as_deref()), &brand);
    }
}
