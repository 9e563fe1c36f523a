//! The start-up check that a store honours conditional creates.

use std::sync::Arc;

use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, path::Path,
};
use uuid::Uuid;

use crate::StoreError;

/// Creates `.probe/<unique>` twice; the second must fail. The probe object is deleted either way.
///
/// # Errors
/// [`StoreError::IgnoresCreate`] when the second create succeeds, [`StoreError::Access`] when the store does not
/// answer or says that it cannot create conditionally.
pub async fn probe(store: &Arc<dyn ObjectStore>, name: &str) -> Result<(), StoreError> {
    let location = Path::from(format!(".probe/{}", Uuid::now_v7()));
    let access = |attempt, source| StoreError::Access {
        attempt,
        store: name.to_owned(),
        source,
    };
    match create(store, &location).await {
        // A client that repeats a request whose answer was lost meets its own object: creates are conditional.
        Ok(_) | Err(Error::AlreadyExists { .. }) => {}
        Err(source) => return Err(access("create a probe object", source)),
    }
    let second = create(store, &location).await;
    if let Err(error) = store.delete(&location).await {
        tracing::warn!(store = name, %error, object = %location, "probe object could not be deleted");
    }
    match second {
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(()),
        Ok(_) => Err(StoreError::IgnoresCreate {
            store: name.to_owned(),
        }),
        Err(source) => Err(access("create a probe object a second time", source)),
    }
}

async fn create(store: &Arc<dyn ObjectStore>, location: &Path) -> Result<PutResult, Error> {
    let options = PutOptions::from(PutMode::Create);
    store
        .put_opts(location, PutPayload::from_static(b"probe"), options)
        .await
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::{StreamExt, stream::BoxStream};
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        Result, memory::InMemory,
    };
    use revgauge_contract::{Classified, ErrorKind};

    use super::*;

    /// Answers like s3rver and garage: takes every put, whatever the mode.
    #[derive(Debug, Default)]
    struct Careless(InMemory);

    impl std::fmt::Display for Careless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("careless")
        }
    }

    #[async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            mut opts: PutOptions,
        ) -> Result<PutResult> {
            opts.mode = PutMode::Overwrite;
            self.0.put_opts(location, payload, opts).await
        }
        async fn put_multipart_opts(
            &self,
            location: &Path,
            opts: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(location, opts).await
        }
        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }
        fn delete_stream(
            &self,
            locations: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    #[tokio::test]
    async fn a_store_that_ignores_create_is_refused_by_name() {
        let store: Arc<dyn ObjectStore> = Arc::new(Careless::default());
        let error = probe(&store, "s3://bucket at http://s3rver")
            .await
            .expect_err("refused");
        assert!(matches!(error, StoreError::IgnoresCreate { .. }));
        assert_eq!(error.kind(), ErrorKind::User);
        let text = error.to_string();
        assert!(
            text.contains("s3://bucket at http://s3rver") && text.contains("If-None-Match"),
            "{text}"
        );
        assert_eq!(store.list(None).count().await, 0, "the probe object is deleted");
    }

    #[tokio::test]
    async fn an_honest_store_passes() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        probe(&store, "memory").await.expect("passes");
        assert_eq!(store.list(None).count().await, 0);
    }
}
