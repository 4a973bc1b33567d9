//! The profiles of a folder, put at every start as the API would put them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use postrider_contract::profile::{Profile, ProfileName};
use postrider_manage::{ManageState, put_at_start};

use crate::profile_argument::ProfileFile;

/// A profile, and the file it stands in.
#[derive(Debug)]
pub(super) struct FolderProfile {
    file: PathBuf,
    profile: Profile,
}

/// Reads and judges every file of the folder that is named as a profile is; others are left alone.
///
/// # Errors
/// All that is wrong, with the files' names.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<FolderProfile>> {
    let cannot_read = || format!("cannot read the folder of profiles {} (manage.profiles)", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(cannot_read)?.path();
        if ProfileFile::is_meant_by(&path.to_string_lossy()) {
            files.push(path);
        }
    }
    files.sort();
    let mut profiles: Vec<FolderProfile> = Vec::with_capacity(files.len());
    let mut wrong = Vec::new();
    for file in files {
        match read_one(&file) {
            Ok(profile) => match profiles.iter().find(|other| other.profile.name == profile.name) {
                Some(other) => wrong.push(format!("{} is in {} too", profile.name, other.file.display())),
                None => profiles.push(FolderProfile { file, profile }),
            },
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    if !wrong.is_empty() {
        bail!("the folder of profiles {} (manage.profiles): {}", folder.display(), wrong.join("; "));
    }
    Ok(profiles)
}

fn read_one(file: &Path) -> anyhow::Result<Profile> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name: ProfileName =
        stem.parse().with_context(|| format!("{}: the name of a profile", file.display()))?;
    let read = ProfileFile::read(&file.to_string_lossy())?;
    let named = read.profile()?.named(&name).map_err(|error| read.invalid(error))?;
    let compiled = named.compile().map_err(|error| read.invalid(error))?;
    Ok(compiled.definition().clone())
}

/// # Errors
/// With the first that cannot be, and why.
pub(super) async fn put_all(state: &ManageState, profiles: Vec<FolderProfile>) -> anyhow::Result<()> {
    for FolderProfile { file, profile } in profiles {
        let name = profile.name.clone();
        put_at_start(state, profile)
            .await
            .with_context(|| format!("cannot put the profile {name} of {}", file.display()))?;
        tracing::info!(profile = %name, file = %file.display(), "a profile is as its file says");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str =
        "[envelope]\nbody = '{\"kind\":${event.type},\"data\":${event.data}}'\n[retry]\nwaits = [\"1s\"]\n";

    /// A folder with these files, read, and removed again.
    fn read_folder(name: &str, files: &[(&str, &str)]) -> anyhow::Result<Vec<FolderProfile>> {
        let folder = std::env::temp_dir().join(format!("postrider-profiles-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for (file, text) in files {
            std::fs::write(folder.join(file), text).expect("a file");
        }
        let found = read(&folder);
        std::fs::remove_dir_all(&folder).expect("it is removed");
        found
    }

    #[test]
    fn every_profile_of_a_folder_is_found_and_nothing_else_is_taken_for_one() {
        let json = r#"{"name": "b", "envelope": {"body": "${event.data}"}, "retry": {"waits": []}}"#;
        let files = [("c.toml", FORM), ("b.json", json), ("README.md", "# Ours"), ("c.toml.bak", "x")];
        let found = read_folder("found", &files).expect("profiles");
        assert_eq!(found.iter().map(|one| one.profile.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn all_that_is_wrong_in_a_folder_is_said_at_once() {
        let files = [
            ("a.toml", FORM),
            ("a.json", r#"{"envelope": {"body": "${event.data}"}, "retry": {"waits": []}}"#),
            ("b.toml", "name = 'other'\n"),
            ("c.toml", "[envelope]\nbody = '${event.name}'\n[retry]\nwaits = []\n"),
            ("D.toml", FORM),
            ("e.toml", "[envelope]\nbody = '{\"a\":\"${event.type}\"}'\n[retry]\nwaits = []\n"),
        ];
        let said = format!("{:#}", read_folder("wrong", &files).expect_err("refused"));
        for part in [
            "manage.profiles",
            "a.json too",
            "b.toml is not a profile",
            "c.toml is not a profile",
            "unknown variable",
            "D.toml: the name of a profile: must be 1 to 64",
            "e.toml is not a profile",
            "does not give JSON",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = std::env::temp_dir().join("postrider-no-such-folder");
        let said = format!("{:#}", read(&folder).expect_err("refused"));
        assert!(said.contains("postrider-no-such-folder (manage.profiles)"), "{said}");
    }
}
