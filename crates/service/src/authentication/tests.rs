use std::collections::BTreeSet;

use http::HeaderValue;
use postrider_contract::clock::{ManualClock, Timestamp};
use postrider_contract::fakes::{FakeConfiguration, Outage};
use postrider_contract::key::AdminKey;
use postrider_contract::ports::ConfigStore;

use super::*;
use crate::config_object::ConfigObject;
use crate::directory::tests::fixture::{CountingStore, delete, put, put_unreadable, tenant};
use crate::key_text::{KeyHolder, draw_key};
use crate::system::SystemEntropy;

const ADMIN: &str = "pra_admin";
const NOW: Timestamp = Timestamp::EPOCH;

struct Gate {
    configuration: FakeConfiguration,
    outage: Arc<Outage>,
    store: Arc<CountingStore>,
    clock: Arc<ManualClock>,
    authenticator: Arc<Authenticator>,
}

/// With tenant `a`.
async fn gate(admin: AdminKeySource) -> Gate {
    let outage = Arc::new(Outage::default());
    let configuration = FakeConfiguration::new(Arc::clone(&outage));
    put(&configuration, &tenant("a")).await;
    let store = CountingStore::over(&configuration);
    let directory = Directory::load(Arc::clone(&store) as Arc<dyn ConfigStore>).await.unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let authenticator = Authenticator::new(directory, clock.clone(), admin);
    Gate { configuration, outage, store, clock, authenticator }
}

fn configured() -> AdminKeySource {
    AdminKeySource::Configured(KeyHash::of(ADMIN))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn bearer_of(key: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {key}"))])
}

fn drawn() -> String {
    draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned()
}

fn api_key(number: u128, text: &str) -> ApiKey {
    ApiKey {
        id: KeyId::from_u128(number),
        tenant: "a".parse().unwrap(),
        name: "key".to_owned(),
        scopes: BTreeSet::from([Scope::Read]),
        expires_at: None,
        hash: KeyHash::of(text),
        hint: String::new(),
        created_at: NOW,
    }
}

impl Gate {
    async fn refused(&self, headers: &HeaderMap) -> Code {
        self.authenticator.authenticate(headers).await.expect_err("refused").code()
    }

    async fn tenant_of(&self, key: &str) -> Option<TenantId> {
        match self.authenticator.authenticate(&bearer_of(key)).await {
            Ok(Caller::Tenant(key)) => Some(key.tenant.clone()),
            Ok(Caller::Admin { .. }) => panic!("not the admin"),
            Err(problem) => {
                assert_eq!(problem.code(), Code::Unauthorized);
                None
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_one_bearer_key_is_refused() {
    let gate = gate(configured()).await;
    let key = drawn();
    put(&gate.configuration, &api_key(1, &key)).await;
    let good = format!("Bearer {key}");
    assert!(gate.authenticator.authenticate(&headers(&[("authorization", &good)])).await.is_ok());
    let lower = format!("bearer {key}");
    assert!(gate.authenticator.authenticate(&headers(&[("authorization", &lower)])).await.is_ok());
    let long = format!("Bearer {}", "x".repeat(513));
    for pairs in [
        &[][..],
        &[("authorization", good.as_str()), ("authorization", good.as_str())],
        &[("authorization", key.as_str())],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "Bearer a b")],
        &[("authorization", long.as_str())],
    ] {
        assert_eq!(gate.refused(&headers(pairs)).await, Code::Unauthorized, "{pairs:?}");
    }
}

#[tokio::test]
async fn the_admin_key_acts_for_the_tenant_that_it_names() {
    let gate = gate(configured()).await;
    let directory = gate.authenticator.directory();
    let bearer = format!("Bearer {ADMIN}");
    let with = |tenants: &[&str]| {
        let mut all = headers(&[("authorization", &bearer)]);
        for name in tenants {
            all.append(TENANT_HEADER, HeaderValue::from_str(name).unwrap());
        }
        all
    };
    let caller = gate.authenticator.authenticate(&with(&["a"])).await.unwrap();
    caller.require_admin().unwrap();
    assert_eq!(caller.tenant_with(Scope::Manage, directory).unwrap().as_str(), "a");
    let nobody = gate.authenticator.authenticate(&with(&["nobody"])).await.unwrap();
    assert_eq!(nobody.tenant_with(Scope::Read, directory).unwrap_err().code(), Code::NotFound);
    let none = gate.authenticator.authenticate(&with(&[])).await.unwrap();
    assert_eq!(none.tenant_with(Scope::Read, directory).unwrap_err().code(), Code::BadRequest);
    assert_eq!(gate.refused(&with(&["a.b"])).await, Code::NotFound);
    assert_eq!(gate.refused(&with(&["a", "b"])).await, Code::BadRequest);
}

#[tokio::test]
async fn a_stored_admin_key_is_known_by_its_hash_and_nothing_else_is_admin() {
    let gate = gate(AdminKeySource::Stored).await;
    assert_eq!(gate.refused(&bearer_of(ADMIN)).await, Code::Unauthorized);
    put(&gate.configuration, &AdminKey { hash: KeyHash::of(ADMIN), created_at: NOW }).await;
    gate.authenticator.directory().refresh().await.unwrap();
    let caller = gate.authenticator.authenticate(&bearer_of(ADMIN)).await.unwrap();
    assert_eq!(caller.key_id(), None);
    for text in ["pra_admim", KeyHash::of(ADMIN).as_str()] {
        assert_eq!(gate.refused(&bearer_of(text)).await, Code::Unauthorized);
    }
}

#[tokio::test]
async fn a_tenants_key_acts_for_its_tenant_alone_and_within_its_scopes() {
    let gate = gate(configured()).await;
    put(&gate.configuration, &tenant("b")).await;
    let key = drawn();
    put(&gate.configuration, &api_key(1, &key)).await;
    let mut asked = bearer_of(&key);
    for foreign in ["b", "nobody", "not an id", ""] {
        asked.insert(TENANT_HEADER, HeaderValue::from_static(foreign));
        let refused = gate.authenticator.authenticate(&asked).await.expect_err(foreign);
        assert_eq!(refused.code(), Code::Forbidden, "{foreign}");
    }
    asked.insert(TENANT_HEADER, HeaderValue::from_static("a"));
    let caller = gate.authenticator.authenticate(&asked).await.unwrap();
    let directory = gate.authenticator.directory();
    assert_eq!(caller.tenant_with(Scope::Read, directory).unwrap().as_str(), "a");
    for scope in [Scope::Publish, Scope::Manage] {
        assert_eq!(caller.tenant_with(scope, directory).unwrap_err().code(), Code::Forbidden);
    }
    assert_eq!(caller.require_admin().unwrap_err().code(), Code::Forbidden);
    assert_eq!(caller.key_id(), Some(KeyId::from_u128(1)));
}

#[tokio::test]
async fn a_key_ends_when_it_expires_is_revoked_or_its_tenant_is_deleted() {
    let gate = gate(configured()).await;
    let directory = Arc::clone(gate.authenticator.directory());
    let (expiring, revoked) = (drawn(), drawn());
    let end = NOW.plus(Duration::from_secs(60));
    put(&gate.configuration, &ApiKey { expires_at: Some(end), ..api_key(1, &expiring) }).await;
    put(&gate.configuration, &api_key(2, &revoked)).await;
    directory.refresh().await.unwrap();
    gate.clock.set(NOW.plus(Duration::from_millis(59_999)));
    assert!(gate.tenant_of(&expiring).await.is_some());
    gate.clock.set(end);
    assert_eq!(gate.tenant_of(&expiring).await, None);
    assert!(gate.tenant_of(&revoked).await.is_some());
    delete(&gate.configuration, api_key(2, &revoked).key()).await;
    directory.refresh().await.unwrap();
    assert_eq!(gate.tenant_of(&revoked).await, None);
    let orphaned = drawn();
    put(&gate.configuration, &api_key(3, &orphaned)).await;
    delete(&gate.configuration, tenant("a").key()).await;
    directory.refresh().await.unwrap();
    assert_eq!(gate.tenant_of(&orphaned).await, None);
}

#[tokio::test(start_paused = true)]
async fn guesses_ask_the_store_at_most_once_in_200_ms_however_many_they_are() {
    let gate = gate(configured()).await;
    let before = gate.store.asked();
    for text in ["prk_nonsense", "x", &drawn().replace("prk_", "pra_")] {
        assert_eq!(gate.tenant_of(text).await, None);
    }
    assert_eq!(gate.store.asked(), before, "what cannot be a key is not looked for");
    let began = Instant::now();
    let guesses: Vec<_> = (0..100)
        .map(|number| {
            let authenticator = Arc::clone(&gate.authenticator);
            tokio::spawn(async move {
                for _ in 0..3 {
                    authenticator.authenticate(&bearer_of(&drawn())).await.unwrap_err();
                    tokio::time::sleep(Duration::from_millis(number)).await;
                }
            })
        })
        .collect();
    for guess in guesses {
        guess.await.unwrap();
    }
    let allowed = began.elapsed().as_millis() / ASK_STORE_EVERY.as_millis() + 1;
    let asked = u128::from(gate.store.asked() - before);
    assert!(asked > 1 && asked <= allowed, "{asked} of {allowed}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_just_made_is_good_at_once_whatever_was_guessed_a_moment_before() {
    let gate = gate(configured()).await;
    assert_eq!(gate.tenant_of(&drawn()).await, None);
    let key = drawn();
    put(&gate.configuration, &api_key(1, &key)).await;
    let (first, second) = tokio::join!(gate.tenant_of(&key), gate.tenant_of(&key));
    assert!(first.is_some() && second.is_some());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_known_keys_are_good_and_others_are_not() {
    let gate = gate(configured()).await;
    let (known, unknown) = (drawn(), drawn());
    put(&gate.configuration, &api_key(1, &known)).await;
    assert!(gate.tenant_of(&known).await.is_some());
    gate.outage.begin("gone");
    assert!(gate.tenant_of(&known).await.is_some());
    assert_eq!(gate.tenant_of(&unknown).await, None);
}

#[tokio::test]
async fn of_a_tenant_that_cannot_be_read_nobody_is_told_that_it_or_its_key_is_not_there() {
    let gate = gate(configured()).await;
    let directory = gate.authenticator.directory();
    let (newer, key) = (tenant("newer"), drawn());
    put(&gate.configuration, &ApiKey { tenant: newer.id.clone(), ..api_key(1, &key) }).await;
    put_unreadable(&gate.configuration, newer.key()).await;
    directory.refresh().await.unwrap();
    assert_eq!(gate.refused(&bearer_of(&key)).await, Code::Unavailable);
    let acting = headers(&[("authorization", &format!("Bearer {ADMIN}")), (TENANT_HEADER, "newer")]);
    let caller = gate.authenticator.authenticate(&acting).await.unwrap();
    assert_eq!(caller.tenant_with(Scope::Read, directory).unwrap_err().code(), Code::Unavailable);
    // Once it can be read, or is deleted, all is as ever.
    put(&gate.configuration, &newer).await;
    directory.refresh().await.unwrap();
    assert_eq!(gate.tenant_of(&key).await, Some(newer.id.clone()));
    delete(&gate.configuration, newer.key()).await;
    directory.refresh().await.unwrap();
    assert_eq!(gate.refused(&bearer_of(&key)).await, Code::Unauthorized);
    assert_eq!(caller.tenant_with(Scope::Read, directory).unwrap_err().code(), Code::NotFound);
}
