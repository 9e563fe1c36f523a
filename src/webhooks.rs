//! Posting to other people's servers: no redirects, and no private address that was not named in the settings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::redirect::Policy;
use revgauge_query_api::{reports::WebhookSender, settings::DeliverySettings};
use url::{Host, Url};

/// The HTTP client for webhooks.
#[derive(Debug)]
pub(crate) struct Webhooks {
    timeout: Duration,
    private_hosts: Vec<String>,
}

impl Webhooks {
    /// # Errors
    /// A host in the settings that is none.
    pub(crate) fn new(settings: &DeliverySettings) -> Result<Self> {
        for host in &settings.private_webhook_hosts {
            Host::parse(host)
                .with_context(|| format!("'{host}' in 'private_webhook_hosts' is no host name"))?;
        }
        Ok(Self {
            timeout: Duration::from_millis(settings.timeout_ms),
            private_hosts: settings.private_webhook_hosts.clone(),
        })
    }

    /// Looked up once and then connected to as looked up, so that a name cannot turn to another address in between.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, String> {
        let host = url.host_str().ok_or("the address names no host")?;
        let port = url.port_or_known_default().ok_or("the address names no port")?;
        let bare = host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((bare, port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| format!("cannot find '{host}': {error}"))?
            .collect();
        let named = self.private_hosts.iter().any(|known| known == host);
        if !named && let Some(private) = found.iter().find(|address| !is_public(address.ip())) {
            return Err(format!(
                "'{host}' is {}, no public address; an administrator can name it in 'private_webhook_hosts'",
                private.ip()
            ));
        }
        Ok(found)
    }
}

#[async_trait]
impl WebhookSender for Webhooks {
    async fn post(&self, url: &str, headers: &[(&str, String)], body: Bytes) -> Result<u16, String> {
        let url = Url::parse(url).map_err(|error| format!("cannot read the address: {error}"))?;
        let addresses = self.addresses(&url).await?;
        // A client of its own, since the addresses are pinned to it; a delivery is rare.
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
            .no_proxy()
            .build()
            .map_err(|error| format!("cannot set up a connection: {error}"))?;
        let mut request = client
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", concat!("revgauge/", env!("CARGO_PKG_VERSION")))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(format!("nobody took it: {}", error.without_url())),
        }
    }
}

/// Whether an address lies in the open internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240 || (a == 198 && (18..20).contains(&b));
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || shared
                || reserved)
        }
        IpAddr::V6(ip) => {
            if let Some(ip) = ip.to_ipv4_mapped() {
                return is_public(IpAddr::V4(ip));
            }
            // Global unicast is 2000::/3; all else is local, mapped or reserved.
            ip.segments()[0] & 0xe000 == 0x2000
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_internet_is_public() {
        for (address, wanted) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.0.0.8", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fd00::1", false),
            ("::ffff:127.0.0.1", false),
        ] {
            assert_eq!(
                is_public(address.parse().expect("an address")),
                wanted,
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn a_private_address_is_reached_only_when_named() {
        let closed = Webhooks::new(&DeliverySettings::default()).expect("made");
        let refusal = closed.post("http://127.0.0.1:9/", &[], Bytes::new()).await;
        assert!(refusal.expect_err("refused").contains("private_webhook_hosts"));
        let open = DeliverySettings {
            private_webhook_hosts: vec!["127.0.0.1".to_owned()],
            ..DeliverySettings::default()
        };
        let open = Webhooks::new(&open).expect("made");
        let refusal = open.post("http://127.0.0.1:9/", &[], Bytes::new()).await;
        assert!(refusal.expect_err("nobody listens").contains("nobody took it"));
    }
}
