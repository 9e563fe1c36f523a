//! What there is: catalogues, schemas, tables, keys, types, and what the server can do.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, XdbcDataType,
    metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder},
};
use tonic::Status;

use crate::sql::{CATALOG, SCHEMA, ShownTable, plain_schema, table_keys};

const TABLE_TYPE: &str = "VIEW";

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("cannot list what there is: {error}"))
}

pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build().map_err(failed)
}

pub(super) fn schemas(query: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build().map_err(failed)
}

pub(super) fn tables(query: CommandGetTables, shown: &[ShownTable]) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    for table in shown {
        let columns = plain_schema(&table.schema);
        builder
            .append(CATALOG, SCHEMA, &table.name, TABLE_TYPE, &columns)
            .map_err(failed)?;
    }
    builder.build().map_err(failed)
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut builder = query.into_builder();
    builder.append(TABLE_TYPE);
    builder.build().map_err(failed)
}

/// What the server says of itself.
static SERVER: LazyLock<Result<SqlInfoData, String>> = LazyLock::new(|| {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "Revgauge");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    builder.append(SqlInfo::FlightSqlServerReadOnly, true);
    builder.append(SqlInfo::FlightSqlServerSql, true);
    builder.append(SqlInfo::FlightSqlServerSubstrait, false);
    // 0: no transactions.
    builder.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
    builder.append(SqlInfo::FlightSqlServerCancel, false);
    builder.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    builder.build().map_err(|error| error.to_string())
});

pub(super) fn server(query: CommandGetSqlInfo) -> Result<RecordBatch, Status> {
    let known = SERVER.as_ref().map_err(failed)?;
    query.into_builder(known).build().map_err(failed)
}

/// Types a column can have, by the names SQL gives them.
static TYPES: LazyLock<Result<XdbcTypeInfoData, String>> = LazyLock::new(|| {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for (name, kind, size, quoted) in [
        ("bigint", XdbcDataType::XdbcBigint, 19, false),
        ("boolean", XdbcDataType::XdbcBit, 1, false),
        ("date", XdbcDataType::XdbcDate, 10, true),
        ("decimal", XdbcDataType::XdbcDecimal, 38, false),
        ("double", XdbcDataType::XdbcDouble, 15, false),
        ("integer", XdbcDataType::XdbcInteger, 10, false),
        ("text", XdbcDataType::XdbcVarchar, i32::MAX, true),
        ("timestamp", XdbcDataType::XdbcTimestamp, 26, true),
    ] {
        let quote = quoted.then(|| "'".to_owned());
        builder.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: kind,
            column_size: Some(size),
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "text",
            searchable: Searchable::Full,
            unsigned_attribute: Some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: kind,
            datetime_subcode: None,
            num_prec_radix: None,
            interval_precision: None,
        });
    }
    builder.build().map_err(|error| error.to_string())
});

pub(super) fn types(query: CommandGetXdbcTypeInfo) -> Result<RecordBatch, Status> {
    let known = TYPES.as_ref().map_err(failed)?;
    query.into_builder(known).build().map_err(failed)
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

/// The columns that tell the rows of a table apart.
pub(super) fn primary_keys(
    query: &CommandGetPrimaryKeys,
    shown: &[ShownTable],
) -> Result<RecordBatch, Status> {
    let here = query.catalog.as_deref().is_none_or(|catalog| catalog == CATALOG)
        && query.db_schema.as_deref().is_none_or(|schema| schema == SCHEMA)
        && shown.iter().any(|table| table.name == query.table);
    let columns = if here { table_keys(&query.table) } else { &[] };
    let all = |value: &str| Arc::new(StringArray::from(vec![value; columns.len()])) as ArrayRef;
    let places = (1..).take(columns.len());
    let schema = Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]);
    let arrays = vec![
        all(CATALOG),
        all(SCHEMA),
        all(&query.table),
        Arc::new(StringArray::from(columns.to_vec())) as ArrayRef,
        all(&format!("{}_pkey", query.table)),
        Arc::new(Int32Array::from_iter_values(places)),
    ];
    RecordBatch::try_new(Arc::new(schema), arrays).map_err(failed)
}

/// Foreign keys: none are declared.
pub(super) fn no_foreign_keys() -> RecordBatch {
    let mut fields = Vec::new();
    for side in ["pk", "fk"] {
        fields.push(text(&format!("{side}_catalog_name"), true));
        fields.push(text(&format!("{side}_db_schema_name"), true));
        fields.push(text(&format!("{side}_table_name"), false));
        fields.push(text(&format!("{side}_column_name"), false));
    }
    fields.push(Field::new("key_sequence", DataType::Int32, false));
    fields.push(text("fk_key_name", true));
    fields.push(text("pk_key_name", true));
    fields.push(Field::new("update_rule", DataType::UInt8, false));
    fields.push(Field::new("delete_rule", DataType::UInt8, false));
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::new_empty(schema)
}
