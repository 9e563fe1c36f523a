//! Functions over arrays of the catalogue: the places of an array's elements, and elements with their places.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, Int32Array, ListArray, StructArray},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, Fields},
    },
    common::{Result, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

pub(super) fn all() -> Vec<ScalarUDF> {
    [("subscripts", false), ("expanded_array", true)]
        .into_iter()
        .map(|(name, elements)| {
            ScalarUDF::new_from_shared_impl(Arc::new(Places {
                name,
                elements,
                signature: Signature::any(1, Volatility::Immutable),
            }))
        })
        .collect()
}

/// `subscripts([a, b])` is `[1, 2]`; `expanded_array([a, b])` is `[{x: a, n: 1}, {x: b, n: 2}]`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Places {
    name: &'static str,
    elements: bool,
    signature: Signature,
}

impl Places {
    fn field(&self, element: &DataType) -> Arc<Field> {
        let kind = if self.elements {
            DataType::Struct(fields(element))
        } else {
            DataType::Int32
        };
        Arc::new(Field::new_list_field(kind, true))
    }
}

fn fields(element: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("x", element.clone(), true),
        Field::new("n", DataType::Int32, true),
    ])
}

impl ScalarUDFImpl for Places {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        match kinds {
            [DataType::List(element)] => Ok(DataType::List(self.field(element.data_type()))),
            _ => plan_err!("{} takes one array", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let list = arrays[0].as_list::<i32>();
        let mut places = Vec::with_capacity(list.values().len());
        for row in 0..list.len() {
            places.extend(1..=list.value_length(row));
        }
        let places: ArrayRef = Arc::new(Int32Array::from(places));
        // Only what the rows reach, so that places and elements lie side by side.
        let first = list.value_offsets().first().copied().unwrap_or(0);
        let elements = list.values().slice(first as usize, places.len());
        let field = self.field(elements.data_type());
        let values: ArrayRef = if self.elements {
            Arc::new(StructArray::try_new(
                fields(elements.data_type()),
                vec![elements, places],
                None,
            )?)
        } else {
            places
        };
        let lengths = (0..list.len()).map(|row| list.value_length(row) as usize);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let made = ListArray::try_new(field, offsets, values, list.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(made)))
    }
}
