//! From a URL to a store that is known to keep its promises.

use std::{
    fmt,
    path::{Path as FsPath, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    path::Path,
    prefix::PrefixStore,
};
use url::Url;

use crate::{StoreError, StoreSettings, SyncedLocal, probe};

/// A store that was probed and may be written to.
#[derive(Clone)]
pub struct OpenStore {
    /// The store, rooted at the folder or prefix of the URL.
    pub store: Arc<dyn ObjectStore>,
    /// The folder, when the store is a local one.
    pub local_dir: Option<PathBuf>,
    /// The store by name, for logs and messages; holds no secret.
    pub description: String,
}

impl fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStore")
            .field("local_dir", &self.local_dir)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// Opens a store and probes it.
///
/// `url` is a folder (made when absent), `file:///folder` or `s3://bucket/prefix`. Costs two small writes and a delete.
///
/// # Errors
/// [`StoreError`]: a URL that is none, a folder that cannot be made, a store that does not answer or ignores
/// conditional creates.
pub async fn open(url: &str, settings: &StoreSettings) -> Result<OpenStore, StoreError> {
    let opened = match url.split_once("://") {
        None => open_folder(FsPath::new(url)).await?,
        Some(("file", _)) => open_folder(&file_path(url)?).await?,
        Some(("s3" | "s3a", _)) => open_s3(url, settings)?,
        Some((scheme, _)) => {
            return Err(refuse(url, format!("'{scheme}' is no kind of store served here")));
        }
    };
    if settings.probe {
        probe(&opened.store, &opened.description).await?;
    }
    tracing::info!(store = %opened.description, "store opened");
    Ok(opened)
}

fn refuse(url: &str, reason: impl Into<String>) -> StoreError {
    StoreError::Url {
        url: url.to_owned(),
        reason: reason.into(),
    }
}

fn file_path(url: &str) -> Result<PathBuf, StoreError> {
    let parsed = Url::parse(url).map_err(|error| refuse(url, error.to_string()))?;
    parsed
        .to_file_path()
        .map_err(|()| refuse(url, "it names no absolute path of this machine"))
}

async fn open_folder(folder: &FsPath) -> Result<OpenStore, StoreError> {
    if folder.as_os_str().is_empty() {
        return Err(refuse("", "it is empty"));
    }
    let local = SyncedLocal::open(folder).await?;
    let folder = local.folder().to_owned();
    Ok(OpenStore {
        description: format!("local folder {}", folder.display()),
        store: Arc::new(local),
        local_dir: Some(folder),
    })
}

fn open_s3(url: &str, settings: &StoreSettings) -> Result<OpenStore, StoreError> {
    let parsed = Url::parse(url).map_err(|error| refuse(url, error.to_string()))?;
    let bucket = parsed
        .host_str()
        .filter(|bucket| !bucket.is_empty())
        .ok_or_else(|| refuse(url, "it names no bucket"))?;
    let prefix =
        Path::from_url_path(parsed.path()).map_err(|error| refuse(url, format!("bad prefix: {error}")))?;
    let store = s3_builder(AmazonS3Builder::from_env(), bucket, settings)
        .build()
        .map_err(|source| StoreError::Access {
            attempt: "configure access",
            store: url.to_owned(),
            source,
        })?;
    let store: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, prefix))
    };
    let at = settings
        .endpoint
        .as_deref()
        .map_or_else(String::new, |at| format!(" at {at}"));
    Ok(OpenStore {
        store,
        local_dir: None,
        description: format!("{url}{at}"),
    })
}

/// `environment` is what `AWS_*` says; what `settings` say goes over it.
fn s3_builder(environment: AmazonS3Builder, bucket: &str, settings: &StoreSettings) -> AmazonS3Builder {
    // Key by key: whole client options would replace what the environment says about them (`AWS_ALLOW_HTTP`).
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let retry = RetryConfig {
        max_retries: settings.max_retries,
        retry_timeout: Duration::from_millis(settings.retry_timeout_ms),
        ..RetryConfig::default()
    };
    let mut builder = environment
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .with_config(timeout, format!("{}ms", settings.request_timeout_ms));
    if settings.allow_http {
        builder = builder.with_allow_http(true);
    }
    if settings.virtual_hosted_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &settings.access_key_id {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = &settings.secret_access_key {
        builder = builder.with_secret_access_key(secret);
    }
    builder
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
    use revgauge_contract::{Classified, ErrorKind};

    use super::*;

    #[tokio::test]
    async fn a_folder_opens_by_path_and_by_url() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a/b");
        let text = path.to_str().expect("text").to_owned();
        let by_path = open(&text, &StoreSettings::default()).await.expect("by path");
        by_path
            .store
            .put(&Path::from("x"), PutPayload::from_static(b"1"))
            .await
            .expect("put");
        let by_url = open(&format!("file://{text}"), &StoreSettings::default())
            .await
            .expect("by url");
        assert!(by_url.store.head(&Path::from("x")).await.is_ok());
        assert_eq!(by_url.local_dir, Some(path.canonicalize().expect("canonical")));
    }

    #[tokio::test]
    async fn what_is_no_store_is_refused_by_name() {
        for url in ["gs://bucket/x", "s3:///x", "file://host/x", ""] {
            let error = open(url, &StoreSettings::default()).await.expect_err(url);
            assert_eq!(error.kind(), ErrorKind::User, "{url}");
            assert!(error.to_string().contains("s3://bucket/prefix"), "{error}");
        }
    }

    #[test]
    fn settings_left_out_leave_the_environment_in_force() {
        let environment = AmazonS3Builder::new()
            .with_allow_http(true)
            .with_region("eu-west-1");
        let builder = s3_builder(environment, "bucket", &StoreSettings::default());
        let value = |key| builder.get_config_value(&key);
        let client = |key| value(AmazonS3ConfigKey::Client(key));
        assert_eq!(client(ClientConfigKey::AllowHttp).as_deref(), Some("true"));
        assert_eq!(client(ClientConfigKey::Timeout).as_deref(), Some("30000ms"));
        assert_eq!(value(AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
        builder.build().expect("the client is made of them");
    }

    /// `REVGAUGE_TEST_S3` is the URL of an S3 server that has the bucket `test`; `moto_server` is one.
    #[tokio::test]
    async fn an_s3_that_honours_creates_opens() {
        let Ok(endpoint) = std::env::var("REVGAUGE_TEST_S3") else {
            eprintln!("skipped: REVGAUGE_TEST_S3 names no S3 server");
            return;
        };
        let settings = StoreSettings {
            endpoint: Some(endpoint),
            region: Some("us-east-1".into()),
            allow_http: true,
            access_key_id: Some("test".into()),
            secret_access_key: Some("test".into()),
            ..StoreSettings::default()
        };
        let opened = open("s3://test/a/prefix", &settings).await.expect("opened");
        let location = Path::from(format!("x/{}", uuid::Uuid::now_v7()));
        let creates = (0..8).map(|n: u8| {
            let (store, location) = (Arc::clone(&opened.store), location.clone());
            async move {
                let options = PutOptions::from(PutMode::Create);
                store.put_opts(&location, vec![n].into(), options).await
            }
        });
        let results = futures::future::join_all(creates).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(opened.store.head(&location).await.is_ok());
    }
}
