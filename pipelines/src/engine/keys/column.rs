//! The dictionary of one key column: values to codes and back. Code 0 is NULL.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion::{common::DataFusionError, error::Result};
use hashbrown::HashTable;

use super::super::{segmented::Segmented, texts::Texts};

/// Slots of the memo in front of a text dictionary.
const MEMO: usize = 256;
/// Longest text whose Arrow view holds it whole, so that the view itself can be compared.
const INLINE: u32 = 12;

#[derive(Debug)]
pub(super) enum KeyColumn {
    Text {
        texts: Texts,
        /// View and code of texts seen lately: most key columns hold few short values.
        memo: Vec<(u128, u32)>,
        /// Codes of longer texts seen lately, by length and first letters.
        long: Vec<u32>,
    },
    Number {
        table: HashTable<(i64, u32)>,
        values: Segmented<i64>,
    },
}

#[inline]
const fn number_hash(value: i64) -> u64 {
    let mixed = (value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// Interned bytes as the text they were.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("only bytes of texts are interned")
}

impl KeyColumn {
    pub(super) fn new(data_type: &DataType) -> Self {
        if matches!(data_type, DataType::Utf8View | DataType::Utf8) {
            Self::Text {
                texts: Texts::new(64),
                // A view of length u32::MAX is never inline, so this entry matches nothing.
                memo: vec![(u128::MAX, 0); MEMO],
                long: vec![0; MEMO],
            }
        } else {
            Self::Number {
                table: HashTable::new(),
                values: Segmented::default(),
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text { texts, memo, long } => texts.bytes() + memo.len() * 32 + long.len() * 4,
            Self::Number { table, values } => table.allocation_size() + values.bytes(),
        }
    }

    pub(super) fn find_text(&self, value: &str) -> Option<u32> {
        match self {
            Self::Text { texts, .. } => texts.find(value.as_bytes()).map(|id| id + 1),
            Self::Number { .. } => None,
        }
    }

    /// The code of each row, `None` for values never seen.
    pub(super) fn find_codes(&self, array: &ArrayRef) -> Result<Vec<Option<u32>>> {
        match self {
            Self::Text { texts, .. } => {
                let array = cast(array, &DataType::Utf8View)?;
                let codes = array.as_string_view().iter().map(|value| match value {
                    None => Some(0),
                    Some(value) => texts.find(value.as_bytes()).map(|id| id + 1),
                });
                Ok(codes.collect())
            }
            Self::Number { table, .. } => {
                let numbers = cast(array, &DataType::Int64)?;
                let codes = numbers
                    .as_primitive::<Int64Type>()
                    .iter()
                    .map(|value| match value {
                        None => Some(0),
                        Some(value) => table
                            .find(number_hash(value), |(known, _)| *known == value)
                            .map(|(_, code)| *code),
                    });
                Ok(codes.collect())
            }
        }
    }

    /// The code of each row.
    pub(super) fn codes(&mut self, array: &ArrayRef, out: &mut Vec<u32>) -> Result<()> {
        out.clear();
        out.reserve(array.len());
        match self {
            Self::Text { texts, memo, long } => {
                let array = cast(array, &DataType::Utf8View)?;
                let array = array.as_string_view();
                for (row, view) in array.views().iter().enumerate() {
                    if array.is_null(row) {
                        out.push(0);
                        continue;
                    }
                    if *view as u32 > INLINE {
                        let slot = (number_hash(*view as i64) >> 56) as usize;
                        let text = array.value(row).as_bytes();
                        let known = long[slot].checked_sub(1).filter(|id| texts.get(*id) == text);
                        long[slot] = known.unwrap_or_else(|| texts.intern(text)) + 1;
                        out.push(long[slot]);
                        continue;
                    }
                    let slot = (number_hash((*view as u64 ^ (*view >> 64) as u64) as i64) >> 56) as usize;
                    if memo[slot].0 != *view {
                        memo[slot] = (*view, texts.intern(array.value(row).as_bytes()) + 1);
                    }
                    out.push(memo[slot].1);
                }
            }
            Self::Number { table, values } => {
                let numbers = cast(array, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let mut last = (0_i64, 0_u32);
                for (row, value) in numbers.values().iter().enumerate() {
                    if numbers.is_null(row) {
                        out.push(0);
                        continue;
                    }
                    if last.1 == 0 || last.0 != *value {
                        last = (*value, number_code(table, values, *value));
                    }
                    out.push(last.1);
                }
            }
        }
        Ok(())
    }

    /// The values of codes, as an array of the column's type.
    pub(super) fn values(&self, codes: impl Iterator<Item = u32>, data_type: &DataType) -> Result<ArrayRef> {
        let array: ArrayRef = match self {
            Self::Text { texts, .. } => {
                let mut builder = StringViewBuilder::with_capacity(codes.size_hint().0);
                for code in codes {
                    builder.append_option(code.checked_sub(1).map(|id| text(texts.get(id))));
                }
                Arc::new(builder.finish())
            }
            Self::Number { values, .. } => Arc::new(
                codes
                    .map(|code| code.checked_sub(1).map(|id| values.get(id)))
                    .collect::<Int64Array>(),
            ),
        };
        if array.data_type() == data_type {
            return Ok(array);
        }
        cast(&array, data_type).map_err(DataFusionError::from)
    }
}

fn number_code(table: &mut HashTable<(i64, u32)>, values: &mut Segmented<i64>, value: i64) -> u32 {
    let hash = number_hash(value);
    if let Some((_, code)) = table.find(hash, |(known, _)| *known == value) {
        return *code;
    }
    values.push(value);
    let code = values.len() as u32;
    table.insert_unique(hash, (value, code), |(known, _)| number_hash(*known));
    code
}
