//! The door for assistants: a Model Context Protocol server at `/mcp`, over streamable HTTP.
//!
//! It holds no session and nothing of its own: every call carries its API key, passes the same guard as REST, and asks the
//! same queries with the caller's rights (EC-46).

mod server;
mod tools;

use std::sync::Arc;

use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use crate::api::Api;

/// Where it is.
pub(crate) const PATH: &str = "/mcp";

/// The service to mount at [`PATH`], behind the guard.
pub(crate) fn service(api: &Arc<Api>) -> StreamableHttpService<server::Assistant, NeverSessionManager> {
    let inner = Arc::clone(api);
    // Answers are plain JSON and nothing is kept between calls. Any host name will do: a page in a browser has no key.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(api.settings.http.max_body_bytes)
        .disable_allowed_hosts();
    let make = move || Ok(server::Assistant::new(Arc::clone(&inner)));
    StreamableHttpService::new(make, Arc::default(), config)
}
