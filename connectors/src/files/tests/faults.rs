//! Bad mappings, bad files, bad rows: each says what and where, and the rest goes on.

use std::{io::Write as _, sync::Arc};

use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path as StorePath};
use revgauge_contract::{Classified, ErrorKind};

use super::*;
use crate::files::{MappingError, discover, discover_in_store};

const CONTACTS: &str = r#"
[[table]]
file = "people*"
emit = "contact.upserted"
event.contact_id = { from = "id", required = true }
event.email = "email"
event.event_time = { from = "since", type = "time" }
payload.name = "name"
payload.employees = { from = "size", type = "integer", optional = true }
"#;

fn fault(mapping: &str) -> MappingError {
    Plan::load(mapping, "test.toml").expect_err(mapping)
}

#[test]
fn broken_mappings_name_line_key_and_what_was_meant() {
    let table = "[[table]]\nfile = \"a\"\nemit = \"deal.upserted\"\n";
    let with = |line: &str| format!("{table}{line}");
    let cases = [
        (
            with("evnt.deal_id = \"id\""),
            4,
            "evnt",
            Some("event"),
            "unknown field",
        ),
        (
            with("event.deal = \"id\""),
            4,
            "deal",
            Some("deal_id"),
            "unknown field",
        ),
        (
            with("payload.a = { form = \"x\" }"),
            4,
            "form",
            Some("from"),
            "unknown field",
        ),
        (
            with("payload.a = { from = \"x\", type = \"numbr\" }"),
            4,
            "numbr",
            Some("number"),
            "unknown variant",
        ),
        (
            with("payload.a = { type = \"number\" }"),
            4,
            "a",
            None,
            "has no source",
        ),
        (
            with("payload.a = { template = \"{x\" }"),
            4,
            "template",
            None,
            "without its '}'",
        ),
        (
            with("payload.a = { from = \"x\", map_only = true }"),
            4,
            "map_only",
            None,
            "without a map",
        ),
        (
            with("payload.a = { from = \"x\", timezone = \"Europe/Berln\" }"),
            4,
            "timezone",
            Some("Europe/Berlin"),
            "no time zone",
        ),
        (
            with("payload.a = { from = \"x\", time_format = \"%Q\" }"),
            4,
            "time_format",
            None,
            "no time format",
        ),
        (
            with("event.event_time = { from = \"x\", type = \"text\" }"),
            4,
            "event_time",
            None,
            "cannot be of this type",
        ),
        (
            with("where = [{ column = \"x\" }]"),
            4,
            "where",
            None,
            "tests nothing",
        ),
        (with("delimiter = \"ab\""), 4, "delimiter", None, "no delimiter"),
        (
            with("each = { column = \"x\", as = \"y\" }"),
            4,
            "each",
            None,
            "needs either",
        ),
        (
            "[[table]]\nfile = \"a\"\nemit = \"deal.upsertd\"".to_owned(),
            3,
            "emit",
            Some("deal.upserted"),
            "no known event type",
        ),
        (
            "timezone = \"Mars\"".to_owned(),
            1,
            "timezone",
            None,
            "no time zone",
        ),
        ("source = \"x\"".to_owned(), 1, "table", None, "no [[table]]"),
    ];
    for (mapping, line, key, suggestion, message) in cases {
        let error = fault(&mapping);
        assert_eq!(error.line, line, "{error}");
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
        if suggestion.is_some() {
            assert_eq!(error.suggestion.as_deref(), suggestion, "{error}");
        }
        assert!(error.message.contains(message), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("mapping test.toml, line {line}: ")),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::User);
    }
    assert_eq!(fault("[[table]]\nfile = \n").line, 2, "broken TOML");
}

#[tokio::test]
async fn bad_rows_are_refused_by_line_and_column() {
    let csv = b"id,email,since,name,size\n\
        1,jo@acme.io,2026-01-01,Jo,12\n\
        2,nobody,2026-01-01,Bad address,1\n\
        ,x@acme.io,2026-01-01,No id,1\n\
        4,y@acme.io,yesterday,Bad time,1\n\
        5,z@acme.io,2026-01-01\n\
        6,w@acme.io,2026-01-01,\xff,1\n\
        7,v@acme.io,2026-01-01,\"Two\nlines\",few\n\
        8,u@acme.io,1980-01-01,Too early,1\n\
        9,t@acme.io,2030-01-01,Too late,1\n\
        10,s@acme.io,2026-01-01,Last,\n";
    let (kept, report) = import_text(CONTACTS, "people.csv", csv).await.expect("imported");
    assert_eq!((report.rows, report.accepted, report.refused_rows()), (10, 2, 8));
    let got: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let expected = [
        "people.csv:3: email: 'nobody' is no mail address",
        "people.csv:4: id: the field is required and empty",
        "people.csv:5: since: 'yesterday' is no time (tried iso); set time_format",
        "people.csv:6: the row has 3 fields, the header 5; is a delimiter or quote missing?",
        "people.csv:7: name: the field is not UTF-8 text; save the file as UTF-8",
        "people.csv:8: size: 'few' is no number",
        "people.csv:10: since: 1980-01-01T00:00:00Z is before 1990",
    ];
    assert_eq!(&got[..7], expected);
    assert!(
        got[7].starts_with("people.csv:11: since: 2030-01-01T00:00:00Z lies too far"),
        "{}",
        got[7]
    );
    assert_eq!(kept.letters.len(), 8);
    let first = &kept.letters[0];
    assert_eq!(
        (first.source.as_str(), first.refusal.code.as_str()),
        ("import:people.csv:3", "bad_email")
    );
    assert!(first.body.contains("\"Bad address\""), "{}", first.body);
    assert!(kept.letters[4].body_is_base64);
}

#[tokio::test]
async fn problems_are_bounded_and_counted() {
    let mut csv = String::from("id,email,since,name\n");
    for row in 0..1_000 {
        csv.push_str(&format!("{row},nobody,2026-01-01,x\n"));
    }
    let folder = folder(&[("people.csv", csv.as_bytes())]);
    let plan = Plan::load(CONTACTS, "test.toml").expect("mapping");
    let settings = ImportSettings {
        max_problems: 7,
        batch_rows: 64,
        ..ImportSettings::default()
    };
    let mut kept = Kept::default();
    let inputs = discover(folder.path()).expect("files");
    let report = run(&plan, &inputs, &received(), &settings, &mut kept, &mut |_| {})
        .await
        .expect("run");
    assert_eq!(
        (
            report.problems.len(),
            report.refused["bad_email"],
            kept.letters.len()
        ),
        (7, 1_000, 1_000)
    );
}

#[tokio::test]
async fn compressed_and_delimited_files_give_the_same_events() {
    let csv = "id,email,since,name\n1,jo@acme.io,2026-01-01,Jo\n2,al@acme.io,2026-01-02,Al\n";
    let (plain, _) = import_text(CONTACTS, "people.csv", csv.as_bytes())
        .await
        .expect("plain");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).expect("gzip");
    let gzip = gzip.finish().expect("gzip");
    let zstd = zstd::encode_all(csv.as_bytes(), 1).expect("zstd");
    let json = "{\"id\":1,\"email\":\"jo@acme.io\",\"since\":\"2026-01-01\",\"name\":\"Jo\"}\n\n\
                {\"id\":\"2\",\"email\":\"al@acme.io\",\"since\":\"2026-01-02\",\"name\":\"Al\"}";
    let tabs = csv.replace(',', "\t");
    let semicolons = csv.replace(',', ";");
    let marked = format!("\u{feff}{csv}");
    for (name, bytes) in [
        ("people.csv.gz", gzip.as_slice()),
        ("people.csv.zst", &zstd),
        ("people.tsv", tabs.as_bytes()),
        ("people.csv", semicolons.as_bytes()),
        ("people.txt", marked.as_bytes()),
        ("people.ndjson", json.as_bytes()),
    ] {
        let (other, report) = import_text(CONTACTS, name, bytes).await.expect(name);
        assert_eq!(plain.ndjson(), other.ndjson(), "{name}: {:?}", report.problems);
    }
}

#[tokio::test]
async fn importing_again_gives_the_same_ids() {
    let csv = "id,email,since,name\n1,jo@acme.io,2026-01-01,Jo\n2,al@acme.io,,Al\n";
    let (first, _) = import_text(CONTACTS, "people.csv", csv.as_bytes())
        .await
        .expect("first");
    let folder = folder(&[("people.csv", csv.as_bytes())]);
    let plan = Plan::load(CONTACTS, "test.toml").expect("mapping");
    let mut later = received();
    later.received_at = later.received_at.plus_micros(86_400_000_000);
    let mut second = Kept::default();
    let inputs = discover(folder.path()).expect("files");
    run(
        &plan,
        &inputs,
        &later,
        &ImportSettings::default(),
        &mut second,
        &mut |_| {},
    )
    .await
    .expect("second");
    assert_eq!(first.ids(), second.ids(), "also of the row without a time");
    assert_eq!(first.ids().len(), 2);
}

#[tokio::test]
async fn missing_columns_and_files_are_named() {
    let error = import_text(CONTACTS, "people.csv", b"id,e-mail,since,nam\n")
        .await
        .err()
        .expect("refused");
    assert_eq!(
        error.to_string(),
        "column 'name' (mapping line 2) is not in 'people.csv', which has: id, e-mail, since, nam; did you mean 'nam'?"
    );
    assert_eq!(error.kind(), ErrorKind::User);
    let error = import_text(CONTACTS, "firms.csv", b"id\n")
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, ImportError::NothingMatches { .. }), "{error}");
    let with_lookup = format!(
        "{CONTACTS}payload.company = {{ lookup = {{ file = \"firms\", key = \"id\", column = \"id\", take = \"name\" }} }}"
    );
    let error = import_text(&with_lookup, "people.csv", b"id,email,since,name\n")
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, ImportError::MissingLookup { .. }), "{error}");
    assert!(
        matches!(discover(Path::new("no-such-file.csv")), Err(error) if error.kind() == ErrorKind::NotFound)
    );
    assert!(matches!(
        discover(Path::new("no-such-*.csv")),
        Err(ImportError::NothingFound { .. })
    ));
}

#[tokio::test]
async fn an_open_quote_does_not_swallow_the_memory() {
    let mut csv = b"id,email,since,name\n1,\"jo@acme.io,2026-01-01,Jo\n".to_vec();
    csv.resize(4 << 20, b'x');
    let error = import_text(CONTACTS, "people.csv", &csv)
        .await
        .err()
        .expect("refused");
    assert!(
        error.to_string().contains("line 2: ") && error.to_string().contains("is a quote not closed?"),
        "{error}"
    );
    let mut json = vec![b'['; 2 << 20];
    json.extend_from_slice(b"\n{\"id\":\"1\",\"name\":\"Jo\"}\n");
    let (_, report) = import_text(CONTACTS, "people.ndjson", &json)
        .await
        .expect("goes on");
    assert_eq!((report.accepted, report.problems[0].line), (1, 1));
    let broken = flate2_cut();
    let error = import_text(CONTACTS, "people.csv.gz", &broken)
        .await
        .err()
        .expect("refused");
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
}

/// A gzip file that ends in the middle.
fn flate2_cut() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(b"id,email,since,name\n1,jo@acme.io,2026-01-01,Jo\n")
        .expect("gzip");
    let mut bytes = gzip.finish().expect("gzip");
    bytes.truncate(bytes.len() - 12);
    bytes
}

#[tokio::test]
async fn ndjson_lines_are_judged_alone() {
    let json = b"{\"id\":\"1\",\"name\":\"Jo\"}\n{\"id\":\n[1]\n\xff\n{\"id\":\"2\",\"name\":\"Al\"}\n";
    let (_, report) = import_text(CONTACTS, "people.ndjson", json)
        .await
        .expect("imported");
    let lines: Vec<u64> = report.problems.iter().map(|problem| problem.line).collect();
    assert_eq!((report.accepted, lines), (2, vec![2, 3, 4]));
    assert!(
        report.problems[0]
            .message
            .starts_with("the line is no valid JSON at column"),
        "{:?}",
        report.problems
    );
}

#[tokio::test]
async fn objects_of_a_store_are_read_like_files() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (path, text) in [
        (
            "in/people-1.csv",
            "id,email,since,name\n1,jo@acme.io,2026-01-01,Jo\n",
        ),
        (
            "in/people-2.csv",
            "id,email,since,name\n2,al@acme.io,2026-01-02,Al\n",
        ),
        ("in/deep/people-3.csv", "id\n"),
    ] {
        store.put(&StorePath::from(path), text.into()).await.expect("put");
    }
    let plan = Plan::load(CONTACTS, "test.toml").expect("mapping");
    for (asked, files) in [("in", 2), ("in/people-*.csv", 2), ("/in/people-1.csv", 1)] {
        let inputs = discover_in_store(&store, asked).await.expect(asked);
        assert_eq!(inputs.len(), files, "{asked}");
        // One byte at a time: ranges are joined rightly.
        let settings = ImportSettings {
            read_ahead_bytes: 1,
            ..ImportSettings::default()
        };
        let mut kept = Kept::default();
        let report = run(&plan, &inputs, &received(), &settings, &mut kept, &mut |_| {})
            .await
            .expect(asked);
        assert_eq!(report.accepted as usize, files, "{asked}");
    }
    assert!(matches!(
        discover_in_store(&store, "out").await,
        Err(ImportError::NothingFound { .. })
    ));
}

struct Refusing;

#[async_trait]
impl EventSink for Refusing {
    async fn take(&mut self, _: RecordBatch) -> Result<(), Failure> {
        Err(Failure::new(ErrorKind::Limit, "the queue is full"))
    }

    async fn refuse(&mut self, _: Vec<DeadLetter>) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failing_receiver_stops_the_import() {
    let mut csv = String::from("id,email,since,name\n");
    for row in 0..5_000 {
        csv.push_str(&format!("{row},a{row}@acme.io,2026-01-01,x\n"));
    }
    let folder = folder(&[("people.csv", csv.as_bytes())]);
    let plan = Plan::load(CONTACTS, "test.toml").expect("mapping");
    let settings = ImportSettings {
        batch_rows: 10,
        ..ImportSettings::default()
    };
    let inputs = discover(folder.path()).expect("files");
    let error = run(&plan, &inputs, &received(), &settings, &mut Refusing, &mut |_| {})
        .await
        .expect_err("stopped");
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("cannot hand the events on: the queue is full", ErrorKind::Limit)
    );
}

#[tokio::test]
async fn lookups_are_bounded() {
    let mapping = format!(
        "{CONTACTS}payload.company = {{ lookup = {{ file = \"firms\", key = \"id\", column = \"id\", take = \"name\" }} }}"
    );
    let folder = folder(&[
        ("people.csv", b"id,email,since,name\n"),
        ("firms.csv", b"id,name\n1,a\n2,b\n3,c\n"),
    ]);
    let plan = Plan::load(&mapping, "test.toml").expect("mapping");
    let settings = ImportSettings {
        max_lookup_rows: 2,
        ..ImportSettings::default()
    };
    let inputs = discover(folder.path()).expect("files");
    let error = run(
        &plan,
        &inputs,
        &received(),
        &settings,
        &mut Kept::default(),
        &mut |_| {},
    )
    .await
    .expect_err("full");
    assert!(
        error
            .to_string()
            .contains("passes the limit of 2; raise the setting 'max_lookup_rows'"),
        "{error}"
    );
}

#[tokio::test]
async fn native_lines_without_id_and_time_keep_their_ids() {
    let line = b"{\"type\":\"page.viewed\",\"email\":\"jo@acme.io\"}\n";
    let (first, _) = import_text("events", "e.ndjson", line).await.expect("first");
    let folder = folder(&[("e.ndjson", line.as_slice())]);
    let mut later = received();
    later.received_at = later.received_at.plus_micros(1_000_000);
    let mut second = Kept::default();
    let inputs = discover(folder.path()).expect("files");
    let settings = ImportSettings::default();
    run(
        &Plan::events(),
        &inputs,
        &later,
        &settings,
        &mut second,
        &mut |_| {},
    )
    .await
    .expect("second");
    assert_eq!((first.ids(), first.ids().len()), (second.ids(), 1));
}
