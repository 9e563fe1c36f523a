//! Live pages: a stream that says which entities' scores changed, from now on; the page fetches itself again.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use axum::{
    Extension,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use revgauge_contract::{ErrorKind, position::Cursor, score::EntityKind};
use serde_json::json;
use tokio::time::sleep;

use super::{layout::Oops, visit::Visit};

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(250);

/// `GET /ui/live`. Each word has as its id when it was read, microseconds: the page asks again with it and gets no answer
/// from before. A reader that fell behind starts again from the end: the page shows what is, not what was missed.
pub(super) async fn live(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let after = end_of_feed(&visit).await?;
    let stream = futures::stream::unfold((visit, after), |(visit, mut after)| async move {
        let feed = visit.api.feed(&visit.session.caller);
        let event = loop {
            feed.grown_past(after.position).await;
            sleep(GATHER).await;
            // A session that ended meanwhile hears no more.
            let good = visit.session.is_good(&visit.api);
            if !good || visit.api.clock.now() >= visit.session.ends_at {
                return None;
            }
            let page_len = visit.api.settings.feed.page.max(1);
            let page = match feed.read(visit.tenant(), after, page_len).await {
                Ok(page) => page,
                Err(failure) if failure.kind == ErrorKind::NotFound => {
                    after = end_of_feed(&visit).await.ok()?;
                    let read_at = visit.api.clock.now().micros().to_string();
                    break Event::default().event("changed").id(read_at).data("[]");
                }
                Err(_) => return None,
            };
            let read_at = visit.api.clock.now().micros().to_string();
            let stuck = page.next == after && page.entries.is_empty();
            after = page.next;
            let own = page
                .entries
                .iter()
                .filter(|(_, change)| change.tenant_id == visit.tenant());
            let changed: BTreeSet<_> = own
                .filter(|(_, change)| change.entity_kind != EntityKind::Tenant)
                .map(|(_, change)| (change.entity_kind.as_str(), change.entity_id.clone()))
                .collect();
            if !changed.is_empty() {
                let word = Event::default().event("changed").id(read_at);
                break word.data(json!(changed).to_string());
            }
            if stuck {
                // The log has grown by what is not there to read yet.
                sleep(GATHER).await;
            }
        };
        Some((Ok::<_, Infallible>(event), (visit, after)))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

/// Behind the newest entry.
async fn end_of_feed(visit: &Visit) -> Result<Cursor, Oops> {
    let health = visit.api.status.data_health(visit.tenant()).await?;
    let position = health.positions.get("feed").copied().unwrap_or(0);
    Ok(Cursor {
        position: revgauge_contract::Position(position),
        row: u64::from(u32::MAX),
    })
}
