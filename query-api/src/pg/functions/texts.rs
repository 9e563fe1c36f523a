//! Functions that give texts, and the numbers of types by their names.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{
            Array as _, ArrayRef, AsArray as _, BooleanArray, Int32Array, RecordBatch, StringArray,
            StringBuilder,
        },
        compute::cast,
        datatypes::{DataType, Field, Schema},
        json::{WriterBuilder, writer::LineDelimited},
    },
    common::{Result, exec_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};

use crate::pg::array_literal;

type Compute = fn(&[ArrayRef]) -> Result<ArrayRef>;

pub(super) fn all() -> Vec<ScalarUDF> {
    let texts = |count| Signature::uniform(count, vec![DataType::Utf8], Volatility::Stable);
    let any = || {
        Signature::one_of(
            vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
            Volatility::Stable,
        )
    };
    let setting = Signature::one_of(
        vec![
            TypeSignature::Exact(vec![DataType::Utf8]),
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Boolean]),
        ],
        Volatility::Stable,
    );
    let set = Signature::exact(
        vec![DataType::Utf8, DataType::Utf8, DataType::Boolean],
        Volatility::Volatile,
    );
    let functions: [(&'static str, DataType, Signature, Compute); 6] = [
        ("to_regtype", DataType::Int32, texts(1), type_numbers),
        ("like_pattern", DataType::Utf8, texts(2), like_patterns),
        ("json_build_object", DataType::Utf8, any(), json_objects),
        ("jsonb_build_object", DataType::Utf8, any(), json_objects),
        // The connection puts in the values of calls with constant names; these are for planning.
        ("current_setting", DataType::Utf8, setting, no_constant),
        ("set_config", DataType::Utf8, set, no_constant),
    ];
    functions
        .into_iter()
        .map(|(name, gives, signature, compute)| {
            ScalarUDF::new_from_shared_impl(Arc::new(Computed {
                name,
                gives,
                signature,
                compute,
            }))
        })
        .collect()
}

/// A function of its arguments' arrays.
#[derive(Debug)]
struct Computed {
    name: &'static str,
    gives: DataType,
    signature: Signature,
    compute: Compute,
}

impl PartialEq for Computed {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Computed {}

impl std::hash::Hash for Computed {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Computed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args
            .args
            .into_iter()
            .map(|argument| argument.into_array(rows))
            .collect::<Result<Vec<_>>>()?;
        (self.compute)(&arrays).map(ColumnarValue::Array)
    }
}

fn no_constant(_: &[ArrayRef]) -> Result<ArrayRef> {
    exec_err!("the name of a setting must be a constant")
}

/// Object number of a type by its name, NULL for a name that is none.
fn type_numbers(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let names = arguments[0].as_string::<i32>();
    let numbers = names.iter().map(|name| type_number(name?));
    Ok(Arc::new(numbers.collect::<Int32Array>()))
}

fn type_number(name: &str) -> Option<i32> {
    let name = name.trim().to_ascii_lowercase();
    Some(match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "bool" | "boolean" => 16,
        "bytea" => 17,
        "name" => 19,
        "int8" | "bigint" => 20,
        "int2" | "smallint" => 21,
        "int4" | "integer" | "int" => 23,
        "text" => 25,
        "oid" => 26,
        "json" => 114,
        "float4" | "real" => 700,
        "float8" | "double precision" => 701,
        "bpchar" | "character" => 1042,
        "varchar" | "character varying" => 1043,
        "date" => 1082,
        "time" | "time without time zone" => 1083,
        "timestamp" | "timestamp without time zone" => 1114,
        "timestamptz" | "timestamp with time zone" => 1184,
        "interval" => 1186,
        "numeric" | "decimal" => 1700,
        "uuid" => 2950,
        "jsonb" => 3802,
        _ => return None,
    })
}

/// Patterns of LIKE with the mark that is given, said with the backslash.
fn like_patterns(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (patterns, marks) = (arguments[0].as_string::<i32>(), arguments[1].as_string::<i32>());
    let mut written = StringBuilder::new();
    for (pattern, mark) in patterns.iter().zip(marks) {
        let Some((pattern, mark)) = pattern.zip(mark) else {
            written.append_null();
            continue;
        };
        match array_literal::like_pattern(pattern, mark.chars().next()) {
            Some(pattern) => written.append_value(pattern),
            None => return exec_err!("a LIKE pattern must not end with its escape character"),
        }
    }
    Ok(Arc::new(written.finish()))
}

/// `{"a" : 1}` of names and values in turn.
fn json_objects(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if arguments.len() % 2 == 1 {
        return exec_err!("json_build_object takes names and values in turn");
    }
    let rows = arguments.first().map_or(1, |column| column.len());
    let mut texts = vec![String::from("{"); rows];
    for (place, pair) in arguments.chunks_exact(2).enumerate() {
        let names = cast(&pair[0], &DataType::Utf8)?;
        let values = json_values(&pair[1])?;
        for (row, text) in texts.iter_mut().enumerate() {
            if names.is_null(row) {
                return exec_err!("a name in json_build_object is NULL");
            }
            let name = serde_json::Value::from(names.as_string::<i32>().value(row));
            let comma = if place == 0 { "" } else { ", " };
            text.push_str(&format!("{comma}{name} : {}", values[row]));
        }
    }
    let texts = texts.into_iter().map(|text| text + "}");
    Ok(Arc::new(StringArray::from_iter_values(texts)))
}

/// Each value of a column as JSON.
fn json_values(column: &ArrayRef) -> Result<Vec<String>> {
    if let Some(flags) = column.as_any().downcast_ref::<BooleanArray>() {
        let text = |flag: Option<bool>| flag.map_or_else(|| "null".to_owned(), |flag| flag.to_string());
        return Ok(flags.iter().map(text).collect());
    }
    if column.data_type() == &DataType::Null {
        return Ok(vec!["null".to_owned(); column.len()]);
    }
    let schema = Arc::new(Schema::new(vec![Field::new(
        "v",
        column.data_type().clone(),
        true,
    )]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(column)])?;
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut bytes);
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    let text = String::from_utf8_lossy(&bytes);
    let inner = |line: &str| {
        let value = line
            .strip_prefix("{\"v\":")
            .and_then(|rest| rest.strip_suffix('}'));
        value.unwrap_or("null").to_owned()
    };
    Ok(text.lines().map(inner).collect())
}
