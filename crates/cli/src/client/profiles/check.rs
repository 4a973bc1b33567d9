//! `profiles check`: a form judged without a server; or an old sender's requests held against a profile.

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_contract::ids::TenantId;
use postrider_contract::profile::{CompiledProfile, HeaderName, ProfileName};
use postrider_contract::signature::SigningKey;
use serde_json::{Value, json};

use super::described::Described;
use super::{find, read_and_compile, say_weaknesses};
use crate::capture::{CapturedRequest, read_capture};
use crate::client::Output;
use crate::client::error::ClientError;
use crate::client::input::HeaderArgument;
use crate::client::session::Session;
use crate::migration::{Brand, Compared, Difference, Expected, Place, SignatureFound};
use crate::profile_argument::{ProfileArgumentError, ProfileFile};
use crate::secret_argument::SecretArgument;
use crate::table::{Hue, Screen, excerpt, printable};

/// Says what is wrong with a form; with --capture, whether an old sender's requests would be the same from here
///
/// Without --capture: reads a form in TOML or JSON, without a server, and names
/// the place of whatever is wrong.
///
/// With --capture: proves a migration. Takes requests that were captured from the
/// old sender, makes of each what Postrider would send for the same event, and
/// lists every difference: method, URL, headers with their case and order, body
/// byte for byte. The event is read back out of the request, or stands beside it.
/// What is of the moment (signed time, ids of the delivery) is compared by its
/// form. With --secret the signature is verified over the captured body.
///
/// A capture is a HAR file (mitmproxy, Charles, HTTP Toolkit, a browser), or
/// requests as `postrider listen --record` writes them, one to a line:
///   {"method":"POST","url":"https://…","headers":[["Name","value"]],"body":"…"}
/// An "event" beside them, as for POST /v1/events, takes the place of the one that
/// is read out of the request.
///
/// A webhook with a template, of a chat service or of the kind postback is compared
/// by --webhook FILE: what POST /v1/webhooks would take. These do not give their
/// event back, so that it has to stand beside each request.
///
/// Differences that are meant are given with --accept and the word they are listed
/// under: --accept header:User-Agent --accept body:/meta.
///
/// Exit code: 0 where nothing differs, 1 where something does or the form is
/// wrong, 2 where the capture or an option cannot be used.
///
/// Examples:
///   postrider profiles check acme.toml
///   postrider listen --record old.json                 (and let the old sender send)
///   postrider profiles check trcker --capture old.json --secret @secret
///   postrider profiles check acme.toml --capture proxy.har --accept header:User-Agent
///   postrider profiles check trakkr --capture old.json --webhook postback.json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// A form in TOML or JSON, - for standard input; with --capture a profile's name too
    #[arg(value_name = "FILE|NAME")]
    profile: String,
    /// The name, if the file has none
    #[arg(long)]
    name: Option<ProfileName>,
    /// Requests of the old sender: a HAR file, or one JSON object to each; - for standard input
    #[arg(long, value_name = "FILE", help_heading = "Against captured requests")]
    capture: Option<String>,
    #[command(flatten)]
    against: Against,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Against captured requests")]
struct Against {
    /// The signing secret of the captured requests: itself, @file, or @- for standard input; may be repeated,
    /// newest first
    #[arg(long = "secret", value_name = "SECRET|@FILE", requires = "capture")]
    secrets: Vec<SecretArgument>,
    /// The webhook's URL here (default: as captured)
    #[arg(long, requires = "capture")]
    url: Option<String>,
    /// A header that the webhook will have of its own, its authentication included; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", requires = "capture")]
    headers: Vec<HeaderArgument>,
    /// The name that the webhook will choose for the signature's header
    #[arg(long, value_name = "NAME", requires = "capture")]
    signature_header: Option<HeaderName>,
    /// The webhook as POST /v1/webhooks takes it, with its template, provider or macros, its headers and credentials, in
    /// place of the three options before; - for standard input
    #[arg(long, value_name = "FILE", requires = "capture", conflicts_with_all = ["url", "headers", "signature_header"])]
    webhook: Option<String>,
    /// The tenant's id, where a request shows it and does not tell it by itself
    #[arg(long, value_name = "ID", requires = "capture")]
    brand_id: Option<TenantId>,
    /// The tenant's name, likewise
    #[arg(long, value_name = "NAME", requires = "capture")]
    brand_name: Option<String>,
    /// The tenant's website, likewise
    #[arg(long, value_name = "URL", requires = "capture")]
    brand_website: Option<String>,
    /// Only requests to URLs that begin so
    #[arg(long, value_name = "URL", requires = "capture")]
    only: Option<String>,
    /// A difference that is meant, by the word it is listed under; may be repeated
    #[arg(long, value_name = "PLACE", requires = "capture")]
    accept: Vec<Place>,
    /// Shows every request, not just the first that differ
    #[arg(long, requires = "capture")]
    all: bool,
}

/// How many requests that differ are shown whole.
const SHOWN: usize = 5;
/// Of a value that differs.
const VALUE_LINES: usize = 6;
const VALUE_WIDTH: usize = 200;

impl Check {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let Some(capture) = self.capture else {
            return check_form(session, &self.profile, self.name.as_ref());
        };
        let profile = match self.name {
            Some(name) => Arc::new(read_and_compile(&ProfileFile::read(&self.profile)?, Some(&name))?),
            None => find(session, &self.profile).await?,
        };
        let requests = read_capture(&capture)?;
        let is_wanted = |request: &CapturedRequest| {
            self.against.only.as_ref().is_none_or(|prefix| request.url.starts_with(prefix.as_str()))
        };
        let requests: Vec<CapturedRequest> = requests.into_iter().filter(is_wanted).collect();
        if requests.is_empty() {
            return Err(ClientError::Usage(format!("no request in {capture} is to a URL of --only")));
        }
        let (accepted, shows_all) = (self.against.accept.clone(), self.against.all);
        let expected = self.against.expected(profile)?;
        let compared = requests.into_iter().map(|request| {
            let compared = expected.compare(&request);
            (request, compared)
        });
        let outcome = Outcome { expected: &expected, accepted, compared: compared.collect() };
        match session.output() {
            Output::Json => session.line(&outcome.json().to_string())?,
            Output::Table => {
                let text = outcome.text(shows_all, session.screen());
                session.line(&text)?;
            }
        }
        outcome.verdict()
    }
}

impl Against {
    fn expected(self, profile: Arc<CompiledProfile>) -> Result<Expected, ClientError> {
        let Described { webhook, url, own_headers, secret } = match &self.webhook {
            Some(path) => Described::read(path, &profile)?,
            None => Described::by_options(self.url, self.headers, self.signature_header, &profile)?,
        };
        let rule = profile.definition().secret.as_ref();
        let mut keys = Vec::new();
        let mut secrets =
            self.secrets.into_iter().map(SecretArgument::resolve).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            secrets.extend(secret);
        }
        for secret in secrets {
            let Some(rule) = rule else {
                return Err(ClientError::Usage(format!("{} does not sign: no --secret", profile.name())));
            };
            let key = SigningKey::parse(&secret, rule)
                .map_err(|error| ClientError::Usage(format!("--secret {error}")))?;
            keys.push(key);
        }
        let (overrides, brand) = (
            webhook.overrides.clone(),
            Brand { id: self.brand_id, name: self.brand_name, website: self.brand_website },
        );
        Ok(Expected { profile, overrides, keys, url, own_headers, webhook, brand })
    }
}

/// A form alone.
fn check_form(session: &mut Session, path: &str, name: Option<&ProfileName>) -> Result<(), ClientError> {
    let file = ProfileFile::read(path)?;
    match (read_and_compile(&file, name), session.output()) {
        (Ok(profile), Output::Table) => {
            let tries = profile.definition().retry.waits.waits().len() + 1;
            session.line(&format!(
                "{} is well: profile {}, up to {tries} tries",
                file.place,
                profile.name()
            ))?;
            say_weaknesses(session, &profile)
        }
        (Ok(profile), Output::Json) => {
            let weaknesses: Vec<String> = profile.weaknesses().iter().map(ToString::to_string).collect();
            session.line(&json!({"valid": true, "errors": [], "weaknesses": weaknesses}).to_string())
        }
        (Err(error), output) => {
            if let (ProfileArgumentError::Invalid { source, .. }, Output::Json) = (&error, output) {
                let error = json!({"pointer": source.pointer(), "detail": source.detail});
                session.line(&json!({"valid": false, "errors": [error]}).to_string())?;
            }
            Err(error.into())
        }
    }
}

/// Every request with what its comparison came to.
struct Outcome<'e> {
    expected: &'e Expected,
    accepted: Vec<Place>,
    compared: Vec<(CapturedRequest, Compared)>,
}

impl Outcome<'_> {
    fn is_accepted(&self, difference: &Difference) -> bool {
        self.accepted.iter().any(|place| place.covers(&difference.place))
    }

    /// Those that are not accepted.
    fn differences<'c>(&'c self, compared: &'c Compared) -> impl Iterator<Item = &'c Difference> {
        compared.differences.iter().filter(move |difference| !self.is_accepted(difference))
    }

    fn is_same(&self, compared: &Compared) -> bool {
        self.differences(compared).next().is_none()
    }

    fn differing(&self) -> usize {
        self.compared.iter().filter(|(_, compared)| !self.is_same(compared)).count()
    }

    fn verdict(&self) -> Result<(), ClientError> {
        match self.differing() {
            0 => Ok(()),
            differing => {
                let all = self.compared.len();
                let name = self.expected.profile.name();
                Err(ClientError::NotWell(format!("{differing} of {all} requests would differ under {name}")))
            }
        }
    }

    fn json(&self) -> Value {
        let requests = self.compared.iter().map(|(request, compared)| {
            let difference = |difference: &Difference| {
                json!({
                    "place": difference.place.to_string(), "detail": difference.detail,
                    "captured": difference.captured, "postrider": difference.ours,
                    "accepted": self.is_accepted(difference),
                })
            };
            let taken: Vec<Value> = compared
                .taken
                .iter()
                .map(|taken| {
                    json!({"variable": taken.variable, "text": taken.text, "place": taken.place.to_string()})
                })
                .collect();
            json!({
                "number": request.number, "method": request.method, "url": request.url,
                "same": self.is_same(compared), "signature": word_of(&compared.signature),
                "of_the_moment": taken, "notes": compared.notes,
                "differences": compared.differences.iter().map(difference).collect::<Vec<_>>(),
            })
        });
        json!({
            "profile": self.expected.profile.name(), "compared": self.compared.len(),
            "different": self.differing(), "requests": requests.collect::<Vec<_>>(),
        })
    }

    fn text(&self, shows_all: bool, screen: &Screen) -> String {
        let mut text = String::new();
        let mut shown = 0;
        for (request, compared) in &self.compared {
            let is_same = self.is_same(compared);
            if !shows_all && (is_same || shown == SHOWN) {
                continue;
            }
            shown += usize::from(!is_same);
            text.push_str(&self.request_text(request, compared, screen));
        }
        let hidden = self.differing() - shown;
        if hidden > 0 {
            text.push_str(&format!("… and {hidden} more that differ; --all shows them\n\n"));
        }
        text.push_str(&self.places_text());
        text.push_str(&self.summary(screen));
        text
    }

    fn request_text(&self, request: &CapturedRequest, compared: &Compared, screen: &Screen) -> String {
        let (number, bytes) = (request.number, request.body.len());
        let (method, url) = (printable(&request.method), printable(&request.url));
        let mut text = format!("#{number}  {method} {url}  {bytes} bytes\n    {}\n", explained(compared));
        for note in &compared.notes {
            text.push_str(&format!("    {}\n", screen.paint(Some(Hue::Grey), note)));
        }
        for difference in &compared.differences {
            let (hue, accepted) =
                if self.is_accepted(difference) { (Hue::Grey, " (accepted)") } else { (Hue::Red, "") };
            let place = screen.paint(Some(hue), &printable(&difference.place.to_string()));
            text.push_str(&format!("    {place}  {}{accepted}\n", printable(&difference.detail)));
            text.push_str(&value_text("captured ", difference.captured.as_deref()));
            text.push_str(&value_text("Postrider", difference.ours.as_deref()));
        }
        if compared.differences.is_empty() {
            text.push_str(&format!("    {}\n", screen.paint(Some(Hue::Green), "the same, byte for byte")));
        }
        text + "\n"
    }

    /// In how many requests each place differs.
    fn places_text(&self) -> String {
        let mut counts: BTreeMap<&Place, (usize, bool)> = BTreeMap::new();
        for difference in self.compared.iter().flat_map(|(_, compared)| &compared.differences) {
            let count = counts.entry(&difference.place).or_default();
            *count = (count.0 + 1, self.is_accepted(difference));
        }
        let width = counts.keys().map(|place| place.to_string().chars().count()).max().unwrap_or_default();
        let all = self.compared.len();
        let line = |(place, (count, is_accepted)): (&&Place, &(usize, bool))| {
            let accepted = if *is_accepted { ", accepted" } else { "" };
            let place = printable(&place.to_string());
            format!("{place:<width$}  in {count} of {all} requests{accepted}\n")
        };
        counts.iter().map(line).collect()
    }

    fn summary(&self, screen: &Screen) -> String {
        let (all, differing) = (self.compared.len(), self.differing());
        let count = |what: fn(&SignatureFound) -> bool| {
            self.compared.iter().filter(|(_, compared)| what(&compared.signature)).count()
        };
        let verified = count(|found| matches!(found, SignatureFound::Verified));
        let by_form = count(|found| matches!(found, SignatureFound::FormAlone));
        let (same, hue) = (all - differing, if differing == 0 { Hue::Green } else { Hue::Red });
        let result = format!("{all} requests: {same} the same, {differing} with differences");
        let mut text = screen.paint(Some(hue), &result);
        text.push_str(&format!("; {verified} signatures verified"));
        if by_form > 0 {
            text.push_str(&format!(
                ", {by_form} compared by their form alone: give the secret with --secret"
            ));
        }
        text
    }
}

/// What was verified, and what was taken as it came.
fn explained(compared: &Compared) -> String {
    let signature = match &compared.signature {
        SignatureFound::NotOfTheProfile => "not signed, by its profile",
        SignatureFound::Absent => "not signed, as without a secret",
        SignatureFound::Verified => "signature verified over the captured body",
        SignatureFound::FormAlone => "signature of the right form, not verified",
        SignatureFound::Wrong(_) => "signature WRONG",
    };
    let taken = compared.taken.iter().map(|taken| {
        let (variable, text) = (taken.variable, printable(&taken.text));
        format!("{variable} {text} ({})", printable(&taken.place.to_string()))
    });
    let taken: Vec<String> = taken.collect();
    if taken.is_empty() {
        signature.to_owned()
    } else {
        format!("{signature}; of the moment: {}", taken.join(", "))
    }
}

fn value_text(whose: &str, value: Option<&str>) -> String {
    let Some(value) = value else { return format!("        {whose}  (nothing)\n") };
    let (lines, is_whole) = excerpt(value, VALUE_LINES, VALUE_WIDTH);
    let more = if is_whole { "" } else { "\n                   …" };
    format!("        {whose}  {}{more}\n", lines.join("\n                   "))
}

fn word_of(found: &SignatureFound) -> &'static str {
    match found {
        SignatureFound::NotOfTheProfile => "none",
        SignatureFound::Absent => "absent",
        SignatureFound::Verified => "verified",
        SignatureFound::FormAlone => "form_alone",
        SignatureFound::Wrong(_) => "wrong",
    }
}
