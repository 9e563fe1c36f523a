//! HTTP doors for events: the native one (`/v1/events`) and the Segment tracking API.
//!
//! Reading order follows a request: who may come in ([`Door`]), its bytes, its events, and the answer.

mod answer;
mod body;
mod credentials;
mod door;
mod envelope;
mod error;
mod machine;
mod native;
mod rate;
mod segment;
mod settings;
mod sheet;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    routing::post,
};

pub use door::Door;
pub use native::{Parsed, parse_events};
pub use segment::parse_segment;
pub use settings::{HttpSettings, HttpSettingsError};

/// Segment calls by the last part of their path.
///
/// Every path is served with and without its trailing slash, because a
/// redirect loses events (the Segment SDK for Node takes 3xx for delivered).
const SEGMENT_PATHS: [(&str, segment::Call); 15] = [
    ("batch", segment::Call::Batch),
    ("import", segment::Call::Batch),
    ("b", segment::Call::Batch),
    ("track", segment::Call::Track),
    ("t", segment::Call::Track),
    ("identify", segment::Call::Identify),
    ("i", segment::Call::Identify),
    ("page", segment::Call::Page),
    ("p", segment::Call::Page),
    ("screen", segment::Call::Screen),
    ("s", segment::Call::Screen),
    ("group", segment::Call::Group),
    ("g", segment::Call::Group),
    ("alias", segment::Call::Alias),
    ("a", segment::Call::Alias),
];

/// The routes of both doors, to be merged into the server's.
///
/// `POST /v1/events` and, each with and without a trailing slash, `POST /v1/{batch|import|track|identify|page|screen|
/// group|alias}` with Segment's one-letter forms. `OPTIONS` of the Segment routes answers browsers when
/// [`HttpSettings::cors_allowed_origins`] names some.
pub fn router(door: Arc<Door>) -> Router {
    let mut segment_routes = Router::new();
    for (name, call) in SEGMENT_PATHS {
        for path in [format!("/v1/{name}"), format!("/v1/{name}/")] {
            let handler =
                move |state: State<Arc<Door>>, request: Request| segment::receive(state, call, request);
            segment_routes = segment_routes.route(&path, post(handler).fallback(segment::only_post));
        }
    }
    if let Some(cors) = door.settings().cors_layer() {
        segment_routes = segment_routes.layer(cors);
    }
    Router::new()
        .route("/v1/events", post(native::receive).fallback(native::only_post))
        .route("/v1/events/", post(native::receive).fallback(native::only_post))
        .merge(segment_routes)
        .with_state(door)
}
