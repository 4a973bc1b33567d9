//! The built-in profiles: files of the form an operator writes, read by the same code.

use std::sync::{Arc, OnceLock};

use super::{CompiledProfile, Profile, ProfileName};

const FILES: [&str; 8] = [
    include_str!("../../profiles/standard.toml"),
    include_str!("../../profiles/trcker.toml"),
    include_str!("../../profiles/trackdesk.toml"),
    include_str!("../../profiles/trakkr.toml"),
    include_str!("../../profiles/track360.toml"),
    include_str!("../../profiles/tracktile.toml"),
    include_str!("../../profiles/cloudevents.toml"),
    include_str!("../../profiles/cloudevents-binary.toml"),
];

/// All of them, the default first.
pub fn builtin_profiles() -> &'static [Arc<CompiledProfile>] {
    static PROFILES: OnceLock<Vec<Arc<CompiledProfile>>> = OnceLock::new();
    PROFILES.get_or_init(|| {
        let load = |text| Profile::from_toml(text).and_then(Profile::compile).map(Arc::new);
        let loaded: Result<Vec<_>, _> = FILES.into_iter().map(load).collect();
        loaded.expect("the files are part of the program, and a test loads each of them")
    })
}

/// The built-in profile of that name, if there is one.
#[must_use]
pub fn builtin_profile(name: &ProfileName) -> Option<Arc<CompiledProfile>> {
    builtin_profiles().iter().find(|profile| profile.name() == name).cloned()
}
