//! The kept rows of one kind of one tenant, by column, and the parts of an answer that come from them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
};
use hashbrown::{HashMap, HashSet};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{Alert, EntityKind, RecordChanges, ScoreRows, scores_table},
};

use super::{Scored, Touch};

/// Number of a text; 0 is none.
type TextId = u32;

/// Texts by number: owners, accounts, tiers, reasons for no score, definitions.
#[derive(Debug)]
struct Texts {
    ids: HashMap<Arc<str>, TextId>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn new() -> Self {
        let none: Arc<str> = "".into();
        Self {
            ids: HashMap::new(),
            texts: vec![none],
        }
    }

    fn id(&mut self, text: Option<&str>) -> TextId {
        let Some(text) = text else { return 0 };
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.texts.len() as TextId;
        let text: Arc<str> = text.into();
        self.ids.insert(Arc::clone(&text), id);
        self.texts.push(text);
        id
    }

    fn text(&self, id: TextId) -> Option<&str> {
        (id != 0).then(|| &*self.texts[id as usize])
    }
}

/// What is kept of an entity beside its scores.
#[derive(Debug)]
struct Row {
    id: Arc<str>,
    /// Revision at which something of its scores was last touched, and of its record.
    touched: u64,
    changed: u64,
    /// Revision after which the facts of its row were read; 0 before the first.
    scored: u64,
    at: Timestamp,
    account: TextId,
    owner: TextId,
    alive: bool,
}

/// One score of one entity.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// NaN when unscored.
    value: f64,
    tier: TextId,
    why: TextId,
    /// 0 when the entity has no such score.
    definition: TextId,
}

/// Rows of one kind of one tenant. About 200 bytes an entity.
#[derive(Debug)]
pub(crate) struct Rows {
    kind: EntityKind,
    revision: u64,
    /// Rows of facts read before then are to be made again.
    renewed: u64,
    /// Records have to be read again by who read them before then.
    changed: u64,
    slots: HashMap<Arc<str>, u32>,
    rows: Vec<Row>,
    /// Names of scores in the order they are told, and the cells of each, row by row.
    scores: Vec<(Arc<str>, Vec<Cell>)>,
    texts: Texts,
    alerts: HashMap<u32, Box<[Alert]>>,
    /// Every entity has had its first row.
    complete: bool,
}

/// Which rows are to be made again.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// Touched since they were made.
    pub(crate) touched: Vec<Arc<str>>,
    /// Old, or made before something they all depend on became another; the oldest first.
    pub(crate) aged: Vec<Arc<str>>,
}

/// Rows of an answer's batch.
const CHUNK: usize = 8_192;

impl Rows {
    pub(super) fn new(kind: EntityKind, now: Timestamp) -> Self {
        // Revisions of another process or of a table that was dropped are in the past of this one.
        let revision = now.micros().max(1) as u64;
        Self {
            kind,
            revision,
            renewed: revision,
            changed: revision,
            slots: HashMap::new(),
            rows: Vec::new(),
            scores: Vec::new(),
            texts: Texts::new(),
            alerts: HashMap::new(),
            complete: false,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn touch(&mut self, id: &Arc<str>, what: Touch) {
        self.revision += 1;
        let slot = self.slot(id);
        let row = &mut self.rows[slot as usize];
        row.touched = self.revision;
        row.alive = true;
        if what == Touch::Record {
            row.changed = self.revision;
        }
    }

    pub(super) fn renew_all(&mut self) {
        self.revision += 1;
        self.renewed = self.revision;
    }

    pub(super) fn change_all(&mut self) {
        self.renew_all();
        self.changed = self.revision;
    }

    fn slot(&mut self, id: &Arc<str>) -> u32 {
        if let Some(slot) = self.slots.get(id) {
            return *slot;
        }
        let slot = self.rows.len() as u32;
        self.slots.insert(Arc::clone(id), slot);
        self.rows.push(Row {
            id: Arc::clone(id),
            touched: self.revision,
            changed: self.revision,
            scored: 0,
            at: Timestamp(i64::MIN),
            account: 0,
            owner: 0,
            alive: true,
        });
        for (_, cells) in &mut self.scores {
            cells.push(Cell::default());
        }
        slot
    }

    /// Takes a row, unless a later one is there. One without scores says that the entity is gone.
    pub(super) fn put(&mut self, revision: u64, at: Timestamp, new: Scored) {
        let slot = self.slot(&new.id);
        let (account, owner) = (
            self.texts.id(new.account_id.as_deref()),
            self.texts.id(new.owner_id.as_deref()),
        );
        let row = &mut self.rows[slot as usize];
        if (row.scored, row.at) > (revision, at) {
            return;
        }
        (row.scored, row.at, row.account, row.owner) = (revision, at, account, owner);
        row.alive = !new.scores.is_empty();
        if new.alerts.is_empty() {
            self.alerts.remove(&slot);
        } else {
            self.alerts.insert(slot, new.alerts.into());
        }
        for (_, cells) in &mut self.scores {
            cells[slot as usize] = Cell::default();
        }
        for score in new.scores {
            let cell = Cell {
                value: score.value.unwrap_or(f64::NAN),
                tier: self.texts.id(score.tier.as_deref()),
                why: self.texts.id(score.unscored_because.as_deref()),
                definition: self.texts.id(Some(&score.definition)),
            };
            let place = self.scores.iter().position(|(name, _)| **name == *score.name);
            let place = place.unwrap_or_else(|| {
                let cells = vec![Cell::default(); self.rows.len()];
                self.scores.push((score.name.as_str().into(), cells));
                self.scores.len() - 1
            });
            self.scores[place].1[slot as usize] = cell;
        }
    }

    /// Rows to be made again: touched ones, and those as of before an instant. `at_most` bounds each list; the first one
    /// says by being longer than that there are more.
    pub(crate) fn stale(&self, before: Timestamp, at_most: usize) -> Stale {
        let mut stale = Stale::default();
        let mut aged: Vec<(Timestamp, u32)> = Vec::new();
        for (slot, row) in self.rows.iter().enumerate().filter(|(_, row)| row.alive) {
            if row.scored < row.touched {
                stale.touched.push(Arc::clone(&row.id));
                if stale.touched.len() > at_most {
                    return stale;
                }
            } else if row.scored < self.renewed || row.at < before {
                aged.push((row.at, slot as u32));
            }
        }
        if aged.len() > at_most && at_most > 0 {
            aged.select_nth_unstable(at_most);
            // One more than asked for, as with the touched.
            aged.truncate(at_most + 1);
        }
        stale.aged = aged
            .into_iter()
            .map(|(_, slot)| Arc::clone(&self.rows[slot as usize].id))
            .collect();
        stale
    }

    /// Notes that every entity has had its first row, when that is so.
    pub(super) fn complete_when_done(&mut self) {
        self.complete |= self.rows.iter().all(|row| row.scored > 0 || !row.alive);
    }

    /// Entities that have had no row yet, and all.
    pub(super) fn missing(&self) -> (usize, usize) {
        let living = || self.rows.iter().filter(|row| row.alive);
        (living().filter(|row| row.scored == 0).count(), living().count())
    }

    pub(super) fn changed_since(&self, revision: u64) -> RecordChanges {
        let whole = revision < self.changed;
        let rows = self.rows.iter();
        let changed = rows.filter(|row| if whole { row.alive } else { row.changed > revision });
        RecordChanges {
            revision: self.revision,
            ids: changed.map(|row| row.id.to_string()).collect(),
            whole,
        }
    }

    /// Alerts of some or all entities.
    pub(crate) fn alerts(&self, ids: Option<&[Arc<str>]>) -> Vec<Alert> {
        let wanted: Option<HashSet<&str>> = ids.map(|ids| ids.iter().map(|id| &**id).collect());
        let of = self.alerts.iter().filter(|(slot, _)| {
            let row = &self.rows[**slot as usize];
            row.alive && wanted.as_ref().is_none_or(|wanted| wanted.contains(&*row.id))
        });
        of.flat_map(|(_, alerts)| alerts.iter().cloned()).collect()
    }

    /// How many places there are; [`Self::batches`] answers for a range of them.
    pub(crate) fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let count = self.rows.len();
        (0..count)
            .step_by(CHUNK)
            .map(move |from| from..count.min(from + CHUNK))
    }

    /// Rows of [`scores_table`] of a range of places: one batch a score. Names and explanations are not kept and empty.
    ///
    /// # Errors
    /// None that the schema does not cause.
    pub(crate) fn batches(
        &self,
        tenant_id: &str,
        asked: &ScoreRows,
        places: std::ops::Range<usize>,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let places = places.start.min(self.rows.len())..places.end.min(self.rows.len());
        let scores = self.scores.iter().filter(|(name, _)| asked.wants_score(name));
        scores
            .map(|(name, cells)| self.batch(tenant_id, asked, (name, cells), places.clone()))
            .collect()
    }

    fn batch(
        &self,
        tenant_id: &str,
        asked: &ScoreRows,
        (score, cells): (&str, &[Cell]),
        places: std::ops::Range<usize>,
    ) -> Result<RecordBatch, Failure> {
        let told: Vec<(&Row, &Cell)> = self.rows[places.clone()]
            .iter()
            .zip(&cells[places])
            .filter(|(row, cell)| row.alive && row.scored > 0 && cell.definition != 0)
            .collect();
        let rows = told.len();
        let constant = |text: &str| -> ArrayRef {
            let mut builder = StringViewBuilder::with_capacity(rows);
            (0..rows).for_each(|_| builder.append_value(text));
            Arc::new(builder.finish())
        };
        let empty = constant("");
        let texts = |of: fn(&Row, &Cell) -> TextId| -> ArrayRef {
            let texts = told.iter().map(|(row, cell)| self.texts.text(of(row, cell)));
            Arc::new(texts.collect::<StringViewArray>())
        };
        let columns = scores_table()
            .fields()
            .iter()
            .map(|field| -> ArrayRef {
                match field.name().as_str() {
                    "value" => {
                        let mut values = Float64Builder::with_capacity(rows);
                        told.iter().for_each(|(_, cell)| {
                            values.append_option((!cell.value.is_nan()).then_some(cell.value));
                        });
                        Arc::new(values.finish())
                    }
                    "as_of" => {
                        let times = told.iter().map(|(row, _)| row.at.micros());
                        Arc::new(TimestampMicrosecondArray::from_iter_values(times))
                    }
                    name if !asked.reads(name) => Arc::clone(&empty),
                    "tenant_id" => constant(tenant_id),
                    "entity_kind" => constant(self.kind.as_str()),
                    "score" => constant(score),
                    "entity_id" => {
                        let ids = told.iter().map(|(row, _)| Some(&*row.id));
                        Arc::new(ids.collect::<StringViewArray>())
                    }
                    "account_id" => texts(|row, _| row.account),
                    "owner_id" => texts(|row, _| row.owner),
                    "tier" => texts(|_, cell| cell.tier),
                    "unscored_because" => texts(|_, cell| cell.why),
                    "definition" => texts(|_, cell| cell.definition),
                    _ => Arc::clone(&empty),
                }
            })
            .collect();
        RecordBatch::try_new(scores_table(), columns).map_err(|error| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot lay out kept rows of scores: {error}"),
            )
        })
    }
}
