//! What is made from code and kept in the repository is what the code makes now. `make generate` writes it.

use postrider_tests::harness::postrider;

use super::tree::read;

async fn assert_made_by(arguments: &[&str], path: &str) {
    let made = postrider::run(arguments, &[], b"").await.unwrap().require_success().unwrap();
    assert!(
        made == read(path),
        "{path} is not what `postrider {}` prints; run make generate",
        arguments.join(" ")
    );
}

#[tokio::test]
async fn the_reference_of_settings_is_current() {
    assert_made_by(&["config", "reference"], "docs/configuration.md").await;
}

#[tokio::test]
async fn the_description_of_the_api_is_current() {
    assert_made_by(&["openapi"], "proto/openapi.json").await;
}
