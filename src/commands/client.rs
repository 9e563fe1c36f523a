//! One way to ask a server, whether it runs elsewhere, on this folder, or only inside this command.

use anyhow::{Context as _, Result, anyhow, bail};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, header},
};
use bytes::Bytes;
use serde_json::Value;
use tower::ServiceExt;

use super::Context;
use crate::{
    doors::operator_key,
    output, run_file,
    wire::{Node, Purpose},
};

/// Longest wait for readers of the journal at the end of a command, before they are told to hurry.
const CLOSE_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// Largest answer taken into memory.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Asks the doors.
#[derive(Debug)]
pub(crate) struct Client {
    key: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Network { http: reqwest::Client, base: String },
    InProcess { router: Router, node: Box<Node> },
}

/// Rows of a query as JSON records, with the columns in their order.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Value>,
}

impl Rows {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        output::table(&columns, &self.rows)
    }
}

/// An answer: status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Client {
    /// Finds the server by `--server`, by the folder's run file, or opens the store in this process.
    ///
    /// # Errors
    /// The store cannot be opened, or a server was named without a key.
    pub(crate) async fn connect(context: &Context) -> Result<Self> {
        let common = &context.common;
        if let Some(base) = &common.server {
            let key = common
                .key
                .clone()
                .ok_or_else(|| anyhow!("--server needs a key: give --key or REVGAUGE_KEY"))?;
            return Self::network(base, key);
        }
        if let Some(folder) = context.settings.store.local_folder()
            && let Some(server) = run_file::find(&folder)?
        {
            return Self::network(&server.url, operator_key(&server.operator_secret, &common.tenant));
        }
        let bar = output::waiting("opening the store");
        let node = Node::open(&context.settings, Purpose::Command).await;
        bar.finish_and_clear();
        let node = node?;
        let key = operator_key(node.operator_secret(), &common.tenant);
        Ok(Self {
            key,
            place: Place::InProcess {
                router: node.router(),
                node: Box::new(node),
            },
        })
    }

    /// A client of a server on the network.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub(crate) fn network(base: &str, key: String) -> Result<Self> {
        let known = url::Url::parse(base).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !known {
            bail!("'{base}' is no server's URL: write it as http://127.0.0.1:8780");
        }
        let http = reqwest::Client::builder().pool_max_idle_per_host(64).build()?;
        Ok(Self {
            key,
            place: Place::Network {
                http,
                base: base.trim_end_matches('/').to_owned(),
            },
        })
    }

    /// Address of the server, when there is one.
    pub(crate) fn base(&self) -> Option<&str> {
        match &self.place {
            Place::Network { base, .. } => Some(base),
            Place::InProcess { .. } => None,
        }
    }

    /// Where the answers come from, for people.
    pub(crate) fn place(&self) -> String {
        match &self.place {
            Place::Network { base, .. } => format!("running at {base}"),
            Place::InProcess { .. } => "none runs here; the store was opened in this process".to_owned(),
        }
    }

    /// The node, when the store was opened in this process.
    pub(crate) fn node(&self) -> Option<&Node> {
        match &self.place {
            Place::InProcess { node, .. } => Some(node),
            Place::Network { .. } => None,
        }
    }

    /// Sends a request and takes the whole answer.
    ///
    /// # Errors
    /// The server cannot be reached or its answer not read; statuses are not errors here.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer> {
        match &self.place {
            Place::Network { http, base } => {
                let request = http
                    .request(method.parse()?, format!("{base}{path}"))
                    .bearer_auth(&self.key)
                    .header(header::CONTENT_TYPE, content_type)
                    .body(body);
                let answer = request
                    .send()
                    .await
                    .with_context(|| format!("cannot reach {base}: is a server running there?"))?;
                Ok(Answer {
                    status: answer.status().as_u16(),
                    body: answer.bytes().await?,
                })
            }
            Place::InProcess { router, .. } => {
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
                    .header(header::CONTENT_TYPE, content_type)
                    .body(Body::from(body))?;
                let answer = router.clone().oneshot(request).await?;
                let status = answer.status().as_u16();
                Ok(Answer {
                    status,
                    body: to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await?,
                })
            }
        }
    }

    /// GET of a JSON answer.
    ///
    /// # Errors
    /// What the server refused, in its own words.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send("GET", path, "application/json", Bytes::new())
            .await?
            .json()
    }

    /// POST of JSON for a JSON answer.
    ///
    /// # Errors
    /// What the server refused, in its own words.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(
            "POST",
            path,
            "application/json",
            Bytes::from(serde_json::to_vec(body)?),
        )
        .await?
        .json()
    }

    /// Columns and rows of an SQL query.
    ///
    /// # Errors
    /// What the server refused, in its own words.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Rows> {
        let bar = output::waiting("asking");
        let answer = self
            .post("/v1/sql", &serde_json::json!({"sql": sql, "format": "json"}))
            .await;
        bar.finish_and_clear();
        let answer = answer?;
        let list = |name: &str| answer.get(name).and_then(Value::as_array);
        let (Some(columns), Some(rows)) = (list("columns"), list("rows")) else {
            bail!("the server's answer to the query has no rows");
        };
        let name = |column: &Value| column.get("name").and_then(Value::as_str).map(str::to_owned);
        Ok(Rows {
            columns: columns.iter().filter_map(name).collect(),
            rows: rows.clone(),
        })
    }

    /// Ends an in-process node in order.
    ///
    /// # Errors
    /// What the last flush met.
    pub(crate) async fn close(self) -> Result<()> {
        match self.place {
            Place::InProcess { node, .. } => node.close(CLOSE_GRACE).await,
            Place::Network { .. } => Ok(()),
        }
    }
}

impl Answer {
    /// The body as JSON when the status is a success.
    ///
    /// # Errors
    /// The refusal in the server's words.
    pub(crate) fn json(self) -> Result<Value> {
        if self.status < 300 {
            if self.body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&self.body).context("the server's answer is no JSON");
        }
        bail!("{}", self.refusal())
    }

    /// What a refusal says, for people.
    pub(crate) fn refusal(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| {
            problem
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let detail = [text("detail"), text("message"), text("title")]
            .into_iter()
            .find(|t| !t.is_empty());
        let hint = text("hint");
        let detail = detail.unwrap_or_else(|| format!("the server answered {}", self.status));
        if hint.is_empty() {
            detail
        } else {
            format!("{detail} ({hint})")
        }
    }
}

/// A text as part of a URL's path or query.
pub(crate) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
