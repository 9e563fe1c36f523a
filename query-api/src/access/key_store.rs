//! API keys: made once, stored hashed, checked in memory, shared by every process on the same store.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, path::Path};
use parking_lot::{Mutex, RwLock};
use rand::{RngCore, TryRngCore as _, rngs::OsRng};
use revgauge_contract::{
    Classified, Clock, ErrorKind, Timestamp,
    access::{Authenticator, Caller, Rights, Role},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::runtime::Handle;

use super::{
    key_record::{FORMAT, KeyFile, KeyInfo, KeyRecord, path_of, version_of},
    operator::Operator,
    scram::ScramVerifier,
    secret,
};

/// Fewest PBKDF2 rounds of a SCRAM verifier (RFC 7677).
const MIN_SCRAM_ITERATIONS: u32 = 4_096;

/// Numbers of the key store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// How long a key made or revoked by another process may go unnoticed, milliseconds.
    pub refresh_ms: u64,
    /// PBKDF2 rounds of the SCRAM verifier; RFC 7677 asks for 4096 at least.
    pub scram_iterations: u32,
    /// How often a change is tried again when another process writes at the same time.
    pub write_attempts: u32,
    /// Keys kept, revoked ones included.
    pub max_keys: usize,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            refresh_ms: 5_000,
            scram_iterations: 4_096,
            write_attempts: 8,
            max_keys: 10_000,
        }
    }
}

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The tenant name cannot be used.
    #[error("'{0}' is no tenant id: use 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit")]
    BadTenant(String),
    /// The rights give nothing or contradict the role.
    #[error("cannot make a key of role {role}: {reason}")]
    BadRights {
        /// The role.
        role: &'static str,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The key name cannot be used.
    #[error("cannot name a key '{0}': use 1 to 96 printable characters")]
    BadName(String),
    /// No such key of this tenant.
    #[error("no key '{0}' of this tenant: list the keys to see their ids")]
    NoSuchKey(String),
    /// The setting `max_keys` is reached.
    #[error("cannot make another key: {0} exist, which is the setting 'max_keys'")]
    TooMany(usize),
    /// Others wrote at the same time, again and again.
    #[error("cannot store the keys: another process changed them {0} times meanwhile, try again")]
    Contended(u32),
    /// The object store failed.
    #[error("cannot reach the keys at '{path}': {source}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The stored text is not what was written.
    #[error("cannot read the keys at '{path}': {reason}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Classified for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadTenant(_) | Self::BadName(_) | Self::BadRights { .. } => ErrorKind::User,
            Self::NoSuchKey(_) => ErrorKind::NotFound,
            Self::TooMany(_) | Self::Contended(_) => ErrorKind::Limit,
            Self::Store { .. } => ErrorKind::External,
            Self::Corrupt { .. } => ErrorKind::Data,
        }
    }
}

/// A new key. The secret is in here and nowhere else.
#[derive(Clone)]
pub struct NewKey {
    /// What is kept.
    pub info: KeyInfo,
    /// The whole key, to be shown once.
    pub secret: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

struct Entry {
    caller: Caller,
    digest: [u8; 32],
    scram: ScramVerifier,
    expires_at: Option<Timestamp>,
    revoked: bool,
}

struct Loaded {
    version: u64,
    file: KeyFile,
    by_id: HashMap<String, Entry>,
}

/// All keys of a deployment. Tenants exist by their keys.
pub struct KeyStore {
    store: Arc<dyn ObjectStore>,
    settings: KeySettings,
    clock: Arc<dyn Clock>,
    random: Mutex<Box<dyn RngCore + Send>>,
    loaded: RwLock<Loaded>,
    operator: RwLock<Option<Operator>>,
    checked_at_us: AtomicI64,
    runtime: Handle,
    /// What an unknown key is compared with, so that it takes the same path.
    nobody: Entry,
    this: std::sync::Weak<Self>,
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("settings", &self.settings)
            .field("version", &self.loaded.read().version)
            .finish_non_exhaustive()
    }
}

impl KeyStore {
    /// Opens the keys in `access/` of the store, with the operating system's randomness.
    ///
    /// Must be called within a tokio runtime: later refreshes run there.
    ///
    /// # Errors
    /// When the store fails or the newest version cannot be read.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        settings: KeySettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, AccessError> {
        Self::open_with_random(store, settings, clock, Box::new(OsRng.unwrap_err())).await
    }

    /// [`Self::open`] with given randomness, for tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_random(
        store: Arc<dyn ObjectStore>,
        settings: KeySettings,
        clock: Arc<dyn Clock>,
        random: Box<dyn RngCore + Send>,
    ) -> Result<Arc<Self>, AccessError> {
        let loaded = read_newest(store.as_ref()).await?;
        let checked_at_us = AtomicI64::new(clock.now().micros());
        Ok(Arc::new_cyclic(|this| Self {
            store,
            settings,
            clock,
            random: Mutex::new(random),
            loaded: RwLock::new(loaded),
            operator: RwLock::default(),
            checked_at_us,
            runtime: Handle::current(),
            nobody: Entry {
                caller: Caller::new("", "", Role::Service),
                digest: [0; 32],
                scram: ScramVerifier::none(),
                expires_at: None,
                revoked: true,
            },
            this: std::sync::Weak::clone(this),
        }))
    }

    /// Makes a key. The answer holds the secret; it can never be shown again.
    ///
    /// `expires_in_us` is microseconds from now. Durable at return, as far as the store is.
    ///
    /// # Errors
    /// On bad names, at the limit of keys, or when the store fails.
    pub async fn create(
        &self,
        tenant_id: &str,
        role: Role,
        name: &str,
        expires_in_us: Option<i64>,
    ) -> Result<NewKey, AccessError> {
        self.create_with(tenant_id, role, Rights::default(), name, expires_in_us)
            .await
    }

    /// [`Self::create`] for a key that stands for somebody or is narrowed to some scopes.
    ///
    /// # Errors
    /// As [`Self::create`], and for rights that give nothing.
    pub async fn create_with(
        &self,
        tenant_id: &str,
        role: Role,
        rights: Rights,
        name: &str,
        expires_in_us: Option<i64>,
    ) -> Result<NewKey, AccessError> {
        check_names(tenant_id, name)?;
        check_rights(role, &rights)?;
        let now = self.clock.now();
        let expires_at = expires_in_us.map(|us| now.plus_micros(us));
        let (record, secret) = self.draw(tenant_id, (role, rights), name, now, expires_at);
        let info = record.info();
        let max_keys = self.settings.max_keys;
        self.change(|file| {
            if file.keys.len() >= max_keys {
                return Err(AccessError::TooMany(file.keys.len()));
            }
            file.keys.push(record.clone());
            Ok(())
        })
        .await?;
        Ok(NewKey { info, secret })
    }

    /// The keys of a tenant, oldest first.
    #[must_use]
    pub fn list(&self, tenant_id: &str) -> Vec<KeyInfo> {
        let loaded = self.loaded.read();
        let own = loaded.file.keys.iter().filter(|key| key.tenant_id == tenant_id);
        own.map(KeyRecord::info).collect()
    }

    /// Every tenant that has a key.
    #[must_use]
    pub fn tenants(&self) -> Vec<String> {
        let loaded = self.loaded.read();
        let names: BTreeSet<_> = loaded.file.keys.iter().map(|key| key.tenant_id.clone()).collect();
        names.into_iter().collect()
    }

    /// The SCRAM verifier of a usable key, with its caller, for SQL doors.
    #[must_use]
    pub fn scram(&self, key_id: &str) -> Option<(Caller, ScramVerifier)> {
        let now = self.clock.now();
        let loaded = self.loaded.read();
        let entry = loaded.by_id.get(key_id).filter(|entry| entry.usable(now))?;
        Some((entry.caller.clone(), entry.scram.clone()))
    }

    /// PBKDF2 rounds of new verifiers: a login of nobody is told the same number.
    pub(crate) fn scram_iterations(&self) -> u32 {
        self.settings.scram_iterations.max(MIN_SCRAM_ITERATIONS)
    }

    /// [`Self::scram`], but looks at the store first as [`Self::authenticate_fresh`] does.
    pub async fn scram_fresh(&self, key_id: &str) -> Option<(Caller, ScramVerifier)> {
        let known = self.scram(key_id);
        if known.is_none() && self.claim_refresh() {
            self.refresh_and_log().await;
            return self.scram(key_id);
        }
        known
    }

    /// Revokes a key at once in this process, within `refresh_ms` in the others. Revoking twice is no error.
    ///
    /// # Errors
    /// `NoSuchKey` when the tenant has no such key, or when the store fails.
    pub async fn revoke(&self, tenant_id: &str, key_id: &str) -> Result<KeyInfo, AccessError> {
        let now = self.clock.now();
        self.change(|file| {
            let key = own_key(file, tenant_id, key_id)?;
            key.revoked_at = key.revoked_at.or(Some(now));
            Ok(key.info())
        })
        .await
    }

    /// Makes a successor with the same role and name; the old key stops after `grace_us` microseconds.
    ///
    /// # Errors
    /// As [`Self::revoke`].
    pub async fn rotate(&self, tenant_id: &str, key_id: &str, grace_us: i64) -> Result<NewKey, AccessError> {
        let now = self.clock.now();
        let old = self.list(tenant_id).into_iter().find(|key| key.key_id == key_id);
        let old = old.ok_or_else(|| AccessError::NoSuchKey(key_id.to_owned()))?;
        // A key made for some time is renewed for the same time.
        let lifetime = old.expires_at.map(|at| at.micros() - old.created_at.micros());
        let expires_at = lifetime.map(|us| now.plus_micros(us));
        let (record, secret) = self.draw(tenant_id, (old.role, old.rights), &old.name, now, expires_at);
        let info = record.info();
        let ends_at = now.plus_micros(grace_us.max(0));
        self.change(|file| {
            let key = own_key(file, tenant_id, key_id)?;
            key.expires_at = Some(key.expires_at.map_or(ends_at, |at| at.min(ends_at)));
            file.keys.push(record.clone());
            Ok(())
        })
        .await?;
        Ok(NewKey { info, secret })
    }

    /// [`Authenticator::authenticate`], but looks at the store first when the key is unknown here and the last look is
    /// longer ago than `refresh_ms`, so that a key just made by another process works at once.
    pub async fn authenticate_fresh(&self, key: &str) -> Option<Caller> {
        let known = self.check(key);
        if known.is_none() && self.claim_refresh() {
            self.refresh_and_log().await;
            return self.check(key);
        }
        if self.claim_refresh() {
            self.refresh_later();
        }
        known
    }

    /// Whether a caller let in earlier would still be let in: for connections and answers that never end. A key that
    /// another process revoked is found out within `refresh_ms`, as with a login.
    #[must_use]
    pub fn still_good(&self, caller: &Caller) -> bool {
        if self.claim_refresh() {
            self.refresh_later();
        }
        if &*caller.key_id == Operator::KEY_ID {
            return self.operator.read().is_some();
        }
        let now = self.clock.now();
        let loaded = self.loaded.read();
        loaded
            .by_id
            .get(&*caller.key_id)
            .is_some_and(|entry| entry.usable(now))
    }

    /// The caller behind the public id of a usable key of a tenant; the operator's is administrator of each.
    #[must_use]
    pub fn caller_named(&self, tenant_id: &str, key_id: &str) -> Option<Caller> {
        if key_id == Operator::KEY_ID {
            return Some(Caller::new(tenant_id, Operator::KEY_ID, Role::Admin));
        }
        let now = self.clock.now();
        let loaded = self.loaded.read();
        let entry = loaded.by_id.get(key_id).filter(|entry| entry.usable(now))?;
        (*entry.caller.tenant_id == *tenant_id).then(|| entry.caller.clone())
    }

    /// Reads the newest version from the store.
    ///
    /// # Errors
    /// When the store fails or the version cannot be read; what was known stays.
    pub async fn refresh(&self) -> Result<(), AccessError> {
        let newest = read_newest(self.store.as_ref()).await?;
        self.install(newest);
        Ok(())
    }

    /// Lets `rg_operator_<secret>_<tenant>` in as administrator of any tenant, for as long as this process runs. The
    /// secret holds no `_` and is known only to who may read it where the server left it.
    pub fn set_operator(&self, secret: &str) {
        *self.operator.write() = Some(Operator::of(secret));
    }

    fn check(&self, key: &str) -> Option<Caller> {
        if let Some(caller) = (*self.operator.read()).and_then(|operator| operator.check(key)) {
            return Some(caller);
        }
        let now = self.clock.now();
        let digest = secret::digest(key);
        let loaded = self.loaded.read();
        let key_id = secret::key_id_of(key).unwrap_or("");
        let entry = loaded.by_id.get(key_id).unwrap_or(&self.nobody);
        let same = bool::from(entry.digest.ct_eq(&digest));
        // Both are always computed: a revoked key and a wrong one take the same time.
        (same & entry.usable(now)).then(|| entry.caller.clone())
    }

    fn claim_refresh(&self) -> bool {
        let now = self.clock.now().micros();
        let last = self.checked_at_us.load(Ordering::Acquire);
        let refresh_us = i64::try_from(self.settings.refresh_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        now.saturating_sub(last) >= refresh_us
            && self
                .checked_at_us
                .compare_exchange(last, now, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    fn refresh_later(&self) {
        if let Some(this) = self.this.upgrade() {
            self.runtime.spawn(async move { this.refresh_and_log().await });
        }
    }

    async fn refresh_and_log(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "keys could not be read again, the known ones stay");
        }
    }

    fn draw(
        &self,
        tenant_id: &str,
        (role, rights): (Role, Rights),
        name: &str,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> (KeyRecord, String) {
        let mut random = self.random.lock();
        let drawn = secret::draw(random.as_mut());
        let record = KeyRecord {
            key_id: drawn.key_id,
            tenant_id: tenant_id.to_owned(),
            role,
            rights,
            name: name.to_owned(),
            created_at: now,
            expires_at,
            revoked_at: None,
            sha256: hex(&secret::digest(&drawn.text)),
            scram: ScramVerifier::of(&drawn.text, self.scram_iterations(), random.as_mut()),
        };
        (record, drawn.text)
    }

    /// Applies a change to the newest version and writes it as the next one, which only one process can create.
    async fn change<T>(
        &self,
        apply: impl Fn(&mut KeyFile) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        for _ in 0..self.settings.write_attempts.max(1) {
            let newest = read_newest(self.store.as_ref()).await?;
            let mut file = newest.file;
            let answer = apply(&mut file)?;
            let path = path_of(newest.version + 1);
            let body = serde_json::to_vec(&file).map_err(|error| corrupt(&path, error.to_string()))?;
            let only_new = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&path, PutPayload::from(body), only_new).await {
                Ok(_) => {
                    self.install(Loaded::of(newest.version + 1, file, &path)?);
                    return Ok(answer);
                }
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                }
                Err(source) => return Err(failed(&path, source)),
            }
        }
        Err(AccessError::Contended(self.settings.write_attempts))
    }

    fn install(&self, newest: Loaded) {
        let mut loaded = self.loaded.write();
        if newest.version > loaded.version {
            *loaded = newest;
        }
    }
}

impl Authenticator for KeyStore {
    fn authenticate(&self, key: &str) -> Option<Caller> {
        if self.claim_refresh() {
            self.refresh_later();
        }
        self.check(key)
    }
}

impl Entry {
    fn usable(&self, now: Timestamp) -> bool {
        !self.revoked & self.expires_at.is_none_or(|at| now < at)
    }
}

impl Loaded {
    fn of(version: u64, file: KeyFile, path: &Path) -> Result<Self, AccessError> {
        let mut by_id = HashMap::with_capacity(file.keys.len());
        for key in &file.keys {
            let digest = unhex(&key.sha256)
                .ok_or_else(|| corrupt(path, format!("key '{}' has a hash that is none", key.key_id)))?;
            let caller = Caller::new(&key.tenant_id, &key.key_id, key.role).with_rights(key.rights.clone());
            let entry = Entry {
                caller,
                digest,
                scram: key.scram.clone(),
                expires_at: key.expires_at,
                revoked: key.revoked_at.is_some(),
            };
            by_id.insert(key.key_id.clone(), entry);
        }
        Ok(Self { version, file, by_id })
    }
}

async fn read_newest(store: &dyn ObjectStore) -> Result<Loaded, AccessError> {
    let folder = Path::from("access");
    let found: Vec<_> = store
        .list(Some(&folder))
        .try_collect()
        .await
        .map_err(|source| failed(&folder, source))?;
    let newest = found
        .iter()
        .filter_map(|object| version_of(&object.location))
        .max();
    let Some(version) = newest else {
        return Loaded::of(0, KeyFile::default(), &folder);
    };
    let path = path_of(version);
    let answer = store.get(&path).await.map_err(|source| failed(&path, source))?;
    let bytes = answer.bytes().await.map_err(|source| failed(&path, source))?;
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, error.to_string()))?;
    if file.format != FORMAT {
        return Err(corrupt(
            &path,
            format!(
                "format {} is not known, this is a newer deployment's",
                file.format
            ),
        ));
    }
    Loaded::of(version, file, &path)
}

fn own_key<'a>(
    file: &'a mut KeyFile,
    tenant_id: &str,
    key_id: &str,
) -> Result<&'a mut KeyRecord, AccessError> {
    let mut keys = file.keys.iter_mut();
    keys.find(|key| key.key_id == key_id && key.tenant_id == tenant_id)
        .ok_or_else(|| AccessError::NoSuchKey(key_id.chars().take(64).collect()))
}

/// Whether a text can be a tenant's id.
pub(super) fn check_tenant(tenant_id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = tenant_id.bytes();
    tenant_id.len() <= 64
        && bytes.next().is_some_and(plain)
        && bytes.all(|b| plain(b) || b == b'_' || b == b'-')
}

fn check_names(tenant_id: &str, name: &str) -> Result<(), AccessError> {
    if !check_tenant(tenant_id) {
        return Err(AccessError::BadTenant(tenant_id.chars().take(96).collect()));
    }
    if name.trim().is_empty() || name.len() > 96 || name.chars().any(char::is_control) {
        return Err(AccessError::BadName(name.chars().take(96).collect()));
    }
    Ok(())
}

/// Longest name of a user, team or territory, bytes.
const MAX_RIGHT_BYTES: usize = 256;

/// Whether rights make sense for a role.
pub(super) fn check_rights(role: Role, rights: &Rights) -> Result<(), AccessError> {
    let bad = |reason| {
        Err(AccessError::BadRights {
            role: role.as_str(),
            reason,
        })
    };
    let names = [&rights.user_id, &rights.team, &rights.territory];
    if names.iter().any(|name| {
        name.as_ref()
            .is_some_and(|name| name.is_empty() || name.len() > MAX_RIGHT_BYTES)
    }) {
        return bad("user, team and territory have 1 to 256 bytes");
    }
    if role == Role::Rep && rights.user_id.is_none() {
        return bad("say with 'user_id' which CRM user it stands for, or it would see nothing");
    }
    if role == Role::Manager && names.iter().all(|name| name.is_none()) {
        return bad("say with 'user_id', 'team' or 'territory' whose records it sees");
    }
    if rights.scopes.as_ref().is_some_and(Vec::is_empty) {
        return bad("an empty list of scopes allows nothing: leave it out for all of the role");
    }
    if rights.requests_per_second == Some(0) {
        return bad("requests_per_second is at least 1");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

fn failed(path: &Path, source: object_store::Error) -> AccessError {
    AccessError::Store {
        path: path.to_string(),
        source,
    }
}

fn corrupt(path: &Path, reason: String) -> AccessError {
    AccessError::Corrupt {
        path: path.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests;
