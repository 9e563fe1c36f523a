//! Read-only SQL over everything a tenant has: catalogue, session, limits, answers.

mod alert_rows;
mod as_of_functions;
mod attribution_function;
mod audit_table;
mod catalog;
mod change_function;
mod choose_rule;
mod chosen_scan;
mod door;
mod encode;
mod error;
mod forecast_columns;
mod forecast_function;
mod kept_records;
mod later;
mod loaded_table;
mod object_table;
mod outline;
mod output;
mod pushed;
mod record_table;
mod run;
mod score_table;
mod session;
mod slots;
mod stop;
mod text_tables;
mod waterfall_function;

pub use catalog::{CatalogColumn, CatalogSource, CatalogTable};
pub use encode::Format;
pub use error::SqlError;
pub use run::{CollectedAnswer, QueryAnswer, SqlRequest, open_sql, run_sql};

pub(crate) use audit_table::sees_audit;
pub(crate) use catalog::table_keys;
pub(crate) use door::{ask, post_sql};
pub(crate) use encode::{plain_batch, plain_schema};
pub(crate) use error::nearest;
pub(crate) use kept_records::KeptRecords;
pub(crate) use later::LaterQueries;
pub(crate) use object_table::text_of;
pub(crate) use outline::{Outlines, ShownTable};
pub(crate) use output::type_name;
pub(crate) use run::{
    describe_sql, describe_statement, open_frame, open_statement, open_whole, shown_tables,
};
pub(crate) use session::{Addition, CATALOG, SCHEMA, base_session};
pub(crate) use slots::Slots;
pub(crate) use waterfall_function::record_of as waterfall_record;
