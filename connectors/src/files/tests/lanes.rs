//! The columnar lane, the row lane and the HTTP door judge the same event alike.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampNanosecondArray},
    compute::cast,
    datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType},
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use revgauge_contract::{
    event::{EventDraft, Reception, Refusal, Trust},
    schema::{batch_of, events},
};

use super::*;
use crate::files::draft_from_json;

fn parquet_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

fn arrow_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).expect("writer");
    writer.write(batch).expect("written");
    writer.finish().expect("finished");
    drop(writer);
    bytes
}

fn draft(number: usize) -> EventDraft {
    let mut draft: EventDraft = serde_json::from_value(serde_json::json!({
        "event_id": format!("e{number}"), "type": "email.opened", "email": format!("jo{number}@acme.io"),
        "event_time": "2026-01-02T03:04:05Z", "source": "crm", "payload": {"n": number},
    }))
    .expect("draft");
    if number.is_multiple_of(3) {
        draft.event_type = Some("call.completed".to_owned());
        draft.value = Some(60.0);
        draft.email = Some(format!("jo{number}@gmail.com"));
    }
    draft
}

fn accepted(rows: usize) -> RecordBatch {
    let events: Vec<_> = (0..rows)
        .map(|number| draft(number).accept(&received()).expect("accepted"))
        .collect();
    batch_of(&events)
}

#[tokio::test]
async fn our_own_parquet_and_arrow_come_back_unchanged() {
    let batch = accepted(100);
    let arrow_file = arrow_of(&batch);
    for (name, bytes) in [
        ("events.parquet", parquet_of(&batch)),
        ("events.arrow", arrow_file),
    ] {
        let (kept, report) = import_text("events", name, &bytes).await.expect(name);
        assert_eq!(
            (report.rows, report.accepted, report.refused_rows()),
            (100, 100, 0),
            "{name}"
        );
        assert_eq!(report.events["call.completed"], 34, "{name}");
        assert_eq!(kept.batches.as_slice(), std::slice::from_ref(&batch), "{name}");
    }
}

#[tokio::test]
async fn other_types_of_the_same_columns_are_converted() {
    let batch = accepted(10);
    let schema = batch.schema();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let as_type = match (field.name().as_str(), field.data_type()) {
            ("tenant_id" | "ingested_at" | "direction", _) => continue,
            (_, DataType::Utf8View) => DataType::Utf8,
            (_, DataType::Timestamp(..)) => DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
            (_, other) => other.clone(),
        };
        let column = match as_type {
            DataType::Timestamp(..) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>();
                let nanos: TimestampNanosecondArray =
                    micros.iter().map(|at| at.map(|at| at * 1_000)).collect();
                Arc::new(nanos.with_timezone("+02:00")) as ArrayRef
            }
            ref other => cast(column, other).expect("cast"),
        };
        fields.push(Field::new(field.name(), as_type, true));
        columns.push(column);
    }
    let other = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("batch");
    let (kept, report) = import_text("events", "e.parquet", &parquet_of(&other))
        .await
        .expect("imported");
    assert_eq!(report.accepted, 10, "{:?}", report.problems);
    let mut got = kept.ndjson().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut expected: Vec<String> = String::from_utf8(ndjson_of(&batch))
        .expect("text")
        .lines()
        .map(str::to_owned)
        .collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn bad_rows_of_a_batch_fall_out_and_strangers_are_kept() {
    let mut batch = accepted(6);
    let emails: ArrayRef = Arc::new(arrow::array::StringViewArray::from_iter([
        Some("JO@Acme.io"),
        Some("nobody"),
        None,
        Some("a@gmail.com"),
        Some("b@acme.io"),
        Some("c@acme.io"),
    ]));
    let mut columns = batch.columns().to_vec();
    columns[12] = emails;
    columns[13] = Arc::new(arrow::array::StringViewArray::new_null(6));
    batch = RecordBatch::try_new(events(), columns).expect("batch");
    let (kept, report) = import_text("events", "e.parquet", &parquet_of(&batch))
        .await
        .expect("imported");
    assert_eq!((report.rows, report.accepted), (6, 4), "{:?}", report.problems);
    let at: Vec<_> = report
        .problems
        .iter()
        .map(|p| (p.line, p.code.as_str()))
        .collect();
    assert_eq!(at, [(2, "bad_email"), (3, "missing_subject")]);
    assert!(
        kept.ndjson()
            .contains("\"email\":\"jo@acme.io\",\"domain\":\"acme.io\""),
        "{}",
        kept.ndjson()
    );
    assert_eq!(kept.letters.len(), 2);

    let mut fields: Vec<_> = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("campaign", DataType::Utf8, true)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["spring"; 6])));
    let wider = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("batch");
    let (kept, report) = import_text("events", "e.parquet", &parquet_of(&wider))
        .await
        .expect("imported");
    assert_eq!(report.accepted, 4, "{:?}", report.problems);
    assert_eq!(kept.ndjson().matches("\"campaign\":\"spring\"").count(), 4);
}

#[tokio::test]
async fn files_that_are_no_events_are_refused_by_name() {
    let error = import_text("events", "x.csv", b"a,b\n1,2\n")
        .await
        .err()
        .expect("refused");
    assert!(error.to_string().contains("column 'type'"), "{error}");
    let error = import_text("events", "x.parquet", b"PAR1nonsense")
        .await
        .err()
        .expect("refused");
    assert!(
        error
            .to_string()
            .starts_with("'x.parquet' is no readable Parquet file: "),
        "{error}"
    );
    let plain = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)])
        .expect("batch");
    let error = import_text("events", "x.parquet", &parquet_of(&plain))
        .await
        .err()
        .expect("refused");
    assert!(error.to_string().contains("use a mapping"), "{error}");
}

#[tokio::test]
async fn mapped_parquet_is_read_like_csv() {
    let mapping = "[[table]]\nfile = \"p*\"\nemit = \"contact.upserted\"\nevent.contact_id = \"id\"\nevent.event_time = \"at\"\npayload.name = \"name\"";
    let batch = RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(arrow::array::Int64Array::from(vec![1, 2])) as ArrayRef,
        ),
        (
            "at",
            Arc::new(arrow::array::TimestampMicrosecondArray::from(
                vec![1_767_323_045_000_000; 2],
            )) as ArrayRef,
        ),
        (
            "name",
            Arc::new(StringArray::from(vec![Some("Jo"), None])) as ArrayRef,
        ),
    ])
    .expect("batch");
    let (from_parquet, _) = import_text(mapping, "p.parquet", &parquet_of(&batch))
        .await
        .expect("parquet");
    let csv = b"id,at,name\n1,2026-01-02T03:04:05,Jo\n2,2026-01-02T03:04:05,\n";
    let (from_csv, _) = import_text(mapping, "p.csv", csv).await.expect("csv");
    assert_eq!(from_parquet.ndjson(), from_csv.ndjson());
    assert_eq!(from_csv.ids().len(), 2);
}

/// NDJSON of events means the same in a file as at the door.
#[test]
fn a_file_and_the_door_read_a_line_alike() {
    let live = Reception {
        trust: Trust::Live,
        ..received()
    };
    for line in [
        r#"{"type":"email.opened","email":"Jo@Acme.io","event_time":"2026-01-02T03:04:05Z"}"#,
        r#"{"type":"email.opened","email":"jo@acme.io","timestamp":1767323045,"campaign":"x","payload":{"campaign":1}}"#,
        r#"{"type":"deal.upserted","id":17,"deal_id":9001,"payload":{"amount":1.5,"next_step":null},"user_id":null}"#,
        r#"{"type":"call.completed","contact_id":"c","value":12,"direction":"Inbound","machine_class":"none"}"#,
        r#"{"type":"email.opened"}"#,
        r#"{"type":7,"email":"a@b.io"}"#,
        r#"{"type":"email.opened","email":"a@b.io","event_time":"soon"}"#,
        r#"{"type":"email.opened","email":"a@b.io","direction":"up"}"#,
    ] {
        let door = crate::http::parse_events(live.clone(), line.as_bytes(), 1).expect("one event");
        let file =
            draft_from_json(serde_json::from_str(line).expect("json")).and_then(|draft| draft.accept(&live));
        match (file, door.batch) {
            (Ok(event), Some(batch)) => {
                let ours = String::from_utf8(ndjson_of(&batch_of(&[event]))).expect("text");
                let theirs = String::from_utf8(ndjson_of(&batch)).expect("text");
                assert_eq!(ours, theirs, "{line}");
            }
            (Err(refusal), None) => assert_eq!(refusal.code, door.refused[0].code, "{line}"),
            (file, _) => panic!("{line}: the file gives {file:?}, the door {:?}", door.refused),
        }
    }
}

/// The connector as the conformance kit wants it: bytes of a file to one outcome an event.
fn outcomes(mapping: &str, name: &str, bytes: &[u8]) -> Vec<Result<String, Refusal>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    match runtime.block_on(import_text(mapping, name, bytes)) {
        Ok((kept, _)) => {
            let refused = kept.letters.iter().map(|letter| Err(letter.refusal.clone()));
            kept.ids().into_iter().map(Ok).chain(refused).collect()
        }
        Err(error) => vec![Err(Refusal::whole("unreadable_file", error.to_string()))],
    }
}

#[test]
fn conforms() {
    let ndjson = ndjson_of(&accepted(3));
    let good = b"{\"type\":\"email.opened\",\"email\":\"a@b.io\"}\n".as_slice();
    let bad = b"{\"type\":\"email.opened\"}\n".as_slice();
    crate::conformance::check(
        &|bytes| outcomes("events", "e.ndjson", bytes),
        &[&ndjson, good],
        &[bad],
    );
    let mapping = "[[table]]\nfile = \"p\"\nemit = \"contact.upserted\"\nevent.contact_id = \"id\"\nevent.email = \"mail\"\nevent.event_time = \"at\"";
    let good = b"id,mail,at\n1,jo@acme.io,2026-01-02\n2,,2026-01-03\n".as_slice();
    let bad = b"id,mail,at\n1,jo,2026-01-02\n2,,late\n3\n".as_slice();
    crate::conformance::check(&|bytes| outcomes(mapping, "p.csv", bytes), &[good], &[bad]);
    let parquet = parquet_of(&accepted(3));
    crate::conformance::survives_garbage(&|bytes| outcomes("events", "e.parquet", bytes), &parquet);
    let arrow = arrow_of(&accepted(3));
    crate::conformance::survives_garbage(&|bytes| outcomes("events", "e.arrow", bytes), &arrow);
}

fn cell() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        Just(Some(String::new())),
        "[a-z]{1,4}".prop_map(Some),
        "[ a-zA-Z@.é:;\u{1}]{1,6}".prop_map(Some),
        "[a-zA-Z]{1,3}@[a-z]{1,3}\\.(io|com|co\\.uk|x)".prop_map(Some),
        Just(Some("a@gmail.com".to_owned())),
        Just(Some("www.acme.io".to_owned())),
    ]
}

fn some_type() -> impl Strategy<Value = Option<String>> {
    let names = [
        "email.opened",
        "deal.upserted",
        "contact.upserted",
        "role.upserted",
        "call.completed",
        "odd.type",
        "b\nd",
    ];
    prop_oneof![6 => prop::sample::select(names.to_vec()).prop_map(|name| Some(name.to_owned())), 1 => Just(None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A row is accepted, changed or refused by the columnar lane exactly as acceptance would.
    #[test]
    fn the_columnar_lane_is_acceptance(
        event_type in some_type(),
        kind in prop::sample::select(vec![None, Some("crm"), Some("engagement"), Some("enrichment")]),
        ids in prop::array::uniform4(cell()),
        email in cell(),
        domain in cell(),
        direction in prop::sample::select(vec![None, Some("inbound"), Some("outbound")]),
        machine in prop::sample::select(vec![None, Some("none"), Some("bot")]),
        source in prop::sample::select(vec![Some("crm"), Some(""), None, Some("my crm")]),
        payload in prop::sample::select(vec![None, Some("{}"), Some("{\"a\":1}")]),
        time in prop::sample::select(vec![0, 700_000_000_000_000, 1_767_323_045_000_000, 4_000_000_000_000_000]),
        value in prop::sample::select(vec![None, Some(1.5), Some(f64::NAN)]),
    ) {
        let [account_id, contact_id, deal_id, user_id] = ids;
        let text = |name: &str, value: &Option<String>| (name.to_owned(), Arc::new(StringArray::from(vec![value.clone()])) as ArrayRef);
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let columns = vec![
            text("event_id", &Some("e1".to_owned())),
            text("type", &event_type),
            text("kind", &owned(kind)),
            text("source", &owned(source)),
            text("account_id", &account_id),
            text("contact_id", &contact_id),
            text("deal_id", &deal_id),
            text("user_id", &user_id),
            text("email", &email),
            text("domain", &domain),
            text("direction", &owned(direction)),
            text("machine_class", &owned(machine)),
            text("payload", &owned(payload)),
            ("event_time".to_owned(), Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![time])) as ArrayRef),
            ("value".to_owned(), Arc::new(arrow::array::Float64Array::from(vec![value])) as ArrayRef),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("batch");
        let draft = EventDraft {
            event_id: Some("e1".to_owned()),
            event_type,
            kind: kind.map(|kind| serde_json::from_value(kind.into()).expect("kind")),
            event_time: Some(Timestamp(time)),
            source: owned(source),
            account_id,
            contact_id,
            deal_id,
            user_id,
            email,
            domain,
            direction: direction.map(|word| serde_json::from_value(word.into()).expect("direction")),
            machine_class: machine.map(|word| serde_json::from_value(word.into()).expect("class")),
            value,
            payload: payload.map(|text| serde_json::from_str(text).expect("object")).unwrap_or_default(),
            ..EventDraft::default()
        };
        let expected = draft.accept(&received());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let (kept, report) = runtime.block_on(import_text("events", "e.parquet", &parquet_of(&batch))).expect("imported");
        match expected {
            Ok(event) => {
                prop_assert_eq!(report.accepted, 1, "{:?}", report.problems);
                prop_assert_eq!(kept.ndjson(), String::from_utf8(ndjson_of(&batch_of(&[event]))).expect("text"));
            }
            Err(refusal) => {
                prop_assert_eq!(report.accepted, 0, "should be refused: {}", refusal);
                prop_assert_eq!(&kept.letters[0].refusal.code, &refusal.code, "{}", kept.letters[0].refusal);
            }
        }
    }
}

/// `cargo test --release -p revgauge-connectors -- --ignored --nocapture columnar_speed`
#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn columnar_speed() {
    let batch = accepted(100_000);
    let folder = folder(&[("events.parquet", parquet_of(&batch).as_slice())]);
    let inputs = crate::files::discover(folder.path()).expect("file");
    let (_, report) = import(&Plan::events(), &inputs).await.expect("imported");
    eprintln!(
        "{:.0} events/s without a journal",
        report.accepted as f64 / report.seconds
    );
}
