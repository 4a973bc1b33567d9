//! What values settings have: how each is written in a flag or a variable, and what is said of one that is not right.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use ipnet::IpNet;
use postrider_contract::profile::Span;
use postrider_contract::secret::Secret;
use serde::de::DeserializeOwned;
use toml::Value;

use super::settings::{LogFormatSetting, Roles};

/// How a value is written where everything is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it stands.
    Text,
    /// As in the file, for instance a number.
    Toml,
    /// As in the file, or its items with commas between them.
    List,
}

/// What a setting's value is.
pub(super) trait Kind: DeserializeOwned {
    const FORM: Form;

    /// What is wrong with `value`, for whoever wrote it; `error` is what the parser says. Never quotes a secret.
    fn refusal(value: &Value, error: &str) -> String;
}

macro_rules! kind {
    ($($kind:ty => $form:ident, $refusal:expr;)+) => { $(
        impl Kind for $kind {
            const FORM: Form = Form::$form;

            fn refusal(value: &Value, error: &str) -> String {
                let say: fn(&Value, &str) -> String = $refusal;
                say(value, error)
            }
        }
    )+ };
}

kind! {
    bool => Toml, |_, _| "must be true or false".to_owned();
    NonZeroU16 => Toml, |value, _| not_counted(value, u32::from(u16::MAX));
    NonZeroU32 => Toml, |value, _| not_counted(value, u32::MAX);
    String => Text, |_, _| "must be text".to_owned();
    PathBuf => Text, |_, _| "must be a path".to_owned();
    Secret => Text, |_, _| "must be text".to_owned();
    SocketAddr => Text, |_, _| "must be an address and a port, for instance 127.0.0.1:8080".to_owned();
    Span => Text, |_, error| error.to_owned();
    Roles => Text, |_, error| error.to_owned();
    LogFormatSetting => Text, |_, _| "must be auto, human or json".to_owned();
    Vec<IpNet> => List, |value, _| not_networks(value);
    Vec<u16> => List, |_, _| "must be port numbers from 0 to 65535, for instance [8080, 8443]".to_owned();
}

fn not_counted(value: &Value, most: u32) -> String {
    if value.is_integer() {
        format!("must be at least 1 and at most {most}")
    } else {
        "must be a whole number".to_owned()
    }
}

fn not_networks(value: &Value) -> String {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_network = |item: &Value| item.as_str().is_some_and(|text| text.parse::<IpNet>().is_ok());
    match items.iter().find(|item| !is_network(item)) {
        Some(item) => format!("{item} is not a network; one is written 10.1.0.0/16 or fd00:1::/32"),
        None => "must be a list of networks, for instance [\"10.1.0.0/16\"]".to_owned(),
    }
}
