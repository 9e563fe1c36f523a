//! Queries answer with the rule as without it, and where it applies few entities are explained.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{ArrayRef, Float64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray},
        datatypes::{DataType, Field, Schema},
        util::pretty::pretty_format_batches,
    },
    datasource::MemTable,
    execution::session_state::SessionStateBuilder,
    prelude::{SessionConfig, SessionContext},
};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{
        Alert, ChangeExplanation, DuplicateAccounts, EntityKind, EntityScores, ScoreRows, ScoreService,
        scores_table,
    },
    statistics::Knowledge,
    text::TextSignal,
};
use serde_json::{Value, json};

use super::*;
use crate::access::Sight;

const ENTITIES: usize = 4_000;

/// Many contacts and deals, with equal values and with none; counts whom it explains.
#[derive(Default)]
struct Many {
    explained: AtomicUsize,
}

fn nothing<T>() -> Result<T, Failure> {
    Err(Failure::new(ErrorKind::NotFound, "not asked for here".to_owned()))
}

/// Values in steps, so that many are equal: a third of the entities has none.
fn value_of(number: usize) -> Option<f64> {
    (!number.is_multiple_of(3)).then(|| ((number * 7_919) % 613) as f64 / 10.0)
}

impl Many {
    fn row(
        kind: EntityKind,
        number: usize,
        score: &str,
        explains: bool,
    ) -> ([Option<String>; 14], Option<f64>) {
        let value = value_of(number + score.len());
        let made = |text: String| Some(if explains { text } else { String::new() });
        let facts = json!({"engagement": (number % 11) as f64 + 0.5});
        let texts = [
            Some("acme".to_owned()),
            Some(kind.as_str().to_owned()),
            Some(format!("{}{number}", &kind.as_str()[..1])),
            made(format!("Name {}", number % 97)),
            Some(format!("a{}", number % 50)),
            Some(format!("rep-{}", number % 5)),
            Some(score.to_owned()),
            value.map(|value| if value > 30.0 { "A" } else { "B" }.to_owned()),
            value.is_none().then(|| "no activity yet".to_owned()),
            made(format!("because of {number}")),
            made("[]".to_owned()),
            made(facts.to_string()),
            Some("default@1".to_owned()),
            made(format!("f{number}")),
        ];
        (texts, value)
    }
}

#[async_trait]
impl ScoreService for Many {
    async fn table(
        &self,
        _: &str,
        kind: EntityKind,
        asked: &ScoreRows,
        at: Timestamp,
        _: Knowledge,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let explains = ["name", "reasons", "facts"]
            .iter()
            .any(|column| asked.reads(column));
        let mut texts: [Vec<Option<String>>; 14] = Default::default();
        let mut values = Vec::new();
        for number in 0..ENTITIES {
            let id = format!("{}{number}", &kind.as_str()[..1]);
            if asked.ids.as_ref().is_some_and(|ids| !ids.contains(&id)) {
                continue;
            }
            self.explained.fetch_add(usize::from(explains), Relaxed);
            for score in ["priority", "health"]
                .iter()
                .filter(|score| asked.wants_score(score))
            {
                let (row, value) = Self::row(kind, number, score, explains);
                texts
                    .iter_mut()
                    .zip(row)
                    .for_each(|(column, text)| column.push(text));
                values.push(value);
            }
        }
        let rows = values.len();
        let mut columns: Vec<ArrayRef> = texts
            .into_iter()
            .map(|column| Arc::new(StringViewArray::from_iter(column)) as ArrayRef)
            .collect();
        columns.insert(7, Arc::new(Float64Array::from(values)));
        columns.push(Arc::new(TimestampMicrosecondArray::from(vec![at.micros(); rows])));
        Ok(vec![
            RecordBatch::try_new(scores_table(), columns).expect("the schema's columns"),
        ])
    }

    async fn scores(
        &self,
        _: &str,
        _: EntityKind,
        _: &str,
        _: Timestamp,
        _: Knowledge,
    ) -> Result<EntityScores, Failure> {
        nothing()
    }

    async fn explain(
        &self,
        _: &str,
        _: EntityKind,
        _: &str,
        _: Timestamp,
        _: Knowledge,
    ) -> Result<EntityScores, Failure> {
        nothing()
    }

    async fn explain_change(
        &self,
        _: &str,
        _: EntityKind,
        _: &str,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Vec<ChangeExplanation>, Failure> {
        nothing()
    }

    async fn objects(
        &self,
        _: &str,
        _: EntityKind,
        _: Option<&[String]>,
        _: Knowledge,
    ) -> Result<Vec<Value>, Failure> {
        nothing()
    }

    async fn alerts(
        &self,
        _: &str,
        _: Option<&[String]>,
        _: Timestamp,
        _: Knowledge,
    ) -> Result<Vec<Alert>, Failure> {
        nothing()
    }

    async fn duplicates(&self, _: &str, _: Knowledge) -> Result<Vec<DuplicateAccounts>, Failure> {
        nothing()
    }

    async fn text_signals(&self, _: &str, _: Timestamp, _: Knowledge) -> Result<Vec<TextSignal>, Failure> {
        nothing()
    }

    async fn keys(&self, _: &str, _: EntityKind, _: &str, _: Knowledge) -> Result<Vec<String>, Failure> {
        nothing()
    }
}

fn deals() -> MemTable {
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let schema = Arc::new(Schema::new(vec![
        text("deal_id"),
        text("name"),
        Field::new("amount", DataType::Float64, true),
    ]));
    let numbers: Vec<usize> = (0..ENTITIES).step_by(2).collect();
    let text = |of: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(
            numbers.iter().map(|number| of(*number)),
        ))
    };
    let columns: Vec<ArrayRef> = vec![
        text(&|number| format!("d{number}")),
        text(&|number| format!("Deal {number}")),
        Arc::new(Float64Array::from_iter_values(
            numbers.iter().map(|number| (number % 321) as f64),
        )),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns");
    MemTable::try_new(schema, vec![vec![batch]]).expect("a table")
}

fn session(with_rule: bool) -> (SessionContext, Arc<Many>) {
    let many = Arc::new(Many::default());
    let mut builder = SessionStateBuilder::new().with_default_features().with_config(
        SessionConfig::new()
            .with_target_partitions(2)
            .with_batch_size(512),
    );
    if with_rule {
        builder = builder.with_optimizer_rules(rules());
    }
    let mut state = builder.build();
    datafusion_functions_json::register_all(&mut state).expect("functions");
    let context = SessionContext::new_with_state(state);
    let scores = ScoreTable {
        scores: Arc::<Many>::clone(&many),
        tenant_id: "acme".into(),
        at: Timestamp(1_770_000_000_000_000),
        knowledge: Knowledge::Now,
    };
    let walled = TenantTable::try_new("scores", Sight::whole("acme"), Arc::new(scores)).expect("walled");
    context
        .register_table("scores", Arc::new(walled))
        .expect("registered");
    context
        .register_table("deals", Arc::new(deals()))
        .expect("registered");
    (context, many)
}

async fn answer(with_rule: bool, sql: &str) -> (String, usize) {
    let (context, many) = session(with_rule);
    let frame = context
        .sql(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame
        .collect()
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert!(rows > 0, "{sql} gives nothing");
    let printed = pretty_format_batches(&batches).expect("prints").to_string();
    (printed, many.explained.load(Relaxed))
}

/// Queries, and how many entities may be explained for each.
const FEW: &[(&str, usize)] = &[
    (
        "SELECT entity_id, name, value, reasons FROM scores WHERE entity_kind = 'contact' AND score = 'priority' \
         AND value IS NOT NULL ORDER BY value DESC, entity_id LIMIT 7",
        7 + 64,
    ),
    // A key that is made of what is dear: those equal by value are explained.
    (
        "SELECT entity_id, reasons FROM scores WHERE entity_kind = 'contact' AND score = 'priority' \
         ORDER BY value DESC NULLS LAST, json_get_float(facts, 'engagement') DESC, entity_id LIMIT 50",
        50 + 64 + 10,
    ),
    (
        "SELECT entity_id, reasons FROM scores WHERE score = 'priority' ORDER BY value DESC NULLS LAST, entity_kind, entity_id \
         LIMIT 5 OFFSET 40",
        // Ids are asked of all three kinds.
        3 * (45 + 64),
    ),
    (
        "SELECT * FROM (SELECT entity_id AS id, upper(reasons) AS why, value * 2 AS twice FROM scores s \
         WHERE entity_kind = 'deal' AND score = 'health') AS told ORDER BY twice DESC NULLS LAST, id DESC LIMIT 12",
        12 + 64,
    ),
    (
        "SELECT d.deal_id, d.name, d.amount, s.value, s.reasons FROM deals d JOIN scores s ON s.entity_id = d.deal_id \
         AND s.entity_kind = 'deal' AND s.score = 'health' WHERE s.tier IN ('A', 'B') \
         ORDER BY d.amount DESC NULLS LAST, d.deal_id LIMIT 30",
        30 + 64,
    ),
    (
        "SELECT s.entity_id, s.reasons, d.name FROM scores s LEFT JOIN deals d ON d.deal_id = s.entity_id \
         WHERE s.entity_kind = 'deal' AND s.score = 'health' ORDER BY s.value NULLS LAST, s.entity_id LIMIT 9",
        9 + 64,
    ),
    (
        "SELECT entity_id, name FROM scores WHERE entity_kind = 'deal' AND score = 'health' AND EXISTS \
         (SELECT 1 FROM deals d WHERE d.deal_id = scores.entity_id AND d.amount > 100) \
         ORDER BY value DESC NULLS LAST, entity_id LIMIT 9",
        9 + 64,
    ),
    (
        "SELECT a.entity_id, a.reasons, b.reasons AS other FROM scores a JOIN scores b ON a.entity_id = b.entity_id \
         AND a.entity_kind = 'contact' AND b.entity_kind = 'contact' AND a.score = 'priority' AND b.score = 'health' \
         ORDER BY a.value DESC NULLS LAST, b.value DESC NULLS LAST, a.entity_id LIMIT 11",
        // The other read of scores is confined as well, or explained whole.
        ENTITIES + 11 + 64,
    ),
];

/// Queries of which nothing is left out.
const ALL: &[&str] = &[
    // What is dear decides.
    "SELECT entity_id, reasons FROM scores WHERE entity_kind = 'contact' AND score = 'priority' AND name LIKE '%7' \
     ORDER BY value DESC NULLS LAST, entity_id LIMIT 7",
    "SELECT entity_id, reasons FROM scores WHERE entity_kind = 'contact' AND score = 'priority' \
     ORDER BY reasons, entity_id LIMIT 7",
    // Rows of scores do not stand for themselves.
    "SELECT name, count(*) AS n, max(reasons) AS r FROM scores WHERE entity_kind = 'contact' GROUP BY name \
     ORDER BY n DESC, name LIMIT 5",
    "SELECT d.deal_id, s.reasons FROM deals d LEFT JOIN scores s ON s.entity_id = d.deal_id AND s.entity_kind = 'deal' \
     AND s.score = 'health' AND s.value > 50 ORDER BY d.amount DESC, s.value DESC NULLS LAST, d.deal_id LIMIT 20",
    // So many equals that looking them up would be slower than reading all.
    "SELECT entity_id, reasons FROM scores WHERE entity_kind IN ('contact', 'deal') AND score = 'priority' \
     ORDER BY value DESC NULLS FIRST, reasons, entity_id LIMIT 3",
];

#[tokio::test]
async fn the_first_rows_are_the_same_and_few_are_explained_for_them() {
    for (sql, most) in FEW {
        let (plain, all) = answer(false, sql).await;
        let (chosen, some) = answer(true, sql).await;
        assert_eq!(plain, chosen, "{sql}");
        assert!(
            all > *most || *most > ENTITIES,
            "{sql}: {all} explained without the rule"
        );
        assert!(some > 0 && some <= *most, "{sql}: {some} explained, not {most}");
    }
}

#[tokio::test]
async fn where_it_cannot_choose_the_answer_stays_the_same() {
    for sql in ALL {
        let (plain, chosen) = (answer(false, sql).await.0, answer(true, sql).await.0);
        assert_eq!(plain, chosen, "{sql}");
    }
}

#[tokio::test]
async fn a_plan_tells_that_it_chooses() {
    for (sql, chooses) in [(FEW[0].0, true), (ALL[0], false)] {
        let (plan, explained) = answer(true, &format!("EXPLAIN {sql}")).await;
        assert_eq!(plan.contains("ChosenScan: "), chooses, "{plan}");
        assert_eq!(explained, 0, "planning explains nobody");
    }
}
