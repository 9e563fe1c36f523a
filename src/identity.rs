//! How identity providers are asked: plain HTTPS requests with limits of time and size.

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use revgauge_contract::{ErrorKind, error::Failure};
use revgauge_query_api::access::IdentityHttp;
use serde_json::Value;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer taken.
const MAX_BYTES: usize = 1 << 20;

/// Asks over the network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(reqwest::Client);

fn failed(url: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::new(
        ErrorKind::External,
        format!("cannot ask the identity provider at '{url}': {reason}"),
    )
}

async fn json_of(url: &str, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
    let answer = request
        .header("accept", "application/json")
        .timeout(TIMEOUT)
        .send()
        .await
        // The address may carry what was sent; the reason alone is shown.
        .map_err(|error| failed(url, error.without_url()))?;
    if !answer.status().is_success() {
        return Err(failed(url, format!("it answered {}", answer.status())));
    }
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.map_err(|error| failed(url, error.without_url()))?);
        if bytes.len() > MAX_BYTES {
            return Err(failed(
                url,
                format!("its answer is longer than {MAX_BYTES} bytes"),
            ));
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(url, error))
}

#[async_trait]
impl IdentityHttp for Network {
    async fn get(&self, url: &str) -> Result<Value, Failure> {
        json_of(url, self.0.get(url)).await
    }

    async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self
            .0
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        if let Some((name, secret)) = basic {
            request = request.basic_auth(name, Some(secret));
        }
        json_of(url, request).await
    }
}
