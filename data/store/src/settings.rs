//! What an operator may say about a store; all of it optional.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Settings of [`crate::open`]. Only the S3 part needs any; what is absent comes from `AWS_*` in the environment.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// URL of an S3-compatible server; absent means AWS.
    pub endpoint: Option<String>,
    /// S3 region.
    pub region: Option<String>,
    /// Whether plain `http://` endpoints are allowed.
    pub allow_http: bool,
    /// Access key.
    pub access_key_id: Option<String>,
    /// Secret of the access key; never printed.
    pub secret_access_key: Option<String>,
    /// Whether the bucket is part of the host name instead of the path.
    pub virtual_hosted_style: bool,
    /// Longest time for one request, milliseconds.
    pub request_timeout_ms: u64,
    /// How often the client repeats a request that failed on the way (0: never).
    pub max_retries: usize,
    /// Longest time for a request with its repetitions, milliseconds.
    pub retry_timeout_ms: u64,
    /// Whether [`crate::open`] probes that creates are conditional; only tests have a reason to say no.
    pub probe: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            allow_http: false,
            access_key_id: None,
            secret_access_key: None,
            virtual_hosted_style: false,
            request_timeout_ms: 30_000,
            max_retries: 5,
            retry_timeout_ms: 60_000,
            probe: true,
        }
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("allow_http", &self.allow_http)
            .field("access_key_id", &self.access_key_id)
            .field(
                "secret_access_key",
                &self.secret_access_key.as_ref().map(|_| "(set)"),
            )
            .field("virtual_hosted_style", &self.virtual_hosted_style)
            .field("request_timeout_ms", &self.request_timeout_ms)
            .field("max_retries", &self.max_retries)
            .field("retry_timeout_ms", &self.retry_timeout_ms)
            .field("probe", &self.probe)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_never_printed() {
        let settings = StoreSettings {
            secret_access_key: Some("hunter2".into()),
            ..StoreSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
