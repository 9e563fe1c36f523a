//! Numbers of saved reports and of their deliveries.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits of saved reports, schedules and deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// Whether due reports are delivered.
    pub enabled: bool,
    /// How often it is looked what is due, milliseconds.
    pub tick_ms: u64,
    /// Saved reports of one tenant.
    pub max_saved: usize,
    /// Shortest time between two deliveries that a schedule may ask for, seconds.
    pub min_interval_seconds: u32,
    /// Deliveries at the same time, all tenants together.
    pub concurrent: usize,
    /// Rows of one delivered report; more are cut off, and it says so.
    pub max_rows: usize,
    /// Attempts until a delivery is given up.
    pub max_attempts: u32,
    /// Wait after the first failed attempt, milliseconds; it doubles with each.
    pub first_retry_ms: u64,
    /// Longest wait between attempts, milliseconds.
    pub max_retry_ms: u64,
    /// Time of one attempt at the other side, milliseconds.
    pub timeout_ms: u64,
    /// What became due while no server ran is delivered if it is not older than so many hours.
    pub catch_up_hours: u32,
    /// Deliveries kept of each report.
    pub keep_deliveries: usize,
    /// Hosts of webhooks that may lie in private networks or on this machine. Others must have public addresses.
    pub private_webhook_hosts: Vec<String>,
    /// Addresses that one mail goes to.
    pub max_recipients: usize,
    /// Address of the dashboards for links in mails, such as `https://revgauge.example.com`.
    pub public_url: String,
    /// The mail server.
    pub smtp: SmtpSettings,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            enabled: true,
            tick_ms: 1_000,
            max_saved: 500,
            min_interval_seconds: 60,
            concurrent: 4,
            max_rows: 10_000,
            max_attempts: 8,
            first_retry_ms: 5_000,
            max_retry_ms: 900_000,
            timeout_ms: 30_000,
            catch_up_hours: 48,
            keep_deliveries: 100,
            private_webhook_hosts: Vec::new(),
            max_recipients: 20,
            public_url: String::new(),
            smtp: SmtpSettings::default(),
        }
    }
}

/// The mail server that takes reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpSettings {
    /// Its name; without one no mail can be scheduled.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `starttls` (refuses to go on without), `tls` from the first byte, or `none` for a relay on this machine.
    pub tls: SmtpTls,
    /// Name to sign in with, if it asks for one.
    pub username: String,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// Sender, such as `Revgauge <reports@example.com>`.
    pub from: String,
}

impl Default for SmtpSettings {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            tls: SmtpTls::Starttls,
            username: String::new(),
            password_file: None,
            from: "Revgauge <revgauge@localhost>".to_owned(),
        }
    }
}

/// How the way to the mail server is kept secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// Not at all.
    None,
    /// Asked for after the greeting; without it nothing is sent.
    Starttls,
    /// From the first byte.
    Tls,
}
