pub(crate) mod fixture;
mod former;
mod newer_versions;

use postrider_contract::fakes::{FakeConfiguration, Outage};
use postrider_contract::ports::{ConfigKey, ConfigKind, ConfigWrite, Expected};
use postrider_contract::profile::Profile;
use postrider_contract::webhook::WebhookState;

use super::*;
use crate::config_object::{ConfigObject, StoredProfile};
use fixture::{CountingStore, delete, put, put_unreadable, tenant, webhook, write};

async fn directory(store: &FakeConfiguration) -> Arc<Directory> {
    Directory::load(Arc::new(store.clone())).await.unwrap()
}

fn id(number: u128) -> WebhookId {
    webhook(number).id
}

fn tenant_id() -> TenantId {
    tenant("a").id
}

fn webhooks_of(directory: &Directory) -> Vec<WebhookId> {
    let view = directory.tenant(&tenant_id()).known().unwrap();
    view.webhooks.iter().map(|entry| entry.webhook.id).collect()
}

fn profile_key() -> ConfigKey {
    ConfigKey { kind: ConfigKind::Profile, tenant: None, id: "own".to_owned() }
}

fn own_profile(expected: Expected, wait: &str) -> ConfigWrite {
    let text = format!(
        "name = \"own\"\n[envelope]\nbody = '{{\"data\":${{event.data}}}}'\n[retry]\nwaits = [\"{wait}\"]"
    );
    let json = serde_json::to_vec(&Profile::from_toml(&text).unwrap()).unwrap();
    ConfigWrite { key: profile_key(), expected, document: Some(json.into()) }
}

#[tokio::test]
async fn a_load_reads_every_page_and_finds_webhooks_that_come_long_before_their_tenant() {
    let store = FakeConfiguration::new(Arc::default());
    for number in 1..=2_500 {
        put(&store, &webhook(number)).await;
    }
    put(&store, &tenant("a")).await;
    let counting = CountingStore::over(&store);
    let directory = Directory::load(Arc::clone(&counting) as Arc<dyn ConfigStore>).await.unwrap();
    assert_eq!(counting.asked(), 3);
    assert_eq!(webhooks_of(&directory), (1..=2_500).map(id).collect::<Vec<_>>());
    assert_eq!(directory.revision().number(), 2_501);
    assert_eq!(
        directory.webhook_counts(),
        [("active", 2_500), ("paused", 0), ("disabled", 0), ("unusable", 0)]
    );
}

#[tokio::test]
async fn a_change_makes_no_other_webhook_anew() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    let directory = directory(&store).await;
    let before = directory.webhook(id(1)).known().unwrap();
    put(&store, &webhook(2)).await;
    directory.refresh().await.unwrap();
    assert!(Arc::ptr_eq(&before, &directory.webhook(id(1)).known().unwrap()));
    assert_eq!(webhooks_of(&directory), [id(1), id(2)]);
}

#[tokio::test]
async fn deleted_is_told_from_unknown_even_after_a_restart() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &tenant("b")).await;
    put(&store, &webhook(1)).await;
    let running = directory(&store).await;
    delete(&store, webhook(1).key()).await;
    delete(&store, tenant("b").key()).await;
    running.refresh().await.unwrap();
    for directory in [running, directory(&store).await] {
        assert!(matches!(directory.webhook(id(1)), Found::Deleted));
        assert!(matches!(directory.webhook(id(2)), Found::Unknown));
        assert!(matches!(directory.tenant(&tenant("b").id), Found::Deleted));
        assert!(matches!(directory.tenant(&tenant("c").id), Found::Unknown));
        assert_eq!(webhooks_of(&directory), []);
    }
}

#[tokio::test]
async fn the_webhooks_of_a_deleted_tenant_are_deleted_with_it() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    let running = directory(&store).await;
    delete(&store, tenant("a").key()).await;
    running.refresh().await.unwrap();
    put(&store, &webhook(2)).await;
    running.refresh().await.unwrap();
    for directory in [running, directory(&store).await] {
        for number in [1, 2] {
            assert!(matches!(directory.webhook(id(number)), Found::Deleted), "{number}");
        }
        assert_eq!(directory.webhook_counts()[0], ("active", 0));
    }
}

#[tokio::test]
async fn a_change_of_tenant_profile_or_webhook_is_in_every_view_at_once() {
    let store = FakeConfiguration::new(Arc::default());
    let first = write(&store, own_profile(Expected::Absent, "1s")).await;
    let mut owner = tenant("a");
    owner.profile = "own".parse().unwrap();
    let tenant_revision = put(&store, &owner).await;
    put(&store, &webhook(1)).await;
    let directory = directory(&store).await;
    let before = directory.webhook(id(1)).known().unwrap();
    assert_eq!((before.profile.revision, before.tenant_revision), (first, tenant_revision));
    let second = write(&store, own_profile(Expected::At(first), "2s")).await;
    directory.refresh().await.unwrap();
    let entry = directory.webhook(id(1)).known().unwrap();
    assert_eq!(entry.profile.revision, second);
    assert_ne!(entry.profile.profile.definition().retry, before.profile.profile.definition().retry);
    owner.profile = "trcker".parse().unwrap();
    put(&store, &owner).await;
    let mut paused = webhook(1);
    paused.state = WebhookState::Paused { since: owner.created_at };
    let revision = put(&store, &paused).await;
    directory.refresh().await.unwrap();
    let view = directory.tenant(&tenant_id()).known().unwrap();
    let entry = directory.webhook(id(1)).known().unwrap();
    assert!(Arc::ptr_eq(&view.webhooks[0], &entry));
    assert_eq!(entry.profile.profile.name().as_str(), "trcker");
    assert_eq!((entry.revision, entry.webhook.state.is_active()), (revision, false));
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out_and_the_rest_goes_on() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    put_unreadable(&store, webhook(2).key()).await;
    put_unreadable(&store, tenant("b").key()).await;
    put_unreadable(&store, profile_key()).await;
    let last = put(&store, &webhook(3)).await;
    let directory = directory(&store).await;
    assert_eq!(webhooks_of(&directory), [id(1), id(3)]);
    assert_eq!(directory.revision(), last);
    // It is there, in a form that a newer version can read: not deleted.
    assert!(matches!(directory.webhook(id(2)), Found::Unknown));
    assert!(directory.profile(&"own".parse().unwrap()).is_none());
}

#[tokio::test]
async fn a_withdrawn_profile_serves_whoever_has_it_and_nobody_else_even_after_a_restart() {
    let store = FakeConfiguration::new(Arc::default());
    let offered = own_profile(Expected::Absent, "1s");
    let form: Profile = serde_json::from_slice(offered.document.as_deref().unwrap()).unwrap();
    let revision = write(&store, offered).await;
    let mut owner = tenant("a");
    owner.profile = form.name.clone();
    put(&store, &owner).await;
    put(&store, &webhook(1)).await;
    let mut choosing = webhook(2);
    choosing.profile = Some(form.name.clone());
    put(&store, &choosing).await;
    let running = directory(&store).await;
    let of_all = running.webhooks_with_profile(&form.name);
    assert_eq!(of_all.iter().map(|entry| entry.webhook.id).collect::<Vec<_>>(), [id(1), id(2)]);
    let uses = running.profile_uses(&form.name);
    assert!(matches!(&uses[..], [ProfileUse::Tenant(tenant), ProfileUse::Webhook(entry)]
        if *tenant == owner.id && entry.webhook.id == id(2)));
    assert!(running.offered_profile(&form.name).is_some());

    let withdrawn = StoredProfile::Withdrawn { withdrawn: form.clone() };
    let withdrawn_at = write(&store, withdrawn.write(Expected::At(revision))).await;
    running.refresh().await.unwrap();
    for directory in [&running, &directory(&store).await] {
        assert_eq!(webhooks_of(directory), [id(1), id(2)]);
        assert_eq!(directory.profile(&form.name).unwrap().revision, withdrawn_at);
        assert!(directory.offered_profile(&form.name).is_none());
        assert_eq!(directory.offered_profiles().len(), postrider_contract::profile::builtin_profiles().len());
    }
    put(&store, &StoredProfile::Offered(form.clone())).await;
    running.refresh().await.unwrap();
    assert!(running.offered_profiles().contains_key(&form.name));
}

#[tokio::test]
async fn a_webhook_whose_profile_is_gone_is_unknown_however_the_directory_came_to_know_it() {
    let store = FakeConfiguration::new(Arc::default());
    let written = write(&store, own_profile(Expected::Absent, "1s")).await;
    put(&store, &tenant("a")).await;
    let mut own = webhook(1);
    own.profile = "own".parse().ok();
    put(&store, &own).await;
    let running = directory(&store).await;
    let deletion = ConfigWrite { key: profile_key(), expected: Expected::At(written), document: None };
    write(&store, deletion).await;
    running.refresh().await.unwrap();
    for directory in [running, directory(&store).await] {
        assert!(matches!(directory.webhook(id(1)), Found::Unknown));
        assert_eq!(webhooks_of(&directory), []);
    }
}

#[tokio::test]
async fn a_refresh_to_a_revision_asks_once_for_all_who_wait_for_it() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    let counting = CountingStore::over(&store);
    let directory = Directory::load(Arc::clone(&counting) as Arc<dyn ConfigStore>).await.unwrap();
    let revision = put(&store, &webhook(1)).await;
    let asked = counting.asked();
    let waiting = (0..50).map(|_| directory.refresh_to(revision));
    for result in futures_util::future::join_all(waiting).await {
        result.unwrap();
    }
    assert_eq!(counting.asked(), asked + 1);
    assert_eq!(webhooks_of(&directory), [id(1)]);
    directory.refresh_to(revision).await.unwrap();
    assert_eq!(counting.asked(), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_directory_grows_older_and_goes_on_with_what_it_knows() {
    let outage = Arc::new(Outage::default());
    let store = FakeConfiguration::new(Arc::clone(&outage));
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    let directory = directory(&store).await;
    assert_eq!(directory.age(), Duration::ZERO);
    outage.begin("gone");
    for minutes in 1..=3 {
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(directory.refresh().await.is_err());
        assert!(directory.refresh_to(Revision::from_number(99)).await.is_err());
        assert_eq!(directory.age(), Duration::from_secs(60 * minutes));
    }
    assert_eq!(webhooks_of(&directory), [id(1)]);
    outage.end();
    directory.refresh().await.unwrap();
    assert_eq!(directory.age(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_followed_store_is_seen_to_change_and_to_come_back() {
    let outage = Arc::new(Outage::default());
    let store = FakeConfiguration::new(Arc::clone(&outage));
    put(&store, &tenant("a")).await;
    let directory = directory(&store).await;
    let stop = Stop::default();
    let (followed, watched) = (Arc::clone(&directory), stop.clone());
    let following = tokio::spawn(async move { followed.follow(&watched).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&store, &webhook(1)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(webhooks_of(&directory), [id(1)]);
    // Told or not, it asks every minute.
    tokio::time::sleep(REFRESH_EVERY * 3).await;
    assert!(directory.age() <= REFRESH_EVERY);
    put(&store, &webhook(2)).await;
    outage.begin("gone");
    tokio::time::sleep(REFRESH_EVERY * 2).await;
    assert!(directory.age() > REFRESH_EVERY);
    outage.end();
    tokio::time::sleep(RETRY_AFTER_FAILURE * 2).await;
    assert_eq!(webhooks_of(&directory), [id(1), id(2)]);
    stop.halt();
    following.await.unwrap();
}

#[tokio::test]
async fn a_webhook_is_had_again_as_it_was_rendered_for_whatever_became_of_it() {
    let outage = Arc::new(Outage::default());
    let store = FakeConfiguration::new(Arc::clone(&outage));
    let profile = write(&store, own_profile(Expected::Absent, "1s")).await;
    let mut owner = tenant("a");
    owner.profile = "own".parse().unwrap();
    let tenant_revision = put(&store, &owner).await;
    let revision = put(&store, &webhook(1)).await;
    let directory = directory(&store).await;
    let was = directory.webhook(id(1)).known().unwrap();
    let rendered_with = RenderedWith { webhook: revision, profile, tenant: tenant_revision };
    let own = owner.profile.clone();
    let again = || directory.webhook_as_rendered(&owner.id, was.webhook.id, &own, rendered_with);
    outage.begin("gone");
    assert!(Arc::ptr_eq(&again().await.unwrap().unwrap(), &was), "what is current needs no store");
    outage.end();
    write(&store, own_profile(Expected::At(profile), "2s")).await;
    let mut renamed = tenant("a");
    renamed.name = "Another".to_owned();
    put(&store, &renamed).await;
    delete(&store, webhook(1).key()).await;
    directory.refresh().await.unwrap();
    let entry = again().await.unwrap().unwrap();
    assert_eq!((&entry.webhook, &entry.tenant), (&was.webhook, &was.tenant));
    assert_eq!(entry.profile.profile.definition(), was.profile.profile.definition());
    let before = RenderedWith { webhook: Revision::ZERO, ..rendered_with };
    let never = directory.webhook_as_rendered(&owner.id, was.webhook.id, &own, before).await.unwrap();
    assert!(never.is_none());
}

#[tokio::test]
async fn a_tenants_catalogue_follows_its_profile_and_what_is_described_above_it() {
    use postrider_contract::catalogue::{CatalogueSource, EventTypeDefinition, WrittenMajor};

    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &tenant("b")).await;
    let directory = directory(&store).await;
    let sources = |tenant: &str, event_type: &str| -> Vec<CatalogueSource> {
        let view = directory.tenant(&tenant.parse().unwrap()).known().unwrap();
        let known = view.catalogue.get(&event_type.parse().unwrap());
        known.into_iter().flat_map(|known| known.majors().map(|one| one.source)).collect()
    };
    assert_eq!(sources("a", "cap.reached"), []);
    let described = |tenant: Option<&str>, event_type: &str, version: &str| {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        EventTypeDefinition::new(tenant, event_type.parse().unwrap()).with(WrittenMajor {
            version: version.parse().unwrap(),
            description: String::new(),
            schema: None,
            example: None,
            sunset_at: None,
        })
    };
    put(&store, &Tenant { profile: "trcker".parse().unwrap(), ..tenant("a") }).await;
    put(&store, &described(None, "cap.reached", "2.0")).await;
    put(&store, &described(Some("a"), "cap.reached", "2.1")).await;
    put(&store, &described(Some("a"), "own.type", "1.0")).await;
    directory.refresh().await.unwrap();
    assert_eq!(sources("a", "cap.reached"), [CatalogueSource::Builtin, CatalogueSource::Tenant]);
    assert_eq!(sources("b", "cap.reached"), [CatalogueSource::Installation]);
    assert_eq!((sources("a", "own.type").len(), sources("b", "own.type").len()), (1, 0));
    assert_eq!(directory.installation_catalogue().types().count(), 1);

    put(&store, &tenant("a")).await;
    put(&store, &EventTypeDefinition::new(None, "cap.reached".parse().unwrap())).await;
    directory.refresh().await.unwrap();
    assert_eq!(sources("a", "cap.reached"), [CatalogueSource::Tenant], "another profile, and withdrawn");
    assert_eq!(sources("b", "cap.reached"), []);
}
