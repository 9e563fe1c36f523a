//! Live pages: a stream that says that something changed, and which entities' scores, from now on; the page fetches itself
//! again.

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

/// Changes within this time are told together. The page bounds how often it asks; this bounds the words to it.
const GATHER: Duration = Duration::from_millis(100);

/// What a listener was told of last.
struct Heard {
    visit: Visit,
    /// In the feed of scores.
    after: Cursor,
    /// Of the tenant, events that move no score included: timelines, activity and freshness are on pages too.
    change: u64,
}

/// `GET /ui/live`. Each word is a JSON list of those entities, by kind and id, of which scores changed: none where an event
/// moved no score. Its id is when it was read, microseconds: the page asks again with it and gets no answer from before. A
/// reader that fell behind starts again from the end: the page shows what is, not what was missed.
pub(super) async fn live(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let heard = Heard {
        after: end_of_feed(&visit).await?,
        change: visit.api.status.last_change(visit.tenant()),
        visit,
    };
    let stream = futures::stream::unfold(heard, |mut heard| async move {
        let event = heard.next_word().await?;
        Some((Ok::<_, Infallible>(event), heard))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

impl Heard {
    /// Waits for a change; none when the stream is over.
    async fn next_word(&mut self) -> Option<Event> {
        let visit = &self.visit;
        let feed = visit.api.feed(&visit.session.caller);
        loop {
            tokio::select! {
                () = feed.grown_past(self.after.position) => {}
                () = visit.api.status.changed_after(visit.tenant(), self.change) => {}
            }
            sleep(GATHER).await;
            // A session that ended meanwhile hears no more.
            let good = visit.session.is_good(&visit.api);
            if !good || visit.api.clock.now() >= visit.session.ends_at {
                return None;
            }
            let change = visit.api.status.last_change(visit.tenant());
            let moved = change > std::mem::replace(&mut self.change, change);
            let page_len = visit.api.settings.feed.page.max(1);
            let page = match feed.read(visit.tenant(), self.after, page_len).await {
                Ok(page) => page,
                Err(failure) if failure.kind == ErrorKind::NotFound => {
                    self.after = end_of_feed(visit).await.ok()?;
                    return Some(word(visit, &BTreeSet::new()));
                }
                Err(_) => return None,
            };
            let stuck = page.next == self.after && page.entries.is_empty();
            self.after = page.next;
            let own = page
                .entries
                .iter()
                .filter(|(_, change)| change.tenant_id == visit.tenant());
            let changed: BTreeSet<_> = own
                .filter(|(_, change)| change.entity_kind != EntityKind::Tenant)
                .map(|(_, change)| (change.entity_kind.as_str(), change.entity_id.clone()))
                .collect();
            if moved || !changed.is_empty() {
                return Some(word(visit, &changed));
            }
            if stuck {
                // The log has grown by what is not there to read yet.
                sleep(GATHER).await;
            }
        }
    }
}

/// What the page is told, as of now.
fn word(visit: &Visit, changed: &BTreeSet<(&str, String)>) -> Event {
    let read_at = visit.api.clock.now().micros().to_string();
    let event = Event::default().event("changed").id(read_at);
    event.data(json!(changed).to_string())
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
