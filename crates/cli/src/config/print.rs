//! Settings as a file that can be used, and as the reference page.

use std::fmt::Write;

use super::settings::Settings;

/// `postrider.toml` with every setting at its default, each with its meaning.
#[must_use]
pub fn print_defaults() -> String {
    let mut out = String::from(
        "# Every setting of Postrider at its default. Flags and POSTRIDER_* variables go before this file.\n",
    );
    for (section, settings) in Settings::declared() {
        put(&mut out, format_args!("\n[{section}]\n"));
        for setting in settings {
            for line in &setting.meaning {
                put(&mut out, format_args!("# {line}\n"));
            }
            match setting.default {
                Some(default) => put(&mut out, format_args!("{} = {default}\n", setting.name)),
                None => put(&mut out, format_args!("# {} =\n", setting.name)),
            }
        }
    }
    out
}

/// The settings in force, secrets masked.
#[must_use]
pub fn print_effective(settings: &Settings) -> String {
    const MASKED: [(&str, &str); 4] =
        [("engine", "queue"), ("engine", "store"), ("security", "master_key"), ("security", "admin_key")];
    let mut out = String::new();
    let mut section = "";
    for (declared, value) in &settings.effective {
        if declared.section != section {
            section = declared.section;
            put(&mut out, format_args!("\n[{section}]\n"));
        }
        match value {
            Some(_) if MASKED.contains(&(declared.section, declared.name)) => {
                put(&mut out, format_args!("{} = \"***\"\n", declared.name));
            }
            Some(value) => put(&mut out, format_args!("{} = {value}\n", declared.name)),
            None => put(&mut out, format_args!("# {} =\n", declared.name)),
        }
    }
    out.trim_start().to_owned()
}

/// `docs/configuration.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Flags go before environment variables, those before `postrider.toml`, that before the defaults. What is not a\n\
         setting is an error. This page is made from the comments beside the settings: `postrider config reference`.\n",
    );
    for (section, settings) in Settings::declared() {
        put(
            &mut out,
            format_args!(
                "\n## `[{section}]`\n\n| setting | variable | default | meaning |\n|---|---|---|---|\n"
            ),
        );
        for setting in settings {
            let default = setting.default.map_or_else(|| "unset".to_owned(), |text| format!("`{text}`"));
            let meaning = setting.meaning.join(" ");
            let (name, variable) = (setting.name, setting.variable());
            put(&mut out, format_args!("| `{name}` | `{variable}` | {default} | {meaning} |\n"));
        }
    }
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String cannot fail");
}
