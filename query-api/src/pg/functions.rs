//! Functions that clients of PostgreSQL call about the server and its catalogue, with the answers that are true here.
//! Those that have one answer are values; the others are in `functions/`.

mod arrays;
mod texts;

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
};

/// Version of PostgreSQL whose catalogue and dialect are spoken.
pub(super) const SERVER_VERSION: &str = "16.6";

/// A function that gives the same value whatever it is given.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// All of them.
pub(super) fn all() -> Vec<ScalarUDF> {
    let version = format!(
        "PostgreSQL {SERVER_VERSION} (Revgauge {})",
        env!("CARGO_PKG_VERSION")
    );
    let no_text = || ScalarValue::Utf8(None);
    let yes = || ScalarValue::Boolean(Some(true));
    let no = || ScalarValue::Boolean(Some(false));
    let mut functions = vec![
        ("version", ScalarValue::from(version.as_str())),
        ("pg_is_in_recovery", no()),
        ("pg_is_other_temp_schema", no()),
        ("pg_my_temp_schema", ScalarValue::from(0_i32)),
        ("pg_size_pretty", ScalarValue::from("0 bytes")),
        ("pg_table_size", ScalarValue::from(0_i64)),
        ("pg_indexes_size", ScalarValue::from(0_i64)),
        ("pg_database_size", ScalarValue::from(0_i64)),
        ("txid_current", ScalarValue::from(1_i64)),
        ("pg_sequence_last_value", ScalarValue::Int64(None)),
    ];
    // Everything shown is on the search path, and who is let in may read all of it.
    for name in [
        "pg_type_is_visible",
        "pg_function_is_visible",
        "pg_operator_is_visible",
        "pg_collation_is_visible",
        "pg_opclass_is_visible",
        "has_column_privilege",
        "has_function_privilege",
        "has_sequence_privilege",
        "has_type_privilege",
        "pg_has_role",
    ] {
        functions.push((name, yes()));
    }
    // Views of ours have no definition in SQL, no rules, triggers, functions or sequences.
    for name in [
        "obj_description",
        "col_description",
        "shobj_description",
        "pg_get_constraintdef",
        "pg_get_viewdef",
        "pg_get_indexdef",
        "pg_get_ruledef",
        "pg_get_triggerdef",
        "pg_get_functiondef",
        "pg_get_function_result",
        "pg_get_function_arguments",
        "pg_get_function_identity_arguments",
        "pg_get_function_sqlbody",
        "pg_get_serial_sequence",
        "pg_get_statisticsobjdef",
        "pg_tablespace_location",
        "pg_relation_filepath",
    ] {
        functions.push((name, no_text()));
    }
    functions
        .into_iter()
        .map(|(name, value)| constant(name, value))
        .chain(arrays::all())
        .chain(texts::all())
        .chain([super::to_char::function()])
        .collect()
}

fn constant(name: &'static str, value: ScalarValue) -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    ScalarUDF::new_from_shared_impl(Arc::new(Constant {
        name,
        value,
        signature: Signature::one_of(any, Volatility::Stable),
    }))
}
