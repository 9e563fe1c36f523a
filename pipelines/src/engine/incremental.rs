//! A micro-batch through one pipeline: below, merge into state, compact a slice; and rows out of the state.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take_arrays,
    datatypes::{Field, FieldRef, Schema, SchemaRef},
};
use datafusion::{
    error::{DataFusionError, Result as DfResult},
    logical_expr::EmitTo,
};
use parking_lot::{Mutex, RwLock};
use revgauge_contract::Position;

use super::{
    keys::{KeyScratch, Keys},
    log::{CHUNK_ROWS, Chunks, Place, gather, gather_some, stored, stored_type},
    spill::SpillFolder,
    state::{State, StateStatistics},
};
use crate::{
    error::PipelineError,
    plan::{Aggregate, Aggregation, CutPlan, Stage, cast_to, evaluate, normalised},
};

/// Group and argument columns of a micro-batch, ready to be aggregated.
struct Prepared {
    groups: Vec<ArrayRef>,
    args: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

#[derive(Debug, Default)]
struct Scratch {
    keys: KeyScratch,
    local: Vec<usize>,
    touched: Vec<u32>,
    first_rows: Vec<u32>,
}

/// Changed or all groups at one instant; encoding it later does not stop the engine, since chunks never change.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) groups: Vec<u32>,
    places: Vec<Place>,
    chunks: Chunks,
}

impl Captured {
    /// Puts the groups in the order of their places, so that spilled chunks are read once and in order.
    pub(crate) fn in_place_order(self) -> Self {
        let mut pairs: Vec<(Place, u32)> = self.places.into_iter().zip(self.groups).collect();
        pairs.sort_unstable_by_key(|(place, _)| (place.chunk, place.row));
        let (places, groups) = pairs.into_iter().unzip();
        Self {
            groups,
            places,
            chunks: self.chunks,
        }
    }
}

/// The whole state of a pipeline at one instant.
#[derive(Debug)]
pub(crate) struct View {
    places: Vec<Place>,
    chunks: Chunks,
}

impl View {
    /// Whether the group had state then.
    pub(crate) fn holds(&self, group: u32) -> bool {
        self.places
            .get(group as usize)
            .is_some_and(|place| *place != Place::NONE)
    }

    /// Groups that had state then.
    pub(crate) fn groups(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.places.len() as u32).filter(|group| self.holds(*group))
    }
}

/// One pipeline with its live state.
#[derive(Debug)]
pub(crate) struct Engine {
    plan: CutPlan,
    aggregation: Aggregation,
    state_fields: Vec<FieldRef>,
    stored_fields: Vec<FieldRef>,
    state: RwLock<State>,
    scratch: Mutex<Scratch>,
    position: AtomicU64,
    version: AtomicU64,
    broken: Mutex<Option<String>>,
    spill: Arc<SpillFolder>,
}

impl Engine {
    /// An empty engine; `None` when the pipeline aggregates nothing (it keeps no state).
    pub(crate) fn new(plan: CutPlan, spill: Arc<SpillFolder>) -> Option<Self> {
        let aggregation = plan.aggregation.clone()?;
        let state_fields: Vec<FieldRef> = aggregation
            .aggregates
            .iter()
            .flat_map(|aggregate| aggregate.state.iter().cloned())
            .collect();
        let stored_fields = state_fields
            .iter()
            .map(|field| {
                Arc::new(
                    field
                        .as_ref()
                        .clone()
                        .with_data_type(stored_type(field.data_type())),
                )
            })
            .collect();
        let keys = Keys::new(&aggregation.group_fields, aggregation.tenant, aggregation.key);
        Some(Self {
            plan,
            aggregation,
            state_fields,
            stored_fields,
            state: RwLock::new(State::new(keys)),
            scratch: Mutex::default(),
            position: AtomicU64::new(0),
            version: AtomicU64::new(0),
            broken: Mutex::default(),
            spill,
        })
    }

    pub(crate) const fn plan(&self) -> &CutPlan {
        &self.plan
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    pub(crate) fn set_position(&self, position: Position) {
        self.position.store(position.0, Ordering::Release);
    }

    /// Another number whenever rows may have changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn statistics(&self) -> StateStatistics {
        self.state.read().statistics()
    }

    /// Bytes of accumulator state in memory.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.state.read().log.bytes() as u64
    }

    fn failed(&self, doing: &'static str) -> impl Fn(DataFusionError) -> PipelineError + '_ {
        move |error| PipelineError::query(self.plan.pipeline.name, doing, error)
    }

    /// Applies rows of the source; gives the output rows they changed, each group once, when asked to.
    ///
    /// Everything that can fail because of the data fails before the state is touched.
    pub(crate) fn apply(
        &self,
        rows: &RecordBatch,
        micro_batch_rows: usize,
        report: bool,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        if let Some(message) = self.broken.lock().clone() {
            return Err(PipelineError::Broken {
                pipeline: self.plan.pipeline.name.to_owned(),
                message,
            });
        }
        let mut prepared = Vec::new();
        for start in (0..rows.num_rows()).step_by(micro_batch_rows.max(1)) {
            let slice = rows.slice(start, micro_batch_rows.min(rows.num_rows() - start));
            prepared.extend(self.prepare(&slice).map_err(self.failed("apply a batch to"))?);
        }
        let applied = self.apply_prepared(&prepared, report);
        if let Err(error) = &applied {
            *self.broken.lock() = Some(error.to_string());
        }
        applied
    }

    fn apply_prepared(&self, prepared: &[Prepared], report: bool) -> Result<Vec<RecordBatch>, PipelineError> {
        let mut scratch = self.scratch.lock();
        // One step knows its changed rows; of several only the state knows the last.
        if let [only] = prepared {
            return Ok(self.merge(only, &mut scratch, report)?.into_iter().collect());
        }
        let mut changed = Vec::new();
        for prepared in prepared {
            self.merge(prepared, &mut scratch, false)?;
            if report {
                changed.extend_from_slice(&scratch.touched);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
            .chunks(CHUNK_ROWS)
            .map(|groups| self.rows(groups))
            .collect()
    }

    fn prepare(&self, rows: &RecordBatch) -> DfResult<Option<Prepared>> {
        let mut batch = rows.project(&self.plan.read)?;
        for stage in &self.plan.below {
            batch = stage.run(&batch)?;
        }
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let aggregates = &self.aggregation.aggregates;
        let filters = aggregates.iter().map(|aggregate| {
            let filter = aggregate.filter.as_ref();
            let mask = filter.map(|filter| filter.evaluate(&batch)?.into_array(batch.num_rows()));
            mask.transpose()
                .map(|mask| mask.map(|mask| mask.as_boolean().clone()))
        });
        Ok(Some(Prepared {
            groups: evaluate(&self.aggregation.group, &batch)?,
            args: aggregates
                .iter()
                .map(|aggregate| evaluate(&aggregate.args, &batch))
                .collect::<DfResult<_>>()?,
            filters: filters.collect::<DfResult<_>>()?,
        }))
    }

    fn merge(
        &self,
        prepared: &Prepared,
        scratch: &mut Scratch,
        report: bool,
    ) -> Result<Option<RecordBatch>, PipelineError> {
        let failed = self.failed("apply a batch to");
        let Scratch {
            keys,
            local,
            touched,
            first_rows,
        } = scratch;
        let known = self
            .state
            .write()
            .begin(&prepared.groups, keys, local, touched, first_rows)
            .map_err(&failed)?;
        let old = {
            let state = self.state.read();
            gather(&state.log.chunks, state.pending(known), &self.state_fields)?
        };
        let columns = self
            .accumulate(prepared, local, touched.len(), known, &old)
            .map_err(&failed)?;
        let kept = stored(&columns).map_err(&failed)?;
        {
            let mut state = self.state.write();
            state.commit(touched, kept);
            // While no reader can see the change: who reads the number first and the rows then never takes old for new.
            self.version.fetch_add(1, Ordering::Release);
        }
        self.compact(touched.len())?;
        if !report {
            return Ok(None);
        }
        let first_rows = UInt32Array::from(std::mem::take(first_rows));
        let keys = take_arrays(&prepared.groups, &first_rows, None).map_err(|error| failed(error.into()))?;
        self.evaluate(keys, &columns).map(Some).map_err(&failed)
    }

    fn accumulate(
        &self,
        prepared: &Prepared,
        local: &[usize],
        touched: usize,
        known: usize,
        old: &[ArrayRef],
    ) -> DfResult<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.state_fields.len());
        let mut first = 0;
        let old_groups: Vec<usize> = (0..known).collect();
        for ((aggregate, args), filter) in self
            .aggregation
            .aggregates
            .iter()
            .zip(&prepared.args)
            .zip(&prepared.filters)
        {
            let mut accumulator = aggregate.accumulator()?;
            let states = aggregate.state.len();
            if known > 0 {
                accumulator.merge_batch(&old[first..first + states], &old_groups, known)?;
            }
            accumulator.update_batch(args, local, filter.as_ref(), touched)?;
            columns.extend(accumulator.state(EmitTo::All)?);
            first += states;
        }
        Ok(columns)
    }

    /// One slice of compaction; moves at most as many rows as a chunk holds.
    fn compact(&self, appended: usize) -> Result<(), PipelineError> {
        let (groups, places, age, columns) = {
            let state = self.state.read();
            let (groups, places, age) = state.compactable(appended);
            if groups.is_empty() {
                return Ok(());
            }
            let columns = gather(&state.log.chunks, &places, &self.stored_fields)?;
            (groups, places, age, columns)
        };
        self.state.write().install(groups, &places, columns, age);
        Ok(())
    }

    /// Writes the coldest chunk to disk; says whether there was one.
    pub(crate) fn spill_one(&self) -> Result<bool, PipelineError> {
        // Only the writer moves chunks, and it holds the scratch while it does.
        let _writer = self.scratch.lock();
        let Some((number, chunk)) = self.state.read().log.coldest() else {
            return Ok(false);
        };
        let super::log::Body::Memory(columns) = &chunk.body else {
            return Ok(false);
        };
        let spilled = self.spill.write(columns)?;
        let replacement = super::log::Chunk {
            groups: chunk.groups.clone(),
            body: super::log::Body::Disk(spilled),
            bytes: chunk.groups.len() * size_of::<u32>(),
            age: chunk.age,
        };
        self.state.write().log.replace(number, replacement);
        Ok(true)
    }

    /// Groups of the given entities of a tenant.
    pub(crate) fn groups_of(&self, tenant: &str, keys: &[String]) -> Vec<u32> {
        let state = self.state.read();
        let mut groups = Vec::new();
        for key in keys {
            state.keys.groups_of(tenant, key, &mut groups);
        }
        groups
    }

    /// Groups of a tenant, or of all tenants.
    pub(crate) fn all_groups(&self, tenant: Option<&str>) -> Vec<u32> {
        let state = self.state.read();
        match tenant {
            None => (0..state.keys.len() as u32).collect(),
            Some(tenant) => {
                let mut groups = Vec::new();
                state.keys.groups_of_tenant(tenant, &mut groups);
                groups
            }
        }
    }

    /// Output rows of groups, as they are now.
    pub(crate) fn rows(&self, groups: &[u32]) -> Result<RecordBatch, PipelineError> {
        let failed = self.failed("read the state of");
        let (keys, state) = {
            let state = self.state.read();
            let (groups, places) = state.resolve(groups);
            let keys = state.keys.columns(&groups).map_err(&failed)?;
            (keys, gather(&state.log.chunks, &places, &self.state_fields)?)
        };
        self.evaluate(keys, &state).map_err(&failed)
    }

    /// The named output columns of groups, as they are now. The others cost nothing where the part above the aggregation
    /// only names columns; else they are computed and left out.
    pub(crate) fn columns_of(&self, groups: &[u32], names: &[&str]) -> Result<RecordBatch, PipelineError> {
        let failed = self.failed("read the state of");
        let output = names.iter().map(|name| self.plan.output.index_of(name));
        let output: Vec<usize> = output
            .collect::<Result<_, _>>()
            .map_err(|error| failed(error.into()))?;
        let Some(sources) = self.aggregation.places(names) else {
            let rows = self.rows(groups)?;
            return rows.project(&output).map_err(|error| failed(error.into()));
        };
        let first_value = self.aggregation.group.len();
        let states_of = |value: usize| {
            let first: usize = self.aggregation.aggregates[..value]
                .iter()
                .map(|aggregate| aggregate.state.len())
                .sum();
            first..first + self.aggregation.aggregates[value].state.len()
        };
        let values = sources
            .iter()
            .filter_map(|source| source.checked_sub(first_value));
        let keys = sources.iter().filter(|source| **source < first_value);
        let (rows, keys, states) = {
            let state = self.state.read();
            let (groups, places) = state.resolve(groups);
            let keys = state.keys.some_columns(&groups, keys.copied());
            let wanted = values.flat_map(states_of);
            (
                groups.len(),
                keys.map_err(&failed)?,
                gather_some(&state.log.chunks, &places, &self.state_fields, wanted)?,
            )
        };
        let (mut keys, mut states) = (keys.into_iter(), states.as_slice());
        let columns = sources
            .iter()
            .map(|source| match source.checked_sub(first_value) {
                None => keys
                    .next()
                    .ok_or_else(|| DataFusionError::Internal(format!("group column {source} is missing"))),
                Some(value) => {
                    let aggregate = &self.aggregation.aggregates[value];
                    let (own, rest) = states.split_at(aggregate.state.len());
                    states = rest;
                    value_of(aggregate, own, rows)
                }
            });
        let columns = columns.collect::<DfResult<Vec<_>>>().map_err(&failed)?;
        let schema = Arc::new(
            self.plan
                .output
                .project(&output)
                .map_err(|error| failed(error.into()))?,
        );
        cast_to(columns, rows, &schema).map_err(&failed)
    }

    /// The part above the aggregation over group columns and states.
    fn evaluate(&self, mut columns: Vec<ArrayRef>, state: &[ArrayRef]) -> DfResult<RecordBatch> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut first = 0;
        for aggregate in &self.aggregation.aggregates {
            let states = &state[first..first + aggregate.state.len()];
            first += aggregate.state.len();
            columns.push(value_of(aggregate, states, rows)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.aggregation.schema);
        let mut batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        for stage in &self.aggregation.above {
            batch = Stage::run(stage, &batch)?;
        }
        normalised(&batch, &self.plan.output)
    }

    /// Captures the groups changed since the last capture, or all. No batch may be applied meanwhile; readers go on.
    pub(crate) fn capture(&self, full: bool) -> Captured {
        let changed = self.state.write().take_dirty();
        let state = self.state.read();
        let (groups, places) = if full {
            let places = state.all_places();
            ((0..places.len() as u32).collect(), places)
        } else {
            let places = state.places_of(&changed);
            (changed, places)
        };
        Captured {
            groups,
            places,
            chunks: state.log.chunks.clone(),
        }
    }

    /// The whole state at this instant, as a view that later batches do not change.
    pub(crate) fn view(&self) -> View {
        let state = self.state.read();
        View {
            places: state.all_places(),
            chunks: state.log.chunks.clone(),
        }
    }

    /// The groups of output rows, `None` where there is none; `None` as a whole when the output leaves keys out.
    pub(crate) fn find(&self, rows: &RecordBatch) -> Result<Option<Vec<Option<u32>>>, PipelineError> {
        let columns: Option<Vec<ArrayRef>> = self
            .aggregation
            .outputs
            .iter()
            .map(|at| at.map(|at| Arc::clone(rows.column(at))))
            .collect();
        let Some(columns) = columns else {
            return Ok(None);
        };
        let found = self.state.read().keys.find(&columns);
        found.map(Some).map_err(self.failed("read the state of"))
    }

    /// Output rows of groups as a view saw them; the groups must be in it.
    pub(crate) fn viewed_rows(&self, view: &View, groups: &[u32]) -> Result<RecordBatch, PipelineError> {
        let failed = self.failed("read the state of");
        let keys = self.state.read().keys.columns(groups).map_err(&failed)?;
        let places: Vec<Place> = groups.iter().map(|group| view.places[*group as usize]).collect();
        let state = gather(&view.chunks, &places, &self.state_fields)?;
        self.evaluate(keys, &state).map_err(&failed)
    }

    /// Undoes a capture whose checkpoint could not be written.
    pub(crate) fn uncapture(&self, captured: &Captured) {
        self.state.write().mark_dirty(&captured.groups);
    }

    /// Schema of captured rows: group columns, then state columns.
    pub(crate) fn captured_schema(&self) -> SchemaRef {
        let groups = self.aggregation.group_fields.iter().enumerate();
        let groups = groups.map(|(at, field)| Field::new(format!("k{at}"), field.data_type().clone(), true));
        let states = self.stored_fields.iter().enumerate();
        let states = states.map(|(at, field)| Field::new(format!("s{at}"), field.data_type().clone(), true));
        Arc::new(Schema::new(groups.chain(states).collect::<Vec<_>>()))
    }

    /// Rows of a capture in a range of its groups.
    pub(crate) fn captured_rows(
        &self,
        captured: &Captured,
        from: usize,
        to: usize,
    ) -> Result<RecordBatch, PipelineError> {
        let failed = self.failed("read the state of");
        let groups = &captured.groups[from..to];
        let mut columns = self.state.read().keys.columns(groups).map_err(&failed)?;
        columns.extend(gather(
            &captured.chunks,
            &captured.places[from..to],
            &self.stored_fields,
        )?);
        RecordBatch::try_new(self.captured_schema(), columns).map_err(|error| failed(error.into()))
    }

    /// Puts captured rows back; a group's later rows replace its earlier ones.
    pub(crate) fn restore(&self, rows: &RecordBatch) -> Result<(), PipelineError> {
        let failed = self.failed("restore");
        let mut scratch = self.scratch.lock();
        let Scratch {
            keys,
            local,
            touched,
            first_rows,
        } = &mut *scratch;
        let groups = self.aggregation.group_fields.len();
        let mut state = self.state.write();
        state
            .begin(&rows.columns()[..groups], keys, local, touched, first_rows)
            .map_err(&failed)?;
        // The state of row `i` belongs to the group of row `i`, whatever order `begin` put the groups in.
        let groups_of_rows: Vec<u32> = local.iter().map(|at| touched[*at]).collect();
        if touched.len() != rows.num_rows() {
            let message = "a checkpoint part names a group twice".to_owned();
            return Err(failed(DataFusionError::Execution(message)));
        }
        state.commit(&groups_of_rows, rows.columns()[groups..].to_vec());
        drop(state);
        drop(scratch);
        self.compact(rows.num_rows())
    }

    /// Forgets which groups changed: the state equals its checkpoint.
    pub(crate) fn settled(&self) {
        drop(self.state.write().take_dirty());
    }
}

/// The value of an aggregate for each row of its states.
fn value_of(aggregate: &Aggregate, states: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
    if aggregate.transparent {
        return Ok(Arc::clone(&states[0]));
    }
    let everyone: Vec<usize> = (0..rows).collect();
    let mut accumulator = aggregate.accumulator()?;
    accumulator.merge_batch(states, &everyone, rows)?;
    accumulator.evaluate(EmitTo::All)
}
