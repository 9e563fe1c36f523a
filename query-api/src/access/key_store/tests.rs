//! The life of a key, in one process and in two.

use object_store::memory::InMemory;
use rand::{SeedableRng, rngs::StdRng};
use revgauge_contract::time::{DAY_US, ManualClock};

use super::*;

struct Fixture {
    store: Arc<InMemory>,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            clock: Arc::new(ManualClock::at(Timestamp(1_770_000_000_000_000))),
        }
    }

    async fn open(&self, seed: u64) -> Arc<KeyStore> {
        KeyStore::open_with_random(
            Arc::<InMemory>::clone(&self.store),
            KeySettings::default(),
            Arc::<ManualClock>::clone(&self.clock),
            Box::new(StdRng::seed_from_u64(seed)),
        )
        .await
        .expect("opens")
    }
}

#[tokio::test]
async fn a_key_lives_expires_and_is_revoked() {
    let fixture = Fixture::new();
    let keys = fixture.open(1).await;
    let key = keys
        .create("acme", Role::Admin, "ops", Some(DAY_US))
        .await
        .expect("made");
    let caller = keys.authenticate(&key.secret).expect("accepted");
    assert_eq!((&*caller.tenant_id, caller.role), ("acme", Role::Admin));
    fixture.clock.advance(DAY_US);
    assert_eq!(keys.authenticate(&key.secret), None, "expired");
    let other = keys
        .create("acme", Role::Service, "feed", None)
        .await
        .expect("made");
    assert!(keys.scram(&other.info.key_id).is_some());
    assert!(
        keys.revoke("umbrella", &other.info.key_id).await.is_err(),
        "another tenant's key"
    );
    keys.revoke("acme", &other.info.key_id).await.expect("revoked");
    assert_eq!(keys.authenticate(&other.secret), None);
    assert!(keys.scram(&other.info.key_id).is_none());
    for garbage in ["", "rg_live_x_y", "Bearer", &key.secret[..20], "ключ"] {
        assert_eq!(keys.authenticate(garbage), None, "{garbage}");
    }
}

#[tokio::test]
async fn nothing_stored_or_printed_holds_the_secret() {
    let fixture = Fixture::new();
    let keys = fixture.open(1).await;
    let key = keys.create("acme", Role::Admin, "ops", None).await.expect("made");
    let secret_part = key.secret.rsplit('_').next().expect("secret");
    let stored = fixture
        .store
        .get(&path_of(1))
        .await
        .expect("stored")
        .bytes()
        .await
        .expect("bytes");
    assert!(!String::from_utf8_lossy(&stored).contains(secret_part));
    assert!(!format!("{key:?}{keys:?}").contains(secret_part));
}

#[tokio::test]
async fn two_processes_do_not_overwrite_each_other() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.open(1).await, fixture.open(2).await);
    let first = one.create("acme", Role::Admin, "one", None).await.expect("made");
    let second = two.create("acme", Role::Revops, "two", None).await.expect("made");
    assert_eq!(two.list("acme").len(), 2, "the later write saw the earlier one");
    assert_eq!(
        one.authenticate(&second.secret),
        None,
        "not looked at again within the interval"
    );
    fixture.clock.advance(6_000_000);
    assert!(
        one.authenticate_fresh(&second.secret).await.is_some(),
        "looked at the store on a miss"
    );
    two.revoke("acme", &first.info.key_id).await.expect("revoked");
    one.refresh().await.expect("read again");
    assert_eq!(one.authenticate(&first.secret), None);
    assert_eq!(fixture.open(3).await.tenants(), ["acme"]);
}

#[tokio::test]
async fn concurrent_creations_all_survive() {
    let fixture = Fixture::new();
    let keys = [
        fixture.open(1).await,
        fixture.open(2).await,
        fixture.open(3).await,
    ];
    let made = futures::future::try_join_all(
        keys.iter()
            .map(|store| store.create("acme", Role::Service, "k", None)),
    );
    let made = made.await.expect("all made");
    let fresh = fixture.open(4).await;
    for key in made {
        assert!(fresh.authenticate(&key.secret).is_some());
    }
}

#[tokio::test]
async fn rotation_leaves_a_grace_period() {
    let fixture = Fixture::new();
    let keys = fixture.open(1).await;
    let old = keys
        .create("acme", Role::Service, "crm", None)
        .await
        .expect("made");
    let new = keys
        .rotate("acme", &old.info.key_id, 60_000_000)
        .await
        .expect("rotated");
    assert!(keys.authenticate(&old.secret).is_some() && keys.authenticate(&new.secret).is_some());
    fixture.clock.advance(60_000_000);
    assert!(keys.authenticate(&old.secret).is_none() && keys.authenticate(&new.secret).is_some());
}

#[tokio::test]
async fn bad_names_and_a_newer_format_are_refused_with_words() {
    let fixture = Fixture::new();
    let keys = fixture.open(1).await;
    for tenant in ["", "Acme", "a/b", "-a", "../x"] {
        let error = keys
            .create(tenant, Role::Admin, "x", None)
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::User, "{tenant}");
    }
    let body = PutPayload::from_static(br#"{"format":9,"keys":[]}"#);
    fixture.store.put(&path_of(7), body).await.expect("put");
    let error = keys.refresh().await.expect_err("refused");
    assert!(error.to_string().contains("format 9"), "{error}");
}
