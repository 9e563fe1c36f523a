//! People who sign in to the dashboards: made once, password hashed with Argon2id, one numbered object a change.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString},
};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, path::Path};
use parking_lot::{Mutex, RwLock};
use rand::{RngCore, TryRngCore as _, rngs::OsRng};
use revgauge_contract::{
    Classified, Clock, ErrorKind, Timestamp,
    access::{Caller, Rights, Role},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::key_store::{AccessError, check_rights, check_tenant};

/// Version of the stored form.
const FORMAT: u32 = 1;

/// Numbers of the user store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserSettings {
    /// Memory of one Argon2id hash, KiB. OWASP asks for 19456 with two passes.
    pub argon2_memory_kib: u32,
    /// Passes of one Argon2id hash.
    pub argon2_passes: u32,
    /// Passwords checked at the same time; the memory of sign-in is this times `argon2_memory_kib`.
    pub concurrent_checks: usize,
    /// Shortest password, characters.
    pub min_password_chars: usize,
    /// Users kept, ended ones included.
    pub max_users: usize,
}

impl Default for UserSettings {
    fn default() -> Self {
        Self {
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            concurrent_checks: 2,
            min_password_chars: 10,
            max_users: 10_000,
        }
    }
}

/// What a person may do in the dashboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Everything of the tenant, keys and users included.
    Admin,
    /// Reads the records of its people, answers suggestions.
    Manager,
    /// Reads its own records, answers suggestions.
    Rep,
    /// Reads everything of the tenant, answers suggestions.
    Revops,
}

impl UserRole {
    /// The role its requests have at the doors.
    #[must_use]
    pub const fn door_role(self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Manager => Role::Manager,
            Self::Rep => Role::Rep,
            Self::Revops => Role::Revops,
        }
    }

    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.door_role().as_str()
    }
}

/// What may be shown of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// What the person types to sign in: a mail address or a short name, lower case, one in the whole deployment.
    pub login: String,
    /// Whose.
    pub tenant_id: String,
    /// What it may do.
    pub role: UserRole,
    /// Whom it stands for and what it was narrowed to.
    #[serde(default)]
    pub rights: Rights,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was ended, if it was.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl UserInfo {
    /// The user as the doors know it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(
            &self.tenant_id,
            &format!("user:{}", self.login),
            self.role.door_role(),
        )
        .with_rights(self.rights.clone())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserRecord {
    #[serde(flatten)]
    info: UserInfo,
    /// PHC string of Argon2id.
    password: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserFile {
    format: u32,
    users: Vec<UserRecord>,
}

/// What can go wrong with users.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The tenant name cannot be used.
    #[error("'{0}' is no tenant id: use 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit")]
    BadTenant(String),
    /// The login cannot be used.
    #[error("cannot make a user '{0}': use 1 to 96 of letters, digits and '.', '-', '_', '+', '@'")]
    BadLogin(String),
    /// The rights give nothing or contradict the role.
    #[error(transparent)]
    BadRights(AccessError),
    /// The password is too short or too long.
    #[error("cannot take this password: use {0} to 256 characters")]
    BadPassword(usize),
    /// Taken.
    #[error("cannot make a user '{0}': the name is taken, choose another")]
    Taken(String),
    /// No such user of this tenant.
    #[error("no user '{0}' of this tenant: list the users to see their names")]
    NoSuchUser(String),
    /// The setting `max_users` is reached.
    #[error("cannot make another user: {0} exist, which is the setting 'max_users'")]
    TooMany(usize),
    /// Others wrote at the same time, again and again.
    #[error("cannot store the users: another process changed them meanwhile, try again")]
    Contended,
    /// The object store failed.
    #[error("cannot reach the users at '{path}': {source}")]
    Store {
        /// The object.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// What is stored is not what was written.
    #[error("cannot read the users at '{path}': {reason}")]
    Corrupt {
        /// The object.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The hash could not be made.
    #[error("cannot hash a password: {0}")]
    Hash(String),
}

impl Classified for UserError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadTenant(_)
            | Self::BadLogin(_)
            | Self::BadPassword(_)
            | Self::BadRights(_)
            | Self::Taken(_) => ErrorKind::User,
            Self::NoSuchUser(_) => ErrorKind::NotFound,
            Self::TooMany(_) | Self::Contended => ErrorKind::Limit,
            Self::Store { .. } => ErrorKind::External,
            Self::Corrupt { .. } => ErrorKind::Data,
            Self::Hash(_) => ErrorKind::Internal,
        }
    }
}

struct Loaded {
    version: u64,
    users: Vec<UserRecord>,
}

/// All users of a deployment.
pub struct UserStore {
    store: Arc<dyn ObjectStore>,
    settings: UserSettings,
    clock: Arc<dyn Clock>,
    random: Mutex<Box<dyn RngCore + Send>>,
    loaded: RwLock<Loaded>,
    checks: Semaphore,
}

impl fmt::Debug for UserStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserStore")
            .field("settings", &self.settings)
            .field("version", &self.loaded.read().version)
            .finish_non_exhaustive()
    }
}

impl UserStore {
    /// Opens the users in `access/` of the store.
    ///
    /// # Errors
    /// When the store fails or the newest version cannot be read.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        settings: UserSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, UserError> {
        let loaded = read_newest(store.as_ref()).await?;
        Ok(Arc::new(Self {
            checks: Semaphore::new(settings.concurrent_checks.max(1)),
            store,
            settings,
            clock,
            random: Mutex::new(Box::new(OsRng.unwrap_err())),
            loaded: RwLock::new(loaded),
        }))
    }

    /// Makes a user. Durable at return, as far as the store is.
    ///
    /// # Errors
    /// On bad or taken names, short passwords, at the limit of users, or when the store fails.
    pub async fn create(
        &self,
        tenant_id: &str,
        role: UserRole,
        login: &str,
        password: &str,
    ) -> Result<UserInfo, UserError> {
        self.create_with(tenant_id, role, Rights::default(), login, password)
            .await
    }

    /// [`Self::create`] for a user that stands for a CRM user, a team or a territory.
    ///
    /// # Errors
    /// As [`Self::create`], and for rights that give nothing.
    pub async fn create_with(
        &self,
        tenant_id: &str,
        role: UserRole,
        rights: Rights,
        login: &str,
        password: &str,
    ) -> Result<UserInfo, UserError> {
        check_rights(role.door_role(), &rights).map_err(UserError::BadRights)?;
        let login = login_of(login);
        if !check_tenant(tenant_id) {
            return Err(UserError::BadTenant(tenant_id.chars().take(96).collect()));
        }
        if !plain_login(&login) {
            return Err(UserError::BadLogin(login.chars().take(96).collect()));
        }
        let length = password.chars().count();
        if length < self.settings.min_password_chars || length > 256 {
            return Err(UserError::BadPassword(self.settings.min_password_chars));
        }
        let info = UserInfo {
            login: login.clone(),
            tenant_id: tenant_id.to_owned(),
            role,
            rights,
            created_at: self.clock.now(),
            ended_at: None,
        };
        let record = UserRecord {
            info: info.clone(),
            password: self.hash(password.to_owned()).await?,
        };
        self.change(|users| {
            if users.len() >= self.settings.max_users {
                return Err(UserError::TooMany(users.len()));
            }
            if users
                .iter()
                .any(|user| user.info.login == login && user.info.ended_at.is_none())
            {
                return Err(UserError::Taken(login.clone()));
            }
            users.push(record.clone());
            Ok(())
        })
        .await?;
        Ok(info)
    }

    /// Ends a user: it signs in no more, and its open sessions end at their next request.
    ///
    /// # Errors
    /// `NoSuchUser`, or when the store fails.
    pub async fn end(&self, tenant_id: &str, login: &str) -> Result<UserInfo, UserError> {
        let (login, now) = (login_of(login), self.clock.now());
        self.change(|users| {
            let user = users.iter_mut().find(|user| {
                user.info.tenant_id == tenant_id && user.info.login == login && user.info.ended_at.is_none()
            });
            let user = user.ok_or_else(|| UserError::NoSuchUser(login.chars().take(96).collect()))?;
            user.info.ended_at = Some(now);
            Ok(user.info.clone())
        })
        .await
    }

    /// The users of a tenant, oldest first.
    #[must_use]
    pub fn list(&self, tenant_id: &str) -> Vec<UserInfo> {
        let loaded = self.loaded.read();
        let own = loaded
            .users
            .iter()
            .filter(|user| user.info.tenant_id == tenant_id);
        own.map(|user| user.info.clone()).collect()
    }

    /// Whether the user still may sign in, as far as this process knows.
    #[must_use]
    pub fn still_good(&self, login: &str) -> bool {
        let loaded = self.loaded.read();
        loaded
            .users
            .iter()
            .any(|user| user.info.login == login && user.info.ended_at.is_none())
    }

    /// The user behind a login and a password. Unknown names take the time of a wrong password. Costs one Argon2id hash.
    ///
    /// # Errors
    /// When the store cannot be read or the hash not computed.
    pub async fn check(&self, login: &str, password: &str) -> Result<Option<UserInfo>, UserError> {
        // A user made or ended by another process counts at once: signing in is rare, a look is cheap.
        let newest = read_newest(self.store.as_ref()).await?;
        self.install(newest);
        let login = login_of(login);
        let found = {
            let loaded = self.loaded.read();
            let mut users = loaded.users.iter();
            users
                .find(|user| user.info.login == login && user.info.ended_at.is_none())
                .cloned()
        };
        let password = password.chars().take(256).collect::<String>();
        let Some(user) = found else {
            self.hash(password).await?;
            return Ok(None);
        };
        let stored = user.password.clone();
        let same = self
            .aside(move || {
                let stored =
                    PasswordHash::new(&stored).map_err(|error| UserError::Hash(error.to_string()))?;
                Ok(Argon2::default()
                    .verify_password(password.as_bytes(), &stored)
                    .is_ok())
            })
            .await?;
        Ok(same.then_some(user.info))
    }

    async fn hash(&self, password: String) -> Result<String, UserError> {
        let mut salt = [0_u8; 16];
        self.random.lock().fill_bytes(&mut salt);
        let (memory, passes) = (self.settings.argon2_memory_kib, self.settings.argon2_passes);
        self.aside(move || {
            let params =
                Params::new(memory, passes, 1, None).map_err(|error| UserError::Hash(error.to_string()))?;
            let salt = SaltString::encode_b64(&salt).map_err(|error| UserError::Hash(error.to_string()))?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password(password.as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| UserError::Hash(error.to_string()))
        })
        .await
    }

    /// Hashing takes tens of milliseconds and megabytes: off the serving threads, few at a time.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, UserError> + Send + 'static,
    ) -> Result<T, UserError> {
        let lost = |error: String| UserError::Hash(error);
        let _place = self
            .checks
            .acquire()
            .await
            .map_err(|error| lost(error.to_string()))?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| lost(error.to_string()))?
    }

    async fn change<T>(
        &self,
        apply: impl Fn(&mut Vec<UserRecord>) -> Result<T, UserError>,
    ) -> Result<T, UserError> {
        const ATTEMPTS: usize = 8;
        for _ in 0..ATTEMPTS {
            let mut newest = read_newest(self.store.as_ref()).await?;
            let answer = apply(&mut newest.users)?;
            newest.version += 1;
            let path = path_of(newest.version);
            let file = UserFile {
                format: FORMAT,
                users: newest.users.clone(),
            };
            let body = serde_json::to_vec(&file).map_err(|error| corrupt(&path, error.to_string()))?;
            let only_new = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&path, PutPayload::from(body), only_new).await {
                Ok(_) => {
                    self.install(newest);
                    return Ok(answer);
                }
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                }
                Err(source) => return Err(failed(&path, source)),
            }
        }
        Err(UserError::Contended)
    }

    fn install(&self, newest: Loaded) {
        let mut loaded = self.loaded.write();
        if newest.version > loaded.version {
            *loaded = newest;
        }
    }
}

fn login_of(text: &str) -> String {
    text.trim().to_lowercase()
}

fn plain_login(login: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@');
    (1..=96).contains(&login.len()) && login.chars().all(plain)
}

fn path_of(version: u64) -> Path {
    Path::from(format!("access/users-{version:020}.json"))
}

fn version_of(path: &Path) -> Option<u64> {
    path.filename()?
        .strip_prefix("users-")?
        .strip_suffix(".json")?
        .parse()
        .ok()
}

async fn read_newest(store: &dyn ObjectStore) -> Result<Loaded, UserError> {
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
        return Ok(Loaded {
            version: 0,
            users: Vec::new(),
        });
    };
    let path = path_of(version);
    let answer = store.get(&path).await.map_err(|source| failed(&path, source))?;
    let bytes = answer.bytes().await.map_err(|source| failed(&path, source))?;
    let file: UserFile = serde_json::from_slice(&bytes).map_err(|error| corrupt(&path, error.to_string()))?;
    if file.format != FORMAT {
        return Err(corrupt(
            &path,
            format!(
                "format {} is not known, this is a newer deployment's",
                file.format
            ),
        ));
    }
    Ok(Loaded {
        version,
        users: file.users,
    })
}

fn failed(path: &Path, source: object_store::Error) -> UserError {
    UserError::Store {
        path: path.to_string(),
        source,
    }
}

fn corrupt(path: &Path, reason: String) -> UserError {
    UserError::Corrupt {
        path: path.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use revgauge_contract::time::ManualClock;

    use super::*;

    fn light() -> UserSettings {
        UserSettings {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..UserSettings::default()
        }
    }

    #[tokio::test]
    async fn a_password_lets_its_user_in_until_the_user_ends() {
        let store = Arc::new(InMemory::new());
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let here = UserStore::open(Arc::clone(&store) as _, light(), Arc::clone(&clock) as _)
            .await
            .expect("opens");
        let elsewhere = UserStore::open(store as _, light(), clock as _)
            .await
            .expect("opens");
        let made = elsewhere
            .create("acme", UserRole::Revops, "Mo@Acme.io ", "correct horse")
            .await
            .expect("made");
        assert_eq!(made.login, "mo@acme.io");
        let found = here.check("mo@acme.io", "correct horse").await.expect("checked");
        assert_eq!(found.map(|user| user.role), Some(UserRole::Revops));
        for (login, password) in [
            ("mo@acme.io", "wrong horse"),
            ("no@acme.io", "correct horse"),
            ("", ""),
        ] {
            assert_eq!(here.check(login, password).await.expect("checked"), None);
        }
        elsewhere.end("acme", "mo@acme.io").await.expect("ended");
        assert_eq!(
            here.check("mo@acme.io", "correct horse").await.expect("checked"),
            None
        );
        assert!(!here.still_good("mo@acme.io"));
    }

    #[tokio::test]
    async fn bad_names_short_passwords_and_taken_names_are_refused() {
        let store = Arc::new(InMemory::new());
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let users = UserStore::open(store as _, light(), clock as _)
            .await
            .expect("opens");
        users
            .create("acme", UserRole::Admin, "mo", "correct horse")
            .await
            .expect("made");
        for (tenant, login, password) in [
            ("acme", "mo", "correct horse"),
            ("other", "mo", "correct horse"),
            ("acme", "", "correct horse"),
            ("acme", "<b>", "correct horse"),
            ("acme", "jo", "short"),
            ("A B", "jo", "correct horse"),
        ] {
            let refused = users.create(tenant, UserRole::Admin, login, password).await;
            assert!(refused.is_err(), "{tenant} {login} {password}");
        }
        assert_eq!(users.list("other"), []);
        assert!(matches!(
            users.end("other", "mo").await,
            Err(UserError::NoSuchUser(_))
        ));
    }
}
