//! The files of the repository, as the checks see them.

use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours: what is built, what a server wrote, what git keeps.
const NOT_OURS: [&str; 4] = ["target", "data", ".git", "node_modules"];

/// One file and its text.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// Whether the whole file is there for tests.
    pub is_test: bool,
}

impl TextFile {
    /// Its name without folders and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }

    /// The text up to the unit tests at its bottom; nothing of a file that is all test.
    pub fn product_code(&self) -> &str {
        if self.is_test { "" } else { self.split_at_tests().0 }
    }

    /// The part that is compiled for tests only.
    pub fn test_code(&self) -> &str {
        if self.is_test { &self.text } else { self.split_at_tests().1 }
    }

    fn split_at_tests(&self) -> (&str, &str) {
        let beginning = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text.split_at(beginning)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the tests' package is in a folder of the repository").to_owned()
}

/// One file that must exist.
pub fn read(path: &str) -> String {
    let text = std::fs::read_to_string(root().join(path));
    assert!(text.is_ok(), "cannot read {path}: {text:?}");
    text.unwrap_or_default()
}

/// Every file with text in it whose path ends so.
pub fn files_ending(endings: &[&str]) -> Vec<TextFile> {
    all_files().into_iter().filter(|file| endings.iter().any(|ending| file.path.ends_with(ending))).collect()
}

/// Every Rust file below `folder`.
pub fn rust_files(folder: &str) -> Vec<TextFile> {
    files_ending(&[".rs"]).into_iter().filter(|file| file.path.starts_with(folder)).collect()
}

/// Every file with text in it.
pub fn all_files() -> Vec<TextFile> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder that was just listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // In a further working tree of the repository, `.git` is a file.
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let from_root = path.strip_prefix(&root).expect("below the root");
                let path = from_root.to_string_lossy().replace('\\', "/");
                let is_test = path.starts_with("tests/") || path.split('/').nth(2) == Some("tests");
                files.push(TextFile { is_test, path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let test_modules: Vec<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        file.is_test |= test_modules.iter().any(|module| file.path.starts_with(module.as_str()));
    }
    assert!(files.len() > 100, "the repository was not found at {}", root.display());
    files
}

/// The beginnings of the paths of modules that a file declares for tests only, in files of their own.
fn test_modules(file: &TextFile) -> Vec<String> {
    let is_root = ["lib", "main", "mod"].contains(&file.stem());
    let folder = match file.path.rsplit_once('/') {
        Some((folder, _)) if is_root => folder.to_owned(),
        Some(_) | None => file.path.trim_end_matches(".rs").to_owned(),
    };
    let names = file.text.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let name =
            rest.trim_start().trim_start_matches("pub(crate) ").strip_prefix("mod ")?.split_once(';')?.0;
        name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then(|| name.to_owned())
    });
    names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]).collect()
}

/// Fails with every violation at once.
pub fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}
