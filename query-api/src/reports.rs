//! Standard reports: the catalogue, and the views of it in a session; people's own reports: saved, scheduled, delivered.
//!
//! A standard report is one file of `query-api/reports`: SQL with directives in its first comment lines. It becomes the
//! view `report_<name>`. A saved report is a person's query; a schedule sends it as file, webhook or mail.

mod catalogue;
mod deliver;
mod delivery_settings;
mod mail;
mod rendered;
mod saved;
mod saved_store;
mod views;
mod webhook;

pub use catalogue::{Catalogue, ReportError};
pub use deliver::run_deliveries;
pub use delivery_settings::{DeliverySettings, SmtpSettings, SmtpTls};
pub(crate) use rendered::to_csv;
pub use saved::{Delivery, DeliveryState, Pattern, SavedError, SavedReport, Schedule, Target};
pub use saved_store::SavedReports;
pub(crate) use views::ReportSchema;
pub use webhook::WebhookSender;
