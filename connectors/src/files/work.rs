//! The work of an import on its own thread: read, convert, judge, and hand on in bounded pieces.

use std::{borrow::Cow, collections::BTreeMap};

use arrow::array::RecordBatch;
use base64::Engine as _;
use revgauge_contract::{
    event::{EventDraft, Reception, Refusal},
    intake::DeadLetter,
    schema::EventBatchBuilder,
};

use super::{
    columnar::Columnar,
    convert::{Surroundings, Table, draft_id},
    error::ImportError,
    import::{ImportSettings, Problem},
    input::{Input, Opener},
    lookup::Lookups,
    mapping::Format,
    native::NativeRows,
    pattern::{matches, wild},
    plan::Plan,
    read::{ReadAs, each_batch, read},
    rows::{Flow, Header, Raw, RowVisitor, Slot, bind, plain_name},
};

/// What one delivery holds; counts are since the last one.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) file: String,
    pub(crate) file_ended: bool,
    pub(crate) events: Option<RecordBatch>,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) rows: u64,
    pub(crate) accepted: u64,
    pub(crate) skipped: u64,
    pub(crate) by_type: BTreeMap<String, u64>,
    pub(crate) refused_by: BTreeMap<String, u64>,
}

/// Gathers judged rows and delivers them when a batch is full.
pub(crate) struct Collector<'a> {
    reception: &'a Reception,
    settings: &'a ImportSettings,
    deliver: &'a mut dyn FnMut(Piece) -> Result<(), ImportError>,
    builder: EventBatchBuilder,
    payload_bytes: usize,
    piece: Piece,
    problems_left: usize,
}

/// A batch is also handed on when its payloads reach this size, so that long rows do not add up.
const BATCH_PAYLOAD_BYTES: usize = 16 << 20;

impl<'a> Collector<'a> {
    fn new(
        reception: &'a Reception,
        settings: &'a ImportSettings,
        deliver: &'a mut dyn FnMut(Piece) -> Result<(), ImportError>,
    ) -> Self {
        Self {
            reception,
            settings,
            deliver,
            builder: EventBatchBuilder::default(),
            payload_bytes: 0,
            piece: Piece::default(),
            problems_left: settings.max_problems,
        }
    }

    pub(crate) fn reception(&self) -> &'a Reception {
        self.reception
    }

    pub(crate) fn count_row(&mut self) {
        self.piece.rows += 1;
    }

    pub(crate) fn count_skipped(&mut self) {
        self.piece.skipped += 1;
    }

    /// Judges a draft. `column` tells the column of an envelope field, `body` the row for the dead letters.
    pub(crate) fn accept(
        &mut self,
        mut draft: EventDraft,
        file: &str,
        line: u64,
        column: &dyn Fn(&str) -> Option<String>,
        body: &dyn Fn() -> String,
    ) -> Result<(), ImportError> {
        if draft.event_id.is_none() && draft.event_time.is_none() {
            // Without a time of its own the event gets its receipt time; the id must not follow it.
            draft.event_id = Some(draft_id(&draft));
        }
        match draft.accept(self.reception) {
            Ok(event) => {
                self.payload_bytes += event.payload.len();
                self.count_type(&event.event_type, 1);
                self.builder.append(&event);
                let full = self.builder.len() >= self.settings.batch_rows
                    || self.payload_bytes >= BATCH_PAYLOAD_BYTES;
                if full { self.flush(file, false) } else { Ok(()) }
            }
            Err(refusal) => {
                let at = refusal
                    .field
                    .as_deref()
                    .map(|field| column(field).unwrap_or_else(|| field.to_owned()));
                self.refuse(file, line, at, refusal, body().as_bytes())
            }
        }
    }

    /// Takes a ready batch of the events schema with its counts.
    pub(crate) fn batch(
        &mut self,
        file: &str,
        events: RecordBatch,
        by_type: impl Iterator<Item = (String, u64)>,
    ) -> Result<(), ImportError> {
        self.flush(file, false)?;
        for (event_type, count) in by_type {
            self.count_type(&event_type, count);
        }
        self.piece.events = Some(events);
        self.hand_on(file, false)
    }

    fn count_type(&mut self, event_type: &str, count: u64) {
        self.piece.accepted += count;
        match self.piece.by_type.get_mut(event_type) {
            Some(total) => *total += count,
            None => {
                self.piece.by_type.insert(event_type.to_owned(), count);
            }
        }
    }

    pub(crate) fn refuse(
        &mut self,
        file: &str,
        line: u64,
        column: Option<String>,
        refusal: Refusal,
        body: &[u8],
    ) -> Result<(), ImportError> {
        *self.piece.refused_by.entry(refusal.code.clone()).or_default() += 1;
        if self.problems_left > 0 {
            self.problems_left -= 1;
            self.piece.problems.push(Problem {
                file: file.to_owned(),
                line,
                column,
                code: refusal.code.clone(),
                message: refusal.message.clone(),
            });
        }
        let (text, is_base64) = match std::str::from_utf8(body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (base64::engine::general_purpose::STANDARD.encode(body), true),
        };
        self.piece.letters.push(DeadLetter {
            tenant_id: self.reception.tenant_id.as_ref().to_owned(),
            refused_at: self.reception.received_at,
            source: format!("import:{file}:{line}"),
            refusal,
            body: text,
            body_is_base64: is_base64,
        });
        if self.piece.letters.len() >= self.settings.batch_rows {
            self.flush(file, false)
        } else {
            Ok(())
        }
    }

    /// Delivers what is gathered.
    pub(crate) fn flush(&mut self, file: &str, file_ended: bool) -> Result<(), ImportError> {
        if !self.builder.is_empty() {
            self.piece.events = Some(self.builder.finish());
            self.payload_bytes = 0;
        }
        let idle = self.piece.events.is_none() && self.piece.letters.is_empty() && self.piece.rows == 0;
        if idle && !file_ended {
            Ok(())
        } else {
            self.hand_on(file, file_ended)
        }
    }

    fn hand_on(&mut self, file: &str, file_ended: bool) -> Result<(), ImportError> {
        let mut piece = std::mem::take(&mut self.piece);
        file.clone_into(&mut piece.file);
        piece.file_ended = file_ended;
        (self.deliver)(piece)
    }
}

/// Which tables read which file, in the mapping's order.
pub(crate) fn assign<'p>(plan: &'p Plan, inputs: &[Input]) -> Vec<(Input, Vec<&'p Table>)> {
    if plan.is_native() {
        return inputs.iter().map(|input| (input.clone(), Vec::new())).collect();
    }
    let mut assigned: Vec<(usize, Input, Vec<&Table>)> = inputs
        .iter()
        .filter_map(|input| {
            let named = |table: &&Table| table.patterns.iter().any(|pattern| matches(pattern, &input.name));
            let tables: Vec<&Table> = plan.tables().iter().filter(named).collect();
            let first = tables.first()?.line;
            Some((first, input.clone(), tables))
        })
        .collect();
    assigned.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    assigned
        .into_iter()
        .map(|(_, input, tables)| (input, tables))
        .collect()
}

/// Does the whole import, delivering pieces as they fill.
pub(crate) fn work(
    plan: &Plan,
    inputs: &[Input],
    reception: &Reception,
    settings: &ImportSettings,
    opener: &Opener,
    deliver: &mut dyn FnMut(Piece) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let lookups = Lookups::load(plan.lookups(), inputs, opener, settings)?;
    // Lookup files are counted when their own rows are read.
    opener.done.store(0, std::sync::atomic::Ordering::Relaxed);
    let mut out = Collector::new(reception, settings, deliver);
    for (input, tables) in assign(plan, inputs) {
        let file = input.name.as_str();
        let format = Format::of(file);
        match tables.first() {
            None if matches!(format, Format::Parquet | Format::Arrow) => {
                let mut columnar = Columnar::new(file);
                each_batch(&input, format, opener, settings, &mut |batch| {
                    columnar.take(batch, &mut out)?;
                    Ok(Flow::Continue)
                })?;
            }
            None => {
                let read_as = ReadAs {
                    format,
                    delimiter: None,
                    header: None,
                };
                let mut visitor = NativeRows {
                    file,
                    names: Vec::new(),
                    out: &mut out,
                };
                read(&input, &read_as, opener, settings, &mut visitor)?;
            }
            Some(first) => {
                let read_as = ReadAs {
                    format: first.format.unwrap_or(format),
                    delimiter: first.delimiter,
                    header: first.header.clone(),
                };
                let around = Surroundings {
                    lookups: &lookups,
                    received_at: reception.received_at,
                };
                let mut visitor = MappedRows {
                    file,
                    names: Vec::new(),
                    tables,
                    bound: Vec::new(),
                    around,
                    out: &mut out,
                };
                read(&input, &read_as, opener, settings, &mut visitor)?;
            }
        }
        out.flush(file, true)?;
    }
    Ok(())
}

/// Takes rows through the tables of a mapping.
struct MappedRows<'a, 'c> {
    file: &'a str,
    names: Vec<String>,
    tables: Vec<&'a Table>,
    bound: Vec<Bound<'a>>,
    around: Surroundings<'a>,
    out: &'a mut Collector<'c>,
}

/// A table with its columns found in the file at hand.
struct Bound<'a> {
    table: &'a Table,
    slots: Vec<Slot>,
    rest: Vec<(String, Slot)>,
}

impl RowVisitor for MappedRows<'_, '_> {
    fn header(&mut self, header: &Header<'_>) -> Result<(), ImportError> {
        if let Header::Named(names) = header {
            self.names = names.to_vec();
        }
        for table in &self.tables {
            let slots = bind(header, &table.columns, &table.needed, self.file, table.line)?;
            let rest = self
                .names
                .iter()
                .enumerate()
                .filter(|(at, _)| !slots.contains(&Slot::At(*at)))
                .filter_map(|(at, name)| Some((kept_name(table, name)?, Slot::At(at))))
                .collect();
            self.bound.push(Bound { table, slots, rest });
        }
        Ok(())
    }

    fn row(&mut self, line: u64, raw: &Raw<'_>) -> Result<Flow, ImportError> {
        self.out.count_row();
        let mut events = 0;
        for bound in &self.bound {
            events += bound.emit(line, raw, self.file, &self.names, self.around, self.out)?;
        }
        if events == 0 {
            self.out.count_skipped();
        }
        Ok(Flow::Continue)
    }

    fn bad(
        &mut self,
        line: u64,
        column: Option<String>,
        message: String,
        body: &[u8],
    ) -> Result<Flow, ImportError> {
        self.out.count_row();
        self.out.refuse(
            self.file,
            line,
            column,
            Refusal::whole("unreadable_row", message),
            body,
        )?;
        Ok(Flow::Continue)
    }
}

impl Bound<'_> {
    /// Gives the number of events and refusals that the row made.
    fn emit(
        &self,
        line: u64,
        raw: &Raw<'_>,
        file: &str,
        names: &[String],
        around: Surroundings<'_>,
        out: &mut Collector<'_>,
    ) -> Result<usize, ImportError> {
        let mut cells: Vec<Option<Cow<'_, str>>> =
            self.slots.iter().map(|slot| raw.cell(slot, line, file)).collect();
        let Some(each) = &self.table.each else {
            return self.emit_one(line, raw, file, names, &cells, around, out);
        };
        let key = each
            .columns
            .iter()
            .find_map(|column| cells[*column].clone())
            .map(Cow::into_owned);
        let mut events = 0;
        for values in around.lookups.expand(each, key.as_deref()) {
            for (fill, value) in each.fills.iter().zip(values) {
                cells[*fill] = value.map(|value| Cow::Owned(value.into_owned()));
            }
            events += self.emit_one(line, raw, file, names, &cells, around, out)?;
        }
        Ok(events)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the row and where it goes, nothing of it outlives the call"
    )]
    fn emit_one(
        &self,
        line: u64,
        raw: &Raw<'_>,
        file: &str,
        names: &[String],
        cells: &[Option<Cow<'_, str>>],
        around: Surroundings<'_>,
        out: &mut Collector<'_>,
    ) -> Result<usize, ImportError> {
        let rest = if self.table.rest.is_some() {
            self.kept(raw)
        } else {
            Vec::new()
        };
        match self.table.draft(cells, rest, around) {
            Ok(None) => return Ok(0),
            Ok(Some(draft)) => {
                let column = |field: &str| self.table.column_of(field);
                out.accept(draft, file, line, &column, &|| raw.body(names))?;
            }
            Err(fault) => {
                let refusal = Refusal {
                    code: fault.code.to_owned(),
                    field: fault.column.clone(),
                    message: fault.message,
                };
                out.refuse(file, line, fault.column, refusal, raw.body(names).as_bytes())?;
            }
        }
        Ok(1)
    }

    fn kept(&self, raw: &Raw<'_>) -> Vec<(String, String)> {
        if let Raw::Json(object) = raw {
            let used: Vec<String> = self.table.columns.iter().map(|name| plain_name(name)).collect();
            return object
                .keys()
                .filter(|key| !used.contains(&plain_name(key)))
                .filter_map(|key| {
                    let cell = raw.cell(&Slot::Named(key.clone()), 0, "")?;
                    Some((kept_name(self.table, key)?, cell.into_owned()))
                })
                .collect();
        }
        self.rest
            .iter()
            .filter_map(|(name, slot)| Some((name.clone(), raw.cell(slot, 0, "")?.into_owned())))
            .collect()
    }
}

/// The payload name of a column that no field names, if the table keeps it.
fn kept_name(table: &Table, name: &str) -> Option<String> {
    let rest = table.rest.as_ref()?;
    let excepted = rest
        .except
        .iter()
        .any(|pattern| wild(pattern.as_bytes(), name.as_bytes()));
    let in_scope = rest
        .only_prefix
        .as_ref()
        .is_none_or(|prefix| name.starts_with(prefix.as_str()));
    if excepted || !in_scope || name.is_empty() {
        return None;
    }
    let prefix = rest.strip_prefix.as_deref().unwrap_or_default();
    Some(name.strip_prefix(prefix).unwrap_or(name).to_owned())
}
