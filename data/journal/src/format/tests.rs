//! What is written is read, and what was damaged is refused.

use arrow::{
    array::{Int64Array, StringViewArray},
    datatypes::{DataType, Field, Schema},
};
use proptest::prelude::*;

use super::*;

fn sample(rows: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
    ]));
    let texts: StringViewArray = (0..rows)
        .map(|row| (row % 3 != 0).then(|| format!("a text too long to be inline {row}")))
        .collect();
    RecordBatch::try_new(
        schema,
        vec![Arc::new(Int64Array::from_iter_values(0..rows)), Arc::new(texts)],
    )
    .expect("batch")
}

fn header(rows: u64) -> Header {
    Header {
        claim: false,
        schema_version: 1,
        position: Position(42),
        epoch: 3,
        nonce: 0xdead_beef,
        written_at: Timestamp(-7),
        covers: Position(41),
        rows,
    }
}

fn object(batch: &RecordBatch, compression: Compression) -> Bytes {
    let body = Body::encode(batch, compression).expect("encoded");
    let mut bytes = header(batch.num_rows() as u64).encode(&body).to_vec();
    bytes.extend(body.bytes());
    bytes.into()
}

#[test]
fn objects_round_trip_in_every_compression() {
    let batch = sample(100);
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let bytes = object(&batch, compression);
        let (read_header, read) = decode("x", &bytes, &batch.schema(), 1).expect("decoded");
        assert_eq!(read_header, header(100));
        assert_eq!(read, batch);
    }
}

#[test]
fn a_claim_has_no_body() {
    let claim = Header {
        claim: true,
        ..header(0)
    };
    let bytes = claim.encode(&Body::empty());
    assert_eq!(bytes.len(), HEADER_LEN);
    let (read, batch) = decode("x", &bytes, &sample(1).schema(), 1).expect("decoded");
    assert_eq!((read, batch.num_rows()), (claim, 0));
}

#[test]
fn later_versions_are_refused_as_such() {
    let batch = sample(1);
    let body = Body::encode(&batch, Compression::None).expect("encoded");
    let later = Header {
        schema_version: 2,
        ..header(1)
    };
    let bytes: Bytes = [later.encode(&body), body.bytes().clone()].concat().into();
    let error = decode("x", &bytes, &batch.schema(), 1).expect_err("too new");
    assert!(matches!(
        error,
        JournalError::TooNew {
            what: "schema version",
            ..
        }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_anywhere_is_refused(cut in any::<prop::sample::Index>(), bit in 0_u8..8, truncate in any::<bool>()) {
        let batch = sample(20);
        let good = object(&batch, Compression::Lz4);
        let at = cut.index(good.len());
        let mut bad = good.to_vec();
        if truncate {
            bad.truncate(at);
        } else {
            bad[at] ^= 1 << bit;
        }
        let error = decode("journal/events/1.arrow", &bad.into(), &batch.schema(), 1).expect_err("refused");
        prop_assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
        prop_assert!(error.to_string().contains("journal/events/1.arrow"));
    }

    #[test]
    fn garbage_is_refused(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode("x", &garbage.into(), &sample(1).schema(), 1).is_err());
    }
}
