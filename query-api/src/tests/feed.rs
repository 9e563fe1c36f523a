//! The score feed: replay, waiting, streams, readers that fell behind.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt as _;
use revgauge_contract::invariant::Invariant;
use tower::ServiceExt as _;

use super::world::World;

#[tokio::test]
async fn replay_from_a_cursor_gives_the_same_bytes() {
    let world = World::new().await;
    for n in 0..10 {
        world
            .feed
            .append(if n % 3 == 0 { "umbrella" } else { "acme" }, &format!("c{n}"));
    }
    let mut paged = Vec::new();
    let mut after = "0.0".to_owned();
    for _ in 0..10 {
        let page = world
            .get("service", &format!("/v1/score-feed?limit=2&after={after}"))
            .await;
        assert_eq!(page.status, StatusCode::OK);
        after = page.headers["revgauge-next-cursor"]
            .to_str()
            .expect("cursor")
            .to_owned();
        paged.extend(page.bytes);
    }
    let whole = world.get("service", "/v1/score-feed").await;
    assert_eq!(String::from_utf8_lossy(&paged), whole.text());
    assert_eq!(whole.text().lines().count(), 6, "own entries only");
    assert!(whole.headers.contains_key("revgauge-as-of") && whole.headers.contains_key("revgauge-watermark"));
    assert_eq!(world.get("service", "/v1/score-feed").await.bytes, whole.bytes);
}

#[tokio::test]
async fn a_long_poll_waits_for_an_entry_of_its_own() {
    let world = World::new().await;
    let poll = world.get("service", "/v1/score-feed?wait_seconds=20");
    let grow = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.feed.append("acme", "c7");
    };
    let (page, ()) = tokio::join!(poll, grow);
    assert!(page.text().contains("\"c7\""), "{}", page.text());
    let empty = world
        .get("service", "/v1/score-feed?after=1.1&wait_seconds=0")
        .await;
    assert_eq!((empty.status, empty.text().len()), (StatusCode::OK, 0));
    assert_eq!(empty.headers["revgauge-next-cursor"], "1.1");
    let long = world.get("service", "/v1/score-feed?wait_seconds=9999").await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
}

async fn open(world: &World, path: &str, last_event_id: Option<&str>) -> axum::response::Response {
    let mut request = Request::builder()
        .uri(path)
        .header("x-api-key", &world.keys["service"]);
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Body::empty()).expect("request");
    world.router.clone().oneshot(request).await.expect("infallible")
}

async fn event(body: &mut Body) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(5), body.frame())
        .await
        .expect("in time");
    let bytes = frame.expect("a frame").expect("good").into_data().expect("data");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn streams_resume_after_the_last_event_seen() {
    let world = World::new().await;
    for n in 1..=3 {
        world.feed.append("acme", &format!("c{n}"));
    }
    let response = open(&world, "/v1/score-feed/stream?after=0.0", Some("2.1")).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let first = event(&mut body).await;
    assert!(
        first.contains("id: 3.1") && first.contains("event: score_change") && first.contains("\"c3\""),
        "{first}"
    );
    world.feed.append("umbrella", "cx");
    world.feed.append("acme", "c5");
    let second = event(&mut body).await;
    assert!(
        second.contains("id: 5.1") && second.contains("\"c5\""),
        "{second}"
    );
}

#[tokio::test]
async fn a_reader_that_fell_behind_is_told_and_nobody_waits_for_it() {
    let world = World::new().await;
    world.feed.append("acme", "c1");
    let slow = open(&world, "/v1/score-feed/stream", None).await;
    let mut slow = slow.into_body();
    assert!(event(&mut slow).await.contains("\"c1\""));
    // It reads no more, while the feed goes on and its old part goes.
    for n in 2..=2_000 {
        world.feed.append("acme", &format!("c{n}"));
    }
    *world.feed.begins_at.lock() = 1_500;
    let quick = world.get("service", "/v1/score-feed?after=1999.1").await;
    let alone = quick.text().lines().count() == 1;
    assert!(Invariant::SlowReaderAlone.check(alone, "others read on"));
    let told = event(&mut slow).await;
    assert!(
        told.contains("event: missed") && told.contains("begins at 1500.0"),
        "{told}"
    );
    assert!(slow.frame().await.is_none(), "the stream ends");
    let poll = world.get("service", "/v1/score-feed?after=3.1").await;
    assert_eq!(
        (poll.status, poll.json()["code"].as_str()),
        (StatusCode::GONE, Some("cursor_expired"))
    );
    assert_eq!(
        open(&world, "/v1/score-feed/stream?after=3.1", None)
            .await
            .status(),
        StatusCode::GONE
    );
}

#[tokio::test]
async fn streams_of_a_key_are_counted_and_end_with_the_key() {
    let mut settings = crate::ApiSettings::default();
    settings.feed.streams_per_key = 1;
    let world = World::with(settings).await;
    let first = open(&world, "/v1/score-feed/stream", None).await;
    assert_eq!(
        open(&world, "/v1/score-feed/stream", None).await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    drop(first);
    let mut again = open(&world, "/v1/score-feed/stream", None).await.into_body();
    let own = world.get("admin", "/v1/keys").await.json();
    let key = own["items"]
        .as_array()
        .expect("keys")
        .iter()
        .find(|key| key["name"] == "service")
        .expect("key")
        .clone();
    let path = format!("/v1/keys/{}", key["key_id"].as_str().expect("id"));
    world
        .call("admin", axum::http::Method::DELETE, &path, &[], "")
        .await;
    world.feed.append("acme", "c1");
    assert!(again.frame().await.is_none(), "a revoked key reads no further");
}
