//! A profile on a command line: the name of a built-in one, or a file with a profile's form, in TOML or JSON.

use std::io;
use std::sync::Arc;

use postrider_contract::profile::{
    CompiledProfile, InvalidProfile, Profile, ProfileName, builtin_profile, builtin_profiles,
};

use crate::input_file::{InputFileError, place_of, read_input};

/// What `PUT /v1/profiles/{name}` takes.
const MAX_BYTES: u64 = 1024 * 1024;

/// How a form is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Toml,
    Json,
}

/// Why there is no profile to work with.
#[derive(Debug, thiserror::Error)]
pub enum ProfileArgumentError {
    #[error("cannot read the profile {place}")]
    Unreadable { place: String, source: io::Error },
    #[error("{place} is larger than {} KiB, too large for a profile", MAX_BYTES / 1024)]
    TooLarge { place: String },
    #[error("{place} is not text in UTF-8")]
    NotText { place: String },
    #[error("{place} is not a profile")]
    Invalid { place: String, source: InvalidProfile },
    #[error("there is no built-in profile {name:?}: choose one of {known}, or a file (.toml, .json)")]
    NotBuiltIn { name: String, known: String },
}

/// A form as it was written.
#[derive(Debug)]
pub struct ProfileFile {
    /// For messages.
    pub place: String,
    pub form: Form,
    pub text: String,
}

impl ProfileFile {
    /// Whether an argument means a file: `-` for standard input, or a path that ends as a form's file does.
    #[must_use]
    pub fn is_meant_by(argument: &str) -> bool {
        let ending = std::path::Path::new(argument).extension();
        argument == "-" || ending.is_some_and(|ending| ending == "toml" || ending == "json")
    }

    /// Reads a file, or standard input for `-`. What begins with a brace is JSON.
    ///
    /// # Errors
    /// When it cannot be read as text.
    pub fn read(path: &str) -> Result<Self, ProfileArgumentError> {
        let place = place_of(path).to_owned();
        let bytes = match read_input(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(InputFileError::Unreadable(source)) => {
                return Err(ProfileArgumentError::Unreadable { place, source });
            }
            Err(InputFileError::TooLong) => return Err(ProfileArgumentError::TooLarge { place }),
        };
        let Ok(text) = String::from_utf8(bytes) else { return Err(ProfileArgumentError::NotText { place }) };
        let form = if text.trim_start().starts_with('{') { Form::Json } else { Form::Toml };
        Ok(ProfileFile { place, form, text })
    }

    /// The profile as it is written, not yet judged as a whole.
    ///
    /// # Errors
    /// When the form is wrong; says where.
    pub fn profile(&self) -> Result<Profile, ProfileArgumentError> {
        let profile = match self.form {
            Form::Toml => Profile::from_toml(&self.text),
            Form::Json => Profile::from_json(self.text.as_bytes()),
        };
        profile.map_err(|source| self.invalid(source))
    }

    /// What is wrong with the form of this file.
    pub fn invalid(&self, source: InvalidProfile) -> ProfileArgumentError {
        ProfileArgumentError::Invalid { place: self.place.clone(), source }
    }

    /// The profile, judged as a whole.
    ///
    /// # Errors
    /// When it is not one; says where.
    pub fn compiled(&self) -> Result<CompiledProfile, ProfileArgumentError> {
        self.profile()?.compile().map_err(|source| self.invalid(source))
    }
}

/// The profile that is meant: of a file, or a built-in one.
///
/// # Errors
/// When there is none.
pub fn load(argument: &str) -> Result<Arc<CompiledProfile>, ProfileArgumentError> {
    if ProfileFile::is_meant_by(argument) {
        return ProfileFile::read(argument)?.compiled().map(Arc::new);
    }
    let named = argument.parse::<ProfileName>().ok().and_then(|name| builtin_profile(&name));
    named.ok_or_else(|| {
        let names: Vec<&str> = builtin_profiles().iter().map(|profile| profile.name().as_str()).collect();
        ProfileArgumentError::NotBuiltIn { name: argument.to_owned(), known: names.join(", ") }
    })
}
