//! Profiles as they were, for deliveries under way.

use super::*;

fn wait(entry: Option<ProfileEntry>) -> Option<u64> {
    entry.map(|entry| entry.profile.definition().retry.waits.waits()[0].as_secs())
}

fn own() -> ProfileName {
    "own".parse().unwrap()
}

#[tokio::test]
async fn a_profile_is_had_as_it_was_and_asked_for_once() {
    let outage = Arc::new(Outage::default());
    let store = FakeConfiguration::new(Arc::clone(&outage));
    let first = write(&store, own_profile(Expected::Absent, "1s")).await;
    let second = write(&store, own_profile(Expected::At(first), "2s")).await;
    let directory = directory(&store).await;
    assert_eq!(wait(directory.profile_at_hand(&own(), second)), Some(2));
    assert!(directory.profile_at_hand(&own(), first).is_none());
    outage.begin("gone");
    assert!(directory.profile_at(&own(), first).await.is_err());
    outage.end();
    assert_eq!(wait(directory.profile_at(&own(), first).await.unwrap()), Some(1));
    outage.begin("gone");
    assert_eq!(wait(directory.profile_at(&own(), first).await.unwrap()), Some(1));
    assert_eq!(wait(directory.profile_at(&own(), second).await.unwrap()), Some(2));
}

#[tokio::test]
async fn a_profile_that_was_just_replaced_or_deleted_needs_no_store() {
    let outage = Arc::new(Outage::default());
    let store = FakeConfiguration::new(Arc::clone(&outage));
    let first = write(&store, own_profile(Expected::Absent, "1s")).await;
    let directory = directory(&store).await;
    let second = write(&store, own_profile(Expected::At(first), "2s")).await;
    directory.refresh().await.unwrap();
    let deletion = ConfigWrite { key: profile_key(), expected: Expected::At(second), document: None };
    write(&store, deletion).await;
    directory.refresh().await.unwrap();
    outage.begin("gone");
    assert_eq!(wait(directory.profile_at_hand(&own(), first)), Some(1));
    assert_eq!(wait(directory.profile_at_hand(&own(), second)), Some(2));
    assert!(directory.profile(&own()).is_none());
}

#[tokio::test]
async fn of_many_deliveries_that_need_a_profile_as_it_was_one_asks() {
    let store = FakeConfiguration::new(Arc::default());
    let first = write(&store, own_profile(Expected::Absent, "1s")).await;
    write(&store, own_profile(Expected::At(first), "2s")).await;
    let counting = CountingStore::over(&store);
    let directory = Directory::load(Arc::clone(&counting) as Arc<dyn ConfigStore>).await.unwrap();
    let name = own();
    let waiting = (0..50).map(|_| directory.profile_at(&name, first));
    for found in futures_util::future::join_all(waiting).await {
        assert_eq!(wait(found.unwrap()), Some(1));
    }
    assert_eq!(counting.read(), 1);
}

#[tokio::test]
async fn that_a_profile_cannot_be_read_any_more_is_asked_once_too() {
    let store = FakeConfiguration::new(Arc::default());
    let unreadable = put_unreadable(&store, profile_key()).await;
    let counting = CountingStore::over(&store);
    let directory = Directory::load(Arc::clone(&counting) as Arc<dyn ConfigStore>).await.unwrap();
    for _ in 0..3 {
        assert!(directory.profile_at(&own(), unreadable).await.unwrap().is_none());
        assert!(directory.profile_at_hand(&own(), unreadable).is_none());
    }
    assert_eq!(counting.read(), 1);
}

/// What was accepted under the one and under the other goes on by it.
#[tokio::test]
async fn a_stored_profile_with_the_name_of_a_built_in_one_goes_before_it_until_it_is_withdrawn() {
    let store = FakeConfiguration::new(Arc::default());
    let builtin = postrider_contract::profile::builtin_profiles().last().unwrap();
    let form = Profile { name: builtin.name().clone(), ..stored_form() };
    let stored_at = put(&store, &StoredProfile::Offered(form.clone())).await;
    let mut owner = tenant("a");
    owner.profile = form.name.clone();
    put(&store, &owner).await;
    put(&store, &webhook(1)).await;
    let running = directory(&store).await;
    let of_webhook = |directory: &Directory| directory.webhook(id(1)).known().unwrap().profile.revision;
    assert_eq!(of_webhook(&running), stored_at);
    assert!(!running.offered_profile(&form.name).unwrap().is_builtin());
    let of_program = running.profile_at(&form.name, Revision::ZERO).await.unwrap().unwrap();
    assert_eq!(of_program.profile.definition(), builtin.definition());

    let expected = Expected::At(stored_at);
    let withdrawn = StoredProfile::Withdrawn { withdrawn: form.clone() };
    write(&store, withdrawn.write(expected)).await;
    running.refresh().await.unwrap();
    for directory in [running, directory(&store).await] {
        assert!(directory.offered_profile(&form.name).unwrap().is_builtin());
        assert_eq!(of_webhook(&directory), Revision::ZERO);
        let was = directory.profile_at(&form.name, stored_at).await.unwrap().unwrap();
        assert_eq!(was.profile.definition(), &form);
    }
}

fn stored_form() -> Profile {
    serde_json::from_slice(own_profile(Expected::Absent, "1s").document.as_deref().unwrap()).unwrap()
}
