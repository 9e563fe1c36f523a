//! Who is signed in: sessions and one-time links in memory, known by the hash of a random token.

use std::{collections::HashMap, fmt, num::NonZeroU32};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use rand::{RngCore, TryRngCore as _, rngs::OsRng};
use revgauge_contract::{Timestamp, access::Caller};
use sha2::{Digest as _, Sha256};

use crate::{access::OIDC_PREFIX, api::Api};

use super::{ask::Answers, oidc::OnTheWay, settings::WebSettings};

const HOUR_US: i64 = 3_600_000_000;

/// A signed-in person.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What it may do at the doors.
    pub(super) caller: Caller,
    /// Shown on the page.
    pub(super) name: String,
    /// The user, when a password opened the session; a key's session rests on the key.
    pub(super) login: Option<String>,
    /// Every form carries it.
    pub(super) csrf: String,
    pub(super) ends_at: Timestamp,
}

impl Session {
    /// Whether what opened it is still good: its user, its key, or until it ends the word of an identity provider.
    pub(super) fn is_good(&self, api: &Api) -> bool {
        match &self.login {
            Some(login) => api.users.still_good(login),
            None => self.caller.key_id.starts_with(OIDC_PREFIX) || api.keys.still_good(&self.caller),
        }
    }
}

type Digest = [u8; 32];

/// What the dashboards keep between requests. A restart ends all sessions.
pub(crate) struct WebState {
    settings: WebSettings,
    random: Mutex<Box<dyn RngCore + Send>>,
    sessions: Mutex<HashMap<Digest, Session>>,
    links: Mutex<HashMap<Digest, Session>>,
    pub(super) attempts: DefaultKeyedRateLimiter<String>,
    pub(super) answers: Answers,
    pub(super) past_answers: Answers,
    pub(super) on_the_way: OnTheWay,
}

impl fmt::Debug for WebState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebState")
            .field("sessions", &self.sessions.lock().len())
            .finish_non_exhaustive()
    }
}

impl WebState {
    pub(crate) fn new(settings: &WebSettings) -> Self {
        let attempts = NonZeroU32::new(settings.sign_in_attempts_per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            settings: settings.clone(),
            random: Mutex::new(Box::new(OsRng.unwrap_err())),
            sessions: Mutex::default(),
            links: Mutex::default(),
            attempts: RateLimiter::keyed(Quota::per_minute(attempts)),
            answers: Answers::new(settings.fresh_ms, settings.stale_ms, settings.max_answers),
            past_answers: Answers::new(settings.past_ms, 0, settings.max_answers),
            on_the_way: OnTheWay::default(),
        }
    }

    /// Opens a session and gives the token for the cookie.
    pub(super) fn open(&self, caller: Caller, name: String, login: Option<String>, now: Timestamp) -> String {
        let ends_at = now.plus_micros(i64::from(self.settings.session_hours) * HOUR_US);
        self.keep(&self.sessions, self.session(caller, name, login, ends_at), now)
    }

    /// Makes a link's token: it opens one session, once.
    pub(super) fn invite(&self, caller: Caller, name: String, now: Timestamp) -> String {
        let ends_at = now.plus_micros(i64::from(self.settings.link_minutes) * HOUR_US / 60);
        self.keep(&self.links, self.session(caller, name, None, ends_at), now)
    }

    /// Uses up a link.
    pub(super) fn redeem(&self, token: &str, now: Timestamp) -> Option<Session> {
        let link = self.links.lock().remove(&digest(token))?;
        (now < link.ends_at).then_some(link)
    }

    pub(super) fn find(&self, token: &str, now: Timestamp) -> Option<Session> {
        let sessions = self.sessions.lock();
        let session = sessions.get(&digest(token))?;
        (now < session.ends_at).then(|| session.clone())
    }

    pub(super) fn close(&self, token: &str) {
        self.sessions.lock().remove(&digest(token));
    }

    fn session(&self, caller: Caller, name: String, login: Option<String>, ends_at: Timestamp) -> Session {
        Session {
            caller,
            name,
            login,
            csrf: self.token(),
            ends_at,
        }
    }

    fn keep(&self, place: &Mutex<HashMap<Digest, Session>>, session: Session, now: Timestamp) -> String {
        let token = self.token();
        let mut kept = place.lock();
        if kept.len() >= self.settings.max_sessions {
            kept.retain(|_, session| now < session.ends_at);
        }
        if kept.len() >= self.settings.max_sessions
            && let Some(first) = kept
                .iter()
                .min_by_key(|(_, session)| session.ends_at)
                .map(|(key, _)| *key)
        {
            kept.remove(&first);
        }
        kept.insert(digest(&token), session);
        token
    }

    /// 256 random bits as text.
    pub(super) fn token(&self) -> String {
        use std::fmt::Write as _;
        let mut bytes = [0_u8; 32];
        self.random.lock().fill_bytes(&mut bytes);
        bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Tokens are looked up by hash, so that the time of the search tells nothing of them.
fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}
