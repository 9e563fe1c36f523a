//! What the synced local store promises.

use object_store::ObjectStoreExt;
use tokio::task::JoinSet;

use super::*;

async fn opened() -> (tempfile::TempDir, SyncedLocal) {
    let dir = tempfile::tempdir().expect("folder");
    let store = SyncedLocal::open(dir.path()).await.expect("opened");
    (dir, store)
}

fn create() -> PutOptions {
    PutOptions::from(PutMode::Create)
}

async fn text(store: &SyncedLocal, path: &str) -> String {
    let bytes = store.get(&Path::from(path)).await.expect("get").bytes().await;
    String::from_utf8(bytes.expect("bytes").to_vec()).expect("text")
}

async fn names(store: &SyncedLocal) -> Vec<String> {
    let listed: Vec<_> = store.list(None).try_collect().await.expect("list");
    let mut names: Vec<_> = listed.into_iter().map(|meta| meta.location.to_string()).collect();
    names.sort();
    names
}

fn staged_files(dir: &FsPath) -> usize {
    std::fs::read_dir(dir.join(STAGING))
        .expect("staging")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
        .map(|path| std::fs::read_dir(path).expect("read").count() - 1)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_have_one_winner() {
    let (dir, store) = opened().await;
    let other = SyncedLocal::open(dir.path()).await.expect("a second opener");
    for round in 0..10 {
        let location = Path::from(format!("new/{round}/object"));
        let mut tasks = JoinSet::new();
        for writer in 0..16 {
            let store = if writer % 2 == 0 {
                store.clone()
            } else {
                other.clone()
            };
            let location = location.clone();
            tasks.spawn(async move {
                let payload = PutPayload::from(format!("writer {writer}"));
                (writer, store.put_opts(&location, payload, create()).await)
            });
        }
        let mut winners = vec![];
        for (writer, result) in tasks.join_all().await {
            match result {
                Ok(_) => winners.push(writer),
                Err(error) => assert!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(
            text(&store, location.as_ref()).await,
            format!("writer {}", winners[0])
        );
    }
    assert_eq!(staged_files(dir.path()), 0);
}

#[tokio::test]
async fn overwrite_replaces_and_tags_agree_with_reads() {
    let (_dir, store) = opened().await;
    let location = Path::from("a/b");
    store
        .put(&location, PutPayload::from_static(b"one"))
        .await
        .expect("put");
    let put = store
        .put(&location, PutPayload::from_static(b"two"))
        .await
        .expect("put");
    assert_eq!(text(&store, "a/b").await, "two");
    assert_eq!(store.head(&location).await.expect("head").e_tag, put.e_tag);
}

#[tokio::test]
async fn an_upload_appears_whole_or_not_at_all() {
    let (dir, store) = opened().await;
    let mut upload = store.put_multipart(&Path::from("big")).await.expect("upload");
    let first = upload.put_part(PutPayload::from_static(b"first "));
    let second = upload.put_part(PutPayload::from_static(b"second"));
    second.await.expect("second");
    first.await.expect("first");
    assert!(names(&store).await.is_empty());
    upload.complete().await.expect("complete");
    assert_eq!(text(&store, "big").await, "first second");

    let mut aborted = store.put_multipart(&Path::from("gone")).await.expect("upload");
    aborted
        .put_part(PutPayload::from_static(b"x"))
        .await
        .expect("part");
    aborted.abort().await.expect("abort");
    drop(store.put_multipart(&Path::from("dropped")).await.expect("upload"));
    assert_eq!(names(&store).await, ["big"]);
    assert_eq!(staged_files(dir.path()), 0);
}

#[tokio::test]
async fn the_staging_folder_is_hidden_and_closed() {
    let (_dir, store) = opened().await;
    store
        .put(&Path::from("a/b"), PutPayload::from_static(b"1"))
        .await
        .expect("put");
    let top = store.list_with_delimiter(None).await.expect("list");
    assert_eq!(top.common_prefixes, [Path::from("a")]);
    assert_eq!(names(&store).await, ["a/b"]);
    let inside = Path::from(format!("{STAGING}/x"));
    assert!(store.put(&inside, PutPayload::from_static(b"1")).await.is_err());
}

#[tokio::test]
async fn opening_removes_what_dead_owners_left_and_nothing_else() {
    let (dir, store) = opened().await;
    let dead = dir.path().join(STAGING).join("dead");
    std::fs::create_dir(&dead).expect("folder");
    std::fs::write(dead.join(OWNER_FILE), b"").expect("owner");
    std::fs::write(dead.join("0"), b"half").expect("half");
    let mut upload = store.put_multipart(&Path::from("alive")).await.expect("upload");
    upload
        .put_part(PutPayload::from_static(b"x"))
        .await
        .expect("part");
    let _second = SyncedLocal::open(dir.path()).await.expect("second");
    assert!(!dead.try_exists().expect("stat"));
    upload
        .complete()
        .await
        .expect("the living owner's file is still there");
}

const OWNER_FILE: &str = "owner";

#[tokio::test]
async fn copies_follow_their_mode() {
    let (_dir, store) = opened().await;
    let (a, b) = (Path::from("a"), Path::from("x/b"));
    store.put(&a, PutPayload::from_static(b"1")).await.expect("put");
    store.copy_if_not_exists(&a, &b).await.expect("copy");
    let again = store.copy_if_not_exists(&a, &b).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    store.copy(&a, &b).await.expect("copy over");
    store.rename(&a, &Path::from("y/c")).await.expect("rename");
    assert_eq!(names(&store).await, ["x/b", "y/c"]);
    let missing = store.copy(&a, &b).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_folder_removed_under_us_is_made_again() {
    let (dir, store) = opened().await;
    let location = Path::from("f/one");
    store
        .put(&location, PutPayload::from_static(b"1"))
        .await
        .expect("put");
    std::fs::remove_dir_all(dir.path().join("f")).expect("removed");
    store
        .put_opts(&location, PutPayload::from_static(b"2"), create())
        .await
        .expect("made again");
    assert_eq!(text(&store, "f/one").await, "2");
}
