//! `to_char` as PostgreSQL means it (documentation, section 9.8): patterns of its own, not those of strftime.
//!
//! A pattern that is not understood is an error: a wrong text would pass for a right one.

pub(super) mod moment;
mod number;

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, StringBuilder},
        compute::cast,
        datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
    },
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// The function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::new_from_shared_impl(Arc::new(ToChar {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    signature: Signature,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        let [value, _] = kinds else {
            return plan_err!("to_char takes a value and a pattern");
        };
        let value = match value {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            kind if kind.is_integer() => DataType::Int64,
            DataType::Null | DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            kind @ DataType::Decimal128(..) => kind.clone(),
            kind => {
                return plan_err!("to_char of {kind} is not supported: give a timestamp, a date or a number");
            }
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let alone = args
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (values, patterns) = (&arrays[0], arrays[1].as_string::<i32>());
        let mut texts = StringBuilder::new();
        let mut read: Option<(&str, Pattern)> = None;
        for row in 0..values.len() {
            if values.is_null(row) || patterns.is_null(row) {
                texts.append_null();
                continue;
            }
            let pattern = patterns.value(row);
            if read.as_ref().is_none_or(|(known, _)| *known != pattern) {
                read = Some((pattern, Pattern::read(values.data_type(), pattern)?));
            }
            let Some((_, pattern)) = &read else {
                return exec_err!("to_char lost its pattern");
            };
            texts.append_value(pattern.write(values, row)?);
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        if alone {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?));
        }
        Ok(ColumnarValue::Array(texts))
    }
}

enum Pattern {
    Moment(Vec<moment::Part>),
    Number(number::Picture),
}

impl Pattern {
    fn read(kind: &DataType, text: &str) -> Result<Self> {
        let read = match kind {
            DataType::Timestamp(..) => moment::parts(text).map(Self::Moment),
            _ => number::Picture::read(text).map(Self::Number),
        };
        read.or_else(|fault| exec_err!("to_char does not understand the pattern '{text}': {fault}"))
    }

    fn write(&self, values: &ArrayRef, row: usize) -> Result<String> {
        match self {
            Self::Moment(parts) => {
                let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
                let Some(at) = chrono::DateTime::from_timestamp_micros(micros) else {
                    return exec_err!("to_char cannot write an instant that far away");
                };
                Ok(moment::write(parts, &at.naive_utc()))
            }
            Self::Number(picture) => {
                // The digits of the value itself, so that no rounding comes before the picture's own.
                let digits = match values.data_type() {
                    DataType::Int64 => values.as_primitive::<Int64Type>().value(row).to_string(),
                    DataType::Float64 => format!("{}", values.as_primitive::<Float64Type>().value(row)),
                    _ => cast(&values.slice(row, 1), &DataType::Utf8)?
                        .as_string::<i32>()
                        .value(0)
                        .to_owned(),
                };
                Ok(picture.write(&digits))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{moment, number};

    #[test]
    fn instants() {
        let at = chrono::NaiveDate::from_ymd_opt(2026, 2, 5)
            .and_then(|day| day.and_hms_micro_opt(15, 4, 9, 78_900))
            .expect("a date");
        for (pattern, expected) in [
            ("YYYY-MM", "2026-02"),
            ("YYYY-MM-DD HH24:MI:SS", "2026-02-05 15:04:09"),
            ("HH12:MI AM", "03:04 PM"),
            ("hh:mi p.m.", "03:04 p.m."),
            ("SS.MS", "09.079"),
            ("US", "078900"),
            ("FF3", "078"),
            ("Day, DD Mon YYYY", "Thursday , 05 Feb 2026"),
            ("FMDay, FMDD FMMonth", "Thursday, 5 February"),
            ("MONTH|Mon|mon", "FEBRUARY |Feb|feb"),
            ("DY D ID DDD", "THU 5 4 036"),
            ("DDth FMDDTH", "05th 5TH"),
            ("IYYY-\"W\"IW", "2026-W06"),
            ("Q WW W CC", "1 06 1 21"),
            ("Y,YYY YYY YY Y", "2,026 026 26 6"),
            ("\"Quarter\" Q", "Quarter 1"),
            ("SSSS J RM", "54249 2461077 II  "),
            ("TZ OF", "UTC +00"),
            ("BC ad", "AD ad"),
        ] {
            let parts = moment::parts(pattern).expect(pattern);
            assert_eq!(moment::write(&parts, &at), expected, "{pattern}");
        }
        for pattern in ["YYYY-MM-DDSP", "\"open"] {
            assert!(moment::parts(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn numbers() {
        for (value, pattern, expected) in [
            ("485", "999", " 485"),
            ("-485", "999", "-485"),
            ("485", "9 9 9", " 4 8 5"),
            ("1485", "9,999", " 1,485"),
            ("485", "9,999", "   485"),
            ("12345.678", "FM999,999.00", "12,345.68"),
            ("0.1", "99.99", "   .10"),
            ("-0.1", "FM9.99", "-.1"),
            ("0.1", "0.9", " 0.1"),
            ("12", "9990999.9", "    0012.0"),
            ("12", "FM9990999.9", "0012."),
            ("148.5", "999.999", " 148.500"),
            ("148.5", "FM999.999", "148.5"),
            ("148.5", "FM999.990", "148.500"),
            ("3148.5", "9G999D999", " 3,148.500"),
            ("-485", "999S", "485-"),
            ("-485", "999MI", "485-"),
            ("485", "999MI", "485 "),
            ("485", "FM999MI", "485"),
            ("485", "PL999", "+485"),
            ("485", "SG999", "+485"),
            ("-485", "SG999", "-485"),
            ("-485", "999PR", "<485>"),
            ("485", "999PR", " 485 "),
            ("485", "L999", "  485"),
            ("482", "999th", " 482nd"),
            ("485", "\"Good number:\"999", "Good number: 485"),
            ("1234", "999", " ###"),
            ("0.5", "FM90%", "1%"),
            ("1e20", "9", " #"),
            ("0", "9", " 0"),
            ("0", "FM9.99", "0."),
            ("0", "9.99", "  .00"),
        ] {
            let picture = number::Picture::read(pattern).expect(pattern);
            assert_eq!(picture.write(value), expected, "{value} {pattern}");
        }
        for pattern in ["999V99", "RN", "9.9EEEE", "9.9.9"] {
            assert!(number::Picture::read(pattern).is_err(), "{pattern}");
        }
    }
}
