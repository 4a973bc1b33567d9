//! `profiles`: delivery contracts as data.

mod check;
mod described;
mod snippet;
mod vectors;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method};
use postrider_contract::profile::{
    CompiledProfile, Profile, ProfileName, SignatureRule, builtin_profile, builtin_profiles, profile_schema,
};
use serde_json::{Map, Value};

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::listing::{Limit, show_list};
use super::session::Session;
use crate::profile_argument::{self, Form, ProfileArgumentError, ProfileFile};
use crate::table::Column;

const COLUMNS: [Column; 6] = [
    Column::id("NAME", "/name"),
    Column::text("BUILT IN", "/builtin"),
    Column::text("VERSION", "/version"),
    Column::text("REVISION", "/revision").if_room(),
    Column::text("DESCRIPTION", "/description").if_room(),
    Column::text("WEAK", "/weaknesses"),
];
/// What the API shows of a profile beside its form.
const BESIDE_THE_FORM: [&str; 4] = ["object", "builtin", "revision", "weaknesses"];

#[derive(clap::Subcommand)]
pub enum Profiles {
    /// Lists the profiles: those built in, and those of the installation
    List(Limit),
    /// Prints a profile's form in TOML: a file to begin one's own with
    ///
    /// Example:
    ///   postrider profiles show standard > acme.toml
    #[command(verbatim_doc_comment)]
    Show {
        /// As `profiles list` shows it
        name: String,
    },
    /// Makes a profile, or replaces it as a whole (admin key)
    ///
    /// What its deliveries under way were rendered with stays theirs.
    ///
    /// Example:
    ///   postrider profiles put acme.toml
    #[command(verbatim_doc_comment)]
    Put {
        /// A form in TOML or JSON; - for standard input
        file: String,
        /// The name, if the file has none
        #[arg(long)]
        name: Option<ProfileName>,
        /// Only if it is still at this revision
        #[arg(long, value_name = "REVISION")]
        if_match: Option<u64>,
    },
    /// Deletes a profile that no tenant and no webhook uses (admin key)
    Delete {
        /// As `profiles list` shows it
        name: String,
    },
    Check(Box<check::Check>),
    Vectors(vectors::Vectors),
    VerifySnippet(snippet::VerifySnippet),
    /// Prints the JSON Schema of the form, for editors
    Schema,
}

impl Profiles {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            Profiles::List(limit) => {
                show_list(session, || Call::get(["profiles"]), &limit, &COLUMNS, "no profiles").await
            }
            Profiles::Show { name } => show(session, &name).await,
            Profiles::Put { file, name, if_match } => put(session, &file, name, if_match).await,
            Profiles::Delete { name } => {
                let call = Call::new(Method::DELETE, ["profiles", name.as_str()]).of_installation();
                session.done(call, &format!("deleted {name}")).await
            }
            Profiles::Check(check) => check.run(session).await,
            Profiles::Vectors(vectors) => vectors.run(session).await,
            Profiles::VerifySnippet(snippet) => snippet.run(session).await,
            Profiles::Schema => {
                let schema = serde_json::to_string_pretty(&profile_schema());
                session.line(&schema.map_err(|error| ClientError::NotWell(error.to_string()))?)
            }
        }
    }
}

async fn show(session: &mut Session, name: &str) -> Result<(), ClientError> {
    let answer = session.call(Call::get(["profiles", name])).await?;
    if session.output() == Output::Json {
        return session.json(&answer.body);
    }
    let object: Map<String, Value> = answer.read()?;
    let revision = object.get("revision").cloned().unwrap_or_default();
    let is_builtin = object.get("builtin").and_then(Value::as_bool).unwrap_or_default();
    let profile = form_of(object)?;
    let written = toml::to_string(&profile)
        .map_err(|error| ClientError::NotWell(format!("cannot write the profile as TOML: {error}")))?;
    let of = if is_builtin {
        "Built in: to change it, put it under another name.".to_owned()
    } else {
        format!("At revision {revision}.")
    };
    let weaknesses = profile.signature.as_ref().map(SignatureRule::weaknesses).unwrap_or_default();
    let weaknesses: String = weaknesses.iter().map(|weakness| format!("# {weakness}\n")).collect();
    session.line(&format!("# {of}\n{weaknesses}{written}"))
}

/// The form in an answer of the API.
fn form_of(mut object: Map<String, Value>) -> Result<Profile, ClientError> {
    object.retain(|member, _| !BESIDE_THE_FORM.contains(&member.as_str()));
    Profile::from_json(Value::Object(object).to_string().as_bytes()).map_err(|error| {
        ClientError::NotWell(format!("the server is of another version ({error}); see it with --output json"))
    })
}

async fn put(
    session: &mut Session,
    path: &str,
    name: Option<ProfileName>,
    revision: Option<u64>,
) -> Result<(), ClientError> {
    let file = ProfileFile::read(path)?;
    let compiled = read_and_compile(&file, name.as_ref())?;
    let media = match file.form {
        Form::Toml => HeaderValue::from_static("application/toml"),
        Form::Json => HeaderValue::from_static("application/json"),
    };
    let mut call = Call::new(Method::PUT, ["profiles", compiled.name().as_str()]).of_installation();
    call = call.document(media, Bytes::from(file.text));
    if let Some(revision) = revision {
        let tag = HeaderValue::from_str(&format!("\"{revision}\""));
        call = call.header("if-match", tag.map_err(|error| ClientError::Usage(error.to_string()))?);
    }
    let answer = session.call(call).await?;
    match session.output() {
        Output::Json => session.json(&answer.body),
        Output::Table => {
            let revision = answer.read::<Value>()?["revision"].clone();
            session.line(&format!("{} is at revision {revision}", compiled.name()))?;
            say_weaknesses(session, &compiled)
        }
    }
}

fn say_weaknesses(session: &mut Session, profile: &CompiledProfile) -> Result<(), ClientError> {
    profile.weaknesses().iter().try_for_each(|weakness| session.line(&format!("{weakness}")))
}

/// The profile of a file, under a name that is given beside it if it has none.
fn read_and_compile(
    file: &ProfileFile,
    name: Option<&ProfileName>,
) -> Result<CompiledProfile, ProfileArgumentError> {
    let profile = file.profile()?;
    let named = match name {
        Some(name) => profile.named(name).map_err(|error| file.invalid(error))?,
        None => profile,
    };
    let compiled = named.compile().map_err(|error| file.invalid(error))?;
    compiled.check_verifiable().map_err(|error| file.invalid(error))?;
    Ok(compiled)
}

/// A file's, a built-in one, or one of the server's.
async fn find(session: &Session, name: &str) -> Result<Arc<CompiledProfile>, ClientError> {
    let builtin = name.parse::<ProfileName>().ok().and_then(|name| builtin_profile(&name));
    if ProfileFile::is_meant_by(name) || builtin.is_some() {
        return Ok(profile_argument::load(name)?);
    }
    let answer = session.call(Call::get(["profiles", name])).await;
    let compiled = form_of(answer.map_err(|error| unknown_unless_asked(name, error))?.read()?)?.compile();
    compiled
        .map(Arc::new)
        .map_err(|error| ClientError::NotWell(format!("{name} is not a profile here: {error}")))
}

/// Whoever mistyped a name of ours needs no server.
fn unknown_unless_asked(name: &str, error: ClientError) -> ClientError {
    if !matches!(error, ClientError::NotReachable { .. }) {
        return error;
    }
    let known: Vec<&str> = builtin_profiles().iter().map(|profile| profile.name().as_str()).collect();
    ClientError::UnknownProfile { name: name.to_owned(), known: known.join(", "), source: Box::new(error) }
}
