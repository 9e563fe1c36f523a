//! The protocol: what the server is, which tools it has, and calling one.

use std::sync::Arc;

use axum::http::request::Parts;
use revgauge_contract::access::{Caller, Scope};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};
use serde_json::Value;

use super::tools;
use crate::{api::Api, problem::Problem};

const INSTRUCTIONS: &str = "Revgauge scores contacts, accounts and deals, forecasts revenue and keeps the history of both. \
    Look first at list_metrics for numbers with a defined meaning, and at describe for tables and columns. query_sql reads \
    only, in DataFusion's SQL (close to PostgreSQL). A semi-additive metric, such as the open pipeline, is of an instant: \
    never sum it over time. Every answer says as of when it is.";

/// One connection's server; it keeps nothing.
#[derive(Clone)]
pub(crate) struct Assistant {
    api: Arc<Api>,
}

impl Assistant {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api }
    }
}

/// Whom the guard let in.
fn caller(context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
    match caller {
        Some(caller) if !caller.role.is_person() || !caller.has_scope(Scope::Sql) => {
            Err(ErrorData::invalid_request(
                "a service key may not ask: use a key with the role revops or admin",
                None,
            ))
        }
        Some(caller) => Ok(caller.clone()),
        None => Err(ErrorData::invalid_request("this needs a valid API key", None)),
    }
}

/// The answer of a tool, cut to nothing when it is longer than the setting.
fn told(answer: Result<Value, Problem>, max_bytes: usize) -> CallToolResult {
    match answer {
        Ok(value) => {
            let text = value.to_string();
            if text.len() > max_bytes {
                return CallToolResult::error(vec![ContentBlock::text(format!(
                    "the answer is {} bytes long, which is more than {max_bytes}: ask for fewer rows or columns",
                    text.len()
                ))]);
            }
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(value);
            result
        }
        Err(problem) => {
            let hint = problem
                .hint
                .as_ref()
                .map(|hint| format!("; {hint}"))
                .unwrap_or_default();
            let text = format!("{}: {}{hint}", problem.code, problem.detail);
            CallToolResult::error(vec![ContentBlock::text(text)])
        }
    }
}

impl ServerHandler for Assistant {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("revgauge", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        caller(&context)?;
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context)?;
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let Some(answer) = tools::call(&self.api, &caller, &request.name, arguments).await else {
            let names: Vec<String> = tools::all().iter().map(|tool| tool.name.to_string()).collect();
            return Err(ErrorData::invalid_params(
                format!("no tool '{}'; tools: {}", request.name, names.join(", ")),
                None,
            ));
        };
        let max_bytes = self.api.settings.assistant.max_answer_bytes;
        Ok(told(answer, max_bytes).into())
    }
}
