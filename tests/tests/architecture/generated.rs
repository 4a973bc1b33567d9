//! What is made from code and kept in the repository is what the code makes now. `make generate` writes it.

use anyhow::{Result, ensure};
use postrider_tests::harness::postrider;

use super::tree::read;

#[tokio::test]
async fn the_reference_of_settings_is_current() -> Result<()> {
    ensure_made_by(&["config", "reference"], "docs/configuration.md").await
}

#[tokio::test]
async fn the_description_of_the_api_is_current() -> Result<()> {
    ensure_made_by(&["openapi"], "proto/openapi.json").await
}

#[tokio::test]
async fn the_schema_of_profiles_is_current() -> Result<()> {
    ensure_made_by(&["profiles", "schema"], "proto/profile.schema.json").await
}

async fn ensure_made_by(arguments: &[&str], path: &str) -> Result<()> {
    let made = postrider::run(arguments, &[], b"").await?.require_success()?;
    ensure!(
        made == read(path),
        "{path} is not what `postrider {}` prints; run make generate",
        arguments.join(" ")
    );
    Ok(())
}
