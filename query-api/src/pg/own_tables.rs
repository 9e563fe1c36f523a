//! Keys and comments of the tenant's tables as PostgreSQL keeps them: `pg_constraint`, `pg_index`, `pg_description`, and the
//! columns of `pg_class` that belong to them.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int16Array, Int16Builder,
            Int32Array, Int32Builder, ListBuilder, RecordBatch, StringArray, StringBuilder, new_null_array,
        },
        compute::{concat_batches, take},
        datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
    },
    common::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::TryStreamExt as _;

use super::catalog::Shown;
use crate::sql::table_keys;

/// Object numbers of the system tables that comments and dependencies name, as in every PostgreSQL.
const SYSTEM_TABLES: [(&str, i32); 9] = [
    ("pg_type", 1247),
    ("pg_proc", 1255),
    ("pg_class", PG_CLASS),
    ("pg_database", 1262),
    ("pg_attrdef", 2604),
    ("pg_constraint", 2606),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_trigger", 2620),
];
/// Number of the schema `pg_catalog`.
const PG_CATALOG: i32 = 11;
/// Object number of `pg_class` itself: comments on tables and columns name it.
const PG_CLASS: i32 = 1259;
/// The access method `btree`.
const BTREE: i32 = 403;
/// Numbers of keys and their indexes lie above all others, beside their table's.
const INDEX_NUMBERS: i32 = 1 << 29;
const CONSTRAINT_NUMBERS: i32 = 1 << 30;

/// A table with its number in `pg_class`.
struct Numbered {
    oid: i32,
    namespace: i32,
    name: String,
}

/// Which table this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Attribute,
    Class,
    Constraint,
    Index,
    Description,
    Function,
}

/// Columns of `pg_proc` that are arrays, and whether of numbers.
const FUNCTION_ARRAYS: [(&str, bool); 4] = [
    ("proargtypes", true),
    ("proallargtypes", true),
    ("proargmodes", false),
    ("proargnames", false),
];

/// One of the tables.
pub(super) struct OwnTable {
    kind: Kind,
    schema: SchemaRef,
    /// `pg_class` as the catalogue crate makes it: it gives the tables their numbers.
    class: Arc<dyn PartitionStream>,
    /// `pg_attribute` as the crate makes it, for that table itself.
    attribute: Option<Arc<dyn PartitionStream>>,
    shown: Shown,
    /// Rows about PostgreSQL's own objects.
    before: Vec<RecordBatch>,
}

impl fmt::Debug for OwnTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTable")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl OwnTable {
    pub(super) fn new(
        kind: Kind,
        class: Arc<dyn PartitionStream>,
        attribute: Option<Arc<dyn PartitionStream>>,
        shown: Shown,
        before: Vec<RecordBatch>,
    ) -> Self {
        let schema = match kind {
            Kind::Attribute => attribute
                .as_ref()
                .map_or_else(|| Arc::new(Schema::empty()), |table| Arc::clone(table.schema())),
            Kind::Class => with_options(class.schema()),
            Kind::Constraint => Arc::new(Schema::new(constraint_fields())),
            Kind::Index => Arc::new(Schema::new(index_fields())),
            Kind::Description => Arc::new(Schema::new(vec![
                number("objoid"),
                number("classoid"),
                number("objsubid"),
                text("description"),
            ])),
            Kind::Function => function_schema(&before),
        };
        Self {
            kind,
            schema,
            class,
            attribute,
            shown,
            before,
        }
    }
}

impl PartitionStream for OwnTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (kind, schema, shown) = (self.kind, Arc::clone(&self.schema), self.shown.clone());
        let before = self.before.clone();
        if kind == Kind::Function {
            let rows = function_rows(&before, &schema);
            return Box::pin(RecordBatchStreamAdapter::new(
                schema,
                futures::stream::once(async move { rows }),
            ));
        }
        let attribute = self
            .attribute
            .as_ref()
            .map(|table| table.execute(Arc::clone(&context)));
        let class = self.class.execute(context);
        let made = Arc::clone(&schema);
        let rows = async move {
            let columns = class.schema();
            let batches: Vec<RecordBatch> = class.try_collect().await?;
            let class = concat_batches(&columns, &batches)?;
            if let Some(attribute) = attribute {
                let batches: Vec<RecordBatch> = attribute.try_collect().await?;
                return attribute_rows(&concat_batches(&made, &batches)?, &numbered(&class)?);
            }
            match kind {
                Kind::Class => class_rows(&class, &made),
                Kind::Constraint => constraint_rows(&numbered(&class)?, &shown, &made),
                Kind::Index => index_rows(&numbered(&class)?, &shown, &made),
                Kind::Description | Kind::Function | Kind::Attribute => {
                    let own = description_rows(&numbered(&class)?, &shown, &made)?;
                    let mut all: Vec<RecordBatch> = before
                        .iter()
                        .map(|batch| RecordBatch::try_new(Arc::clone(&made), batch.columns().to_vec()))
                        .collect::<Result<_, _>>()?;
                    all.push(own);
                    Ok(concat_batches(&made, &all)?)
                }
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows)))
    }
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int32, false)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

fn numbers(name: &str, kind: DataType) -> Field {
    Field::new(
        name,
        DataType::List(Arc::new(Field::new_list_field(kind, true))),
        true,
    )
}

fn with_options(class: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = class.fields().iter().cloned().collect();
    fields.push(Arc::new(numbers("reloptions", DataType::Utf8)));
    fields.push(Arc::new(text("relacl")));
    Arc::new(Schema::new(fields))
}

fn constraint_fields() -> Vec<Field> {
    vec![
        number("oid"),
        text("conname"),
        number("connamespace"),
        text("contype"),
        flag("condeferrable"),
        flag("condeferred"),
        flag("convalidated"),
        number("conrelid"),
        number("contypid"),
        number("conindid"),
        number("conparentid"),
        number("confrelid"),
        text("confupdtype"),
        text("confdeltype"),
        text("confmatchtype"),
        flag("conislocal"),
        number("coninhcount"),
        flag("connoinherit"),
        numbers("conkey", DataType::Int16),
        numbers("confkey", DataType::Int16),
        numbers("conpfeqop", DataType::Int32),
        numbers("conppeqop", DataType::Int32),
        numbers("conffeqop", DataType::Int32),
        numbers("confdelsetcols", DataType::Int16),
        numbers("conexclop", DataType::Int32),
        text("conbin"),
    ]
}

fn index_fields() -> Vec<Field> {
    vec![
        number("indexrelid"),
        number("indrelid"),
        Field::new("indnatts", DataType::Int16, false),
        Field::new("indnkeyatts", DataType::Int16, false),
        flag("indisunique"),
        flag("indnullsnotdistinct"),
        flag("indisprimary"),
        flag("indisexclusion"),
        flag("indimmediate"),
        flag("indisclustered"),
        flag("indisvalid"),
        flag("indcheckxmin"),
        flag("indisready"),
        flag("indislive"),
        flag("indisreplident"),
        numbers("indkey", DataType::Int16),
        numbers("indcollation", DataType::Int32),
        numbers("indclass", DataType::Int32),
        numbers("indoption", DataType::Int16),
        text("indexprs"),
        text("indpred"),
    ]
}

fn numbered(class: &RecordBatch) -> Result<Vec<Numbered>> {
    let schema = class.schema();
    let column =
        |name: &str| Ok::<_, datafusion::common::DataFusionError>(class.column(schema.index_of(name)?));
    let oids = column("oid")?.as_primitive::<Int32Type>();
    let namespaces = column("relnamespace")?.as_primitive::<Int32Type>();
    let names = column("relname")?.as_string::<i32>();
    Ok((0..class.num_rows())
        .map(|row| Numbered {
            oid: oids.value(row),
            namespace: namespaces.value(row),
            name: names.value(row).to_owned(),
        })
        .collect())
}

/// The places of a table's key columns, from 1; nothing when it has no key.
fn key_of(shown: &Shown, table: &str) -> Option<Vec<i16>> {
    let columns = table_keys(table);
    if columns.is_empty() {
        return None;
    }
    let schema = shown.schema_of(table)?;
    let place = |column: &&str| i16::try_from(schema.index_of(column).ok()? + 1).ok();
    columns.iter().map(place).collect()
}

fn keyed<'a>(tables: &'a [Numbered], shown: &Shown) -> Vec<(&'a Numbered, Vec<i16>)> {
    let keyed = tables
        .iter()
        .filter_map(|table| Some((table, key_of(shown, &table.name)?)));
    keyed.collect()
}

/// Name of a table's key, as PostgreSQL would name it.
fn key_name(table: &str) -> String {
    format!("{table}_pkey")
}

/// `pg_class` with the two columns it lacks, and a row for the index behind each key.
fn class_rows(class: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = class.columns().to_vec();
    for field in &schema.fields()[columns.len()..] {
        columns.push(new_null_array(field.data_type(), class.num_rows()));
    }
    let tables = RecordBatch::try_new(Arc::clone(schema), columns)?;
    let keyed: Vec<usize> = numbered(class)?
        .iter()
        .enumerate()
        .filter(|(_, table)| !table_keys(&table.name).is_empty())
        .map(|(row, _)| row)
        .collect();
    let rows = Int32Array::from_iter_values(keyed.iter().filter_map(|row| i32::try_from(*row).ok()));
    let indexes = schema
        .fields()
        .iter()
        .zip(tables.columns())
        .map(|(field, column)| {
            let same = take(column, &rows, None)?;
            Ok(match field.name().as_str() {
                "oid" | "relfilenode" => Arc::new(Int32Array::from_iter_values(
                    same.as_primitive::<Int32Type>()
                        .values()
                        .iter()
                        .map(|oid| oid + INDEX_NUMBERS),
                )) as ArrayRef,
                "relname" => Arc::new(StringArray::from_iter_values(
                    same.as_string::<i32>().iter().flatten().map(key_name),
                )),
                "relkind" => Arc::new(StringArray::from(vec!["i"; same.len()])),
                "relam" => Arc::new(Int32Array::from(vec![BTREE; same.len()])),
                "reltuples" => Arc::new(Float64Array::from(vec![0.0; same.len()])),
                _ => same,
            })
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let indexes = RecordBatch::try_new(Arc::clone(schema), indexes)?;
    let system = schema.fields().iter().map(|field| {
        let rows = SYSTEM_TABLES.len();
        match field.name().as_str() {
            "oid" | "relfilenode" => Arc::new(Int32Array::from_iter_values(
                SYSTEM_TABLES.iter().map(|(_, oid)| *oid),
            )) as ArrayRef,
            "relname" => Arc::new(StringArray::from_iter_values(
                SYSTEM_TABLES.iter().map(|(name, _)| *name),
            )),
            "relnamespace" => Arc::new(Int32Array::from(vec![PG_CATALOG; rows])),
            "relkind" => Arc::new(StringArray::from(vec!["r"; rows])),
            "relpersistence" => Arc::new(StringArray::from(vec!["p"; rows])),
            "relreplident" => Arc::new(StringArray::from(vec!["n"; rows])),
            _ => plain(field, rows),
        }
    });
    let system = RecordBatch::try_new(Arc::clone(schema), system.collect())?;
    Ok(concat_batches(schema, [&tables, &indexes, &system])?)
}

/// `pg_attribute` with the columns of the index behind each key.
fn attribute_rows(attributes: &RecordBatch, tables: &[Numbered]) -> Result<RecordBatch> {
    let schema = attributes.schema();
    let owners = attributes
        .column(schema.index_of("attrelid")?)
        .as_primitive::<Int32Type>();
    let names = attributes.column(schema.index_of("attname")?).as_string::<i32>();
    let (mut rows, mut indexes, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for table in tables {
        for (place, column) in (1_i16..).zip(table_keys(&table.name)) {
            let found = (0..attributes.num_rows())
                .find(|row| owners.value(*row) == table.oid && names.value(*row) == *column);
            if let Some(row) = found.and_then(|row| i32::try_from(row).ok()) {
                rows.push(row);
                indexes.push(table.oid + INDEX_NUMBERS);
                places.push(place);
            }
        }
    }
    let rows = Int32Array::from(rows);
    let columns = schema
        .fields()
        .iter()
        .zip(attributes.columns())
        .map(|(field, column)| {
            Ok(match field.name().as_str() {
                "attrelid" => Arc::new(Int32Array::from(indexes.clone())) as ArrayRef,
                "attnum" => Arc::new(Int16Array::from(places.clone())),
                _ => take(column, &rows, None)?,
            })
        });
    let keys = RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_>>()?)?;
    Ok(concat_batches(&schema, [attributes, &keys])?)
}

/// `pg_proc` with arrays where the crate keeps texts of them.
fn function_schema(before: &[RecordBatch]) -> SchemaRef {
    let Some(batch) = before.first() else {
        return Arc::new(Schema::empty());
    };
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| {
        let array = FUNCTION_ARRAYS.iter().find(|(name, _)| name == field.name());
        match array {
            Some((name, true)) => Arc::new(numbers(name, DataType::Int32)),
            Some((name, false)) => Arc::new(numbers(name, DataType::Utf8)),
            None => Arc::clone(field),
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn function_rows(before: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch> {
    let batches = before.iter().map(|batch| {
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| {
                let array = FUNCTION_ARRAYS.iter().find(|(name, _)| name == field.name());
                match array {
                    Some((_, true)) => oid_arrays(column.as_string::<i32>()),
                    Some((_, false)) => text_arrays(column.as_string::<i32>()),
                    None => Arc::clone(column),
                }
            });
        RecordBatch::try_new(Arc::clone(schema), columns.collect())
    });
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(schema, &batches)?)
}

/// `16 25` or `[16, 25]`.
fn oid_arrays(texts: &StringArray) -> ArrayRef {
    let mut list = ListBuilder::new(Int32Builder::new());
    for text in texts {
        let numbers = text
            .unwrap_or_default()
            .split(|letter: char| !letter.is_ascii_digit());
        for number in numbers.filter_map(|number| number.parse().ok()) {
            list.values().append_value(number);
        }
        list.append(text.is_some());
    }
    Arc::new(list.finish())
}

/// `['i', 'o']`.
fn text_arrays(texts: &StringArray) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    for text in texts {
        for part in text.unwrap_or_default().split('\'').skip(1).step_by(2) {
            list.values().append_value(part);
        }
        list.append(text.is_some());
    }
    Arc::new(list.finish())
}

fn places(keys: &[Vec<i16>]) -> ArrayRef {
    let mut list = ListBuilder::new(Int16Builder::new());
    for key in keys {
        list.values().append_slice(key);
        list.append(true);
    }
    Arc::new(list.finish())
}

/// One value a key column, the same in all.
fn repeated32(keys: &[Vec<i16>], value: i32) -> ArrayRef {
    let mut list = ListBuilder::new(Int32Builder::new());
    for key in keys {
        list.values().append_slice(&vec![value; key.len()]);
        list.append(true);
    }
    Arc::new(list.finish())
}

fn repeated16(keys: &[Vec<i16>], value: i16) -> ArrayRef {
    places(&keys.iter().map(|key| vec![value; key.len()]).collect::<Vec<_>>())
}

fn constraint_rows(tables: &[Numbered], shown: &Shown, schema: &SchemaRef) -> Result<RecordBatch> {
    let keyed = keyed(tables, shown);
    let rows = keyed.len();
    let keys: Vec<Vec<i16>> = keyed.iter().map(|(_, key)| key.clone()).collect();
    let of = |value: fn(&Numbered) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(
            keyed.iter().map(|(table, _)| value(table)),
        ))
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "oid" => of(|table| table.oid + CONSTRAINT_NUMBERS),
        "conname" => Arc::new(StringArray::from_iter_values(
            keyed.iter().map(|(table, _)| key_name(&table.name)),
        )),
        "connamespace" => of(|table| table.namespace),
        "contype" => Arc::new(StringArray::from(vec!["p"; rows])),
        "conrelid" => of(|table| table.oid),
        "conindid" => of(|table| table.oid + INDEX_NUMBERS),
        "convalidated" | "conislocal" | "connoinherit" => Arc::new(BooleanArray::from(vec![true; rows])),
        "confupdtype" | "confdeltype" | "confmatchtype" => Arc::new(StringArray::from(vec![" "; rows])),
        "conkey" => places(&keys),
        _ => plain(field, rows),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

fn index_rows(tables: &[Numbered], shown: &Shown, schema: &SchemaRef) -> Result<RecordBatch> {
    let keyed = keyed(tables, shown);
    let rows = keyed.len();
    let keys: Vec<Vec<i16>> = keyed.iter().map(|(_, key)| key.clone()).collect();
    let lengths = || {
        keys.iter()
            .map(|key| i16::try_from(key.len()).unwrap_or(i16::MAX))
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "indexrelid" => Arc::new(Int32Array::from_iter_values(
            keyed.iter().map(|(table, _)| table.oid + INDEX_NUMBERS),
        )) as ArrayRef,
        "indrelid" => Arc::new(Int32Array::from_iter_values(
            keyed.iter().map(|(table, _)| table.oid),
        )),
        "indnatts" | "indnkeyatts" => Arc::new(Int16Array::from_iter_values(lengths())),
        "indisunique" | "indisprimary" | "indimmediate" | "indisvalid" | "indisready" | "indislive" => {
            Arc::new(BooleanArray::from(vec![true; rows]))
        }
        "indkey" => places(&keys),
        "indcollation" | "indclass" => repeated32(&keys, 0),
        "indoption" => repeated16(&keys, 0),
        _ => plain(field, rows),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

/// No, 0 or nothing.
fn plain(field: &Field, rows: usize) -> ArrayRef {
    match field.data_type() {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![false; rows])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![0; rows])),
        DataType::Int16 => Arc::new(Int16Array::from(vec![0; rows])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![0.0; rows])),
        kind => new_null_array(kind, rows),
    }
}

fn description_rows(tables: &[Numbered], shown: &Shown, schema: &SchemaRef) -> Result<RecordBatch> {
    let (mut oids, mut places, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for table in tables {
        for (place, text) in shown.comments_of(&table.name) {
            oids.push(table.oid);
            places.push(place);
            texts.push(text);
        }
    }
    let classes = vec![PG_CLASS; oids.len()];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(oids)),
        Arc::new(Int32Array::from(classes)),
        Arc::new(Int32Array::from(places)),
        Arc::new(StringArray::from(texts)),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
