//! Training, comparing and watching: reads the tenant's past, calls the trainers, stores what they made.

use std::{sync::Arc, time::Instant};

use arrow::array::{Array as _, RecordBatch, StringViewArray};
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use futures::StreamExt as _;
use revgauge_contract::{
    ErrorKind, Timestamp,
    cut::LakeTable,
    error::Failure,
    models::{Comparison, Drift, HeldOut, ModelTarget, Trained, TrainingQuestion},
    schema::text_column,
    score::EntityKind,
    statistics::Knowledge,
};
use revgauge_models::{
    changelog::{self, ChangeLog, ChangeLogSettings},
    directory::StageCatalogue,
};
use revgauge_training::{
    deals::{Activity, DealSet, DealSetError, DealSetSettings},
    leads::Conversions,
    win::{self, WinSettings},
};

use super::{Models, better, cards, user};
use crate::model_registry::{Action, HeldAnswer, StoredModel};

/// Rows new to both versions below which a comparison says nothing.
const LEAST_COMMON: usize = 40;

/// What training reads of a tenant, as known now.
struct Known {
    target: ModelTarget,
    /// Of deals, or of contacts for leads.
    log: ChangeLog,
    stages: Arc<StageCatalogue>,
    conversions: Conversions,
    activity: Activity,
    now: Timestamp,
}

impl Known {
    fn past(&self) -> win::Past<'_> {
        match self.target {
            ModelTarget::Deals => win::Past::Deals {
                log: &self.log,
                stages: &self.stages,
                activity: &self.activity,
            },
            ModelTarget::Leads => win::Past::Leads {
                contacts: &self.log,
                conversions: &self.conversions,
                activity: &self.activity,
            },
        }
    }
}

fn engine(error: impl std::fmt::Display) -> Failure {
    Failure::new(
        ErrorKind::Internal,
        format!("cannot read the tenant's events for training: {error}"),
    )
}

fn refused(error: &DealSetError) -> Failure {
    match error {
        DealSetError::NoneMature { .. } => user(error.to_string()),
        DealSetError::Join(_) => Failure::new(ErrorKind::Internal, error.to_string()),
    }
}

/// Runs what computes for seconds apart from the threads that serve.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::new(
            ErrorKind::Internal,
            format!("cannot finish the training: {error}"),
        )
    })
}

impl Models {
    /// Waits first for what was acknowledged before the call: whoever sends deals and then asks for a training means those.
    async fn known(&self, tenant_id: &str, target: ModelTarget) -> Result<Known, Failure> {
        self.caught.up().await;
        let now = self.clock.now();
        let source = &*self.scoring.source();
        let directory = self
            .scoring
            .directories()
            .get(source, tenant_id, Knowledge::Now)
            .await?;
        let stages = directory.read().stages();
        let settings = ChangeLogSettings {
            max_changes: self.settings.max_changes,
        };
        let load = |object| changelog::load(source, tenant_id, object, Knowledge::Now, settings.clone());
        let deals = load("deal").await?;
        let contact = |key: &str| -> Option<String> {
            let id = directory.read().canonical(EntityKind::Contact, key)?;
            Some(id.to_string())
        };
        let (log, conversions) = match target {
            ModelTarget::Deals => (deals, Conversions::default()),
            ModelTarget::Leads => {
                let roles = load("role").await?;
                (load("contact").await?, Conversions::of(&deals, &roles, contact))
            }
        };
        let activity = self.activity(tenant_id, target, &contact).await?;
        Ok(Known {
            target,
            log,
            stages,
            conversions,
            activity,
            now,
        })
    }

    /// Events on deals; for leads, those of contacts by their canonical ids.
    async fn activity(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        contact: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Activity, Failure> {
        let cut = self.cuts.cut(LakeTable::Events).await?;
        let table = revgauge_pipelines::tables::cut_table(cut, Arc::clone(&self.store));
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let columns = [
            "deal_id",
            "contact_id",
            "email",
            "type",
            "direction",
            "machine_class",
            "event_time",
            "known_at",
        ];
        let concerns = match target {
            ModelTarget::Deals => col("deal_id").is_not_null(),
            ModelTarget::Leads => col("contact_id").is_not_null().or(col("email").is_not_null()),
        };
        let mut stream = context
            .read_table(table)
            .and_then(|frame| frame.filter(col("tenant_id").eq(lit(tenant_id))))
            .and_then(|frame| frame.filter(col("kind").eq(lit("engagement")).and(concerns)))
            .and_then(|frame| frame.select(columns.map(col).to_vec()))
            .map_err(engine)?
            .execute_stream()
            .await
            .map_err(engine)?;
        let mut activity = Activity::default();
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(engine)?;
            let fields: Vec<_> = revgauge_contract::schema::events()
                .fields()
                .iter()
                .filter(|field| columns.contains(&field.name().as_str()))
                .cloned()
                .collect();
            // Files may hold dictionary or plain text; the columns are brought to the vocabulary's own types.
            let mut cast = Vec::with_capacity(fields.len());
            for field in &fields {
                let held = batch
                    .column_by_name(field.name())
                    .ok_or_else(|| engine(format_args!("column {} is missing", field.name())))?;
                cast.push(arrow::compute::cast(held, field.data_type()).map_err(engine)?);
            }
            let schema = Arc::new(arrow::datatypes::Schema::new(fields));
            let batch = RecordBatch::try_new(schema, cast).map_err(engine)?;
            match target {
                ModelTarget::Deals => activity.push(&batch).map_err(engine)?,
                ModelTarget::Leads => {
                    let ids = contacts_of(&batch, contact)?;
                    activity.push_of(&ids, &batch).map_err(engine)?;
                }
            }
        }
        Ok(activity)
    }

    fn set_settings(&self, horizon_days: Option<f64>) -> DealSetSettings {
        DealSetSettings {
            horizon_days,
            max_rows: self.settings.max_rows,
            ..DealSetSettings::default()
        }
    }

    pub(super) async fn train_now(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        question: &TrainingQuestion,
    ) -> Result<Trained, Failure> {
        if question
            .horizon_days
            .is_some_and(|days| !(1.0..=730.0).contains(&days))
        {
            return Err(user("cannot train with this horizon: give 1 to 730 days"));
        }
        let began = Instant::now();
        if target == ModelTarget::Leads && question.horizon_days.is_some() {
            return Err(user(
                "cannot train leads with this horizon: theirs is 90 days, leave it out",
            ));
        }
        let known = self.known(tenant_id, target).await?;
        let (sets, asked, own) = (
            self.set_settings(question.horizon_days),
            question.clone(),
            self.settings.clone(),
        );
        let made = apart(move || {
            let settings = WinSettings {
                set: sets,
                allow_leaky: asked.allow_leaky,
                seed: own.seed,
                forests: own.forests.clamp(1, 10),
                probe_rows: own.probe_rows,
            };
            let made = match target {
                ModelTarget::Deals => {
                    win::train(&known.log, &known.stages, &known.activity, known.now, &settings)
                }
                ModelTarget::Leads => win::train_leads(&known.past(), known.now, &settings),
            };
            made.map(|made| (made, known.now))
        })
        .await?;
        let (made, now) = made.map_err(|error| match &error {
            win::TrainError::Set(set) => refused(set),
            _ => user(error.to_string()),
        })?;
        let seconds = [
            made.set_seconds + (began.elapsed().as_secs_f64() - made.set_seconds - made.fit_seconds).max(0.0),
            made.fit_seconds,
        ];
        let stored = StoredModel {
            horizon_days: made.horizon_days,
            target,
            version: 0,
            trained_at: now,
            held_out: held_out(&made.held_out),
            signal: made.signal,
            card: cards::card(tenant_id, target, now, &made),
            model: Arc::new(made.model),
            held: made
                .held_rows
                .into_iter()
                .map(|row| HeldAnswer {
                    deal_id: row.deal_id,
                    at: row.at,
                    probability: row.probability,
                })
                .collect(),
            sha256: String::new(),
        };
        let stored = self.registry.add(tenant_id, stored).await?;
        let promotion = if question.promote {
            Some(self.promote_if_better(tenant_id, target, &stored).await?)
        } else {
            None
        };
        Ok(Trained {
            entry: self.entry_of(tenant_id, target, stored.version).await?,
            refused: made.refused,
            choice: made.choice,
            promotion,
            seconds,
        })
    }

    /// Promotes a new version that is better than the serving one, or the first; says what it did.
    async fn promote_if_better(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        stored: &StoredModel,
    ) -> Result<String, Failure> {
        let seen = self.registry.decisions(tenant_id, target).await?;
        let why = match seen.serving() {
            None => "promoted: nothing served before".to_owned(),
            Some(serving) => {
                let compared = self
                    .compare_now(tenant_id, target, [serving, stored.version])
                    .await?;
                match better(&compared) {
                    Ok(words) => format!("promoted over version {serving}: {words}"),
                    Err(words) => return Ok(words),
                }
            }
        };
        self.decide(tenant_id, target, &seen, Action::Promote(stored.version))
            .await?;
        Ok(why)
    }

    pub(super) async fn compare_now(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        versions: [u32; 2],
    ) -> Result<Comparison, Failure> {
        let stored = [
            self.registry.read(tenant_id, target, versions[0]).await?,
            self.registry.read(tenant_id, target, versions[1]).await?,
        ];
        let known = self.known(tenant_id, target).await?;
        let sets = self.set_settings(stored[0].horizon());
        apart(move || {
            let set = known
                .past()
                .set(known.now, &sets)
                .map_err(|error| refused(&error))?;
            compared(&set, versions, &stored)
        })
        .await?
    }

    pub(super) async fn drift_now(&self, tenant_id: &str, target: ModelTarget) -> Result<Drift, Failure> {
        let decisions = self.registry.decisions(tenant_id, target).await?;
        let serving = decisions.serving().ok_or_else(|| {
            Failure::new(
                ErrorKind::NotFound,
                "no model serves, so nothing can drift: train and promote one",
            )
        })?;
        let stored = self.registry.read(tenant_id, target, serving).await?;
        let known = self.known(tenant_id, target).await?;
        let sets = self.set_settings(stored.horizon());
        apart(move || {
            let drifted = win::drift(&stored.model, stored.trained_at, &known.past(), known.now, &sets)
                .map_err(|error| refused(&error))?;
            Ok(Drift {
                version: serving,
                columns: drifted.columns,
                outcomes: drifted.outcomes,
                mean_probability: drifted.mean_probability,
                win_rate: drifted.win_rate,
                standard_error: drifted.standard_error,
                alarms: drifted.alarms,
            })
        })
        .await?
    }
}

/// The contact behind each row of events: by its id, else by its address; none where the directory knows neither.
fn contacts_of(
    batch: &RecordBatch,
    contact: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<StringViewArray, Failure> {
    let text =
        |name: &str| text_column(batch, name).ok_or_else(|| engine(format_args!("column {name} is missing")));
    let (ids, addresses) = (text("contact_id")?, text("email")?);
    Ok((0..batch.num_rows())
        .map(|row| {
            let key = [ids, addresses]
                .into_iter()
                .find(|keys| !keys.is_null(row))
                .map(|keys| keys.value(row));
            key.and_then(contact)
        })
        .collect())
}

fn held_out(measured: &win::HeldOutRows) -> HeldOut {
    let metrics = measured.metrics();
    HeldOut {
        rows: measured.won.len(),
        log_loss: metrics.log_loss,
        calibration_error: metrics.ece,
        auc: metrics.auc,
        base_rate_log_loss: measured.base_rate_log_loss,
    }
}

/// Both models on the rows that neither had seen when it answered: rows whose outcome was known only after its training,
/// and rows it was held out from while it was chosen.
fn compared(set: &DealSet, versions: [u32; 2], stored: &[StoredModel; 2]) -> Result<Comparison, Failure> {
    let answers = [0, 1].map(|place: usize| honest(set, &stored[place]));
    let rows: Vec<usize> = (0..set.at.len())
        .filter(|row| answers.iter().all(|answers| answers[*row].is_some()))
        .collect();
    if rows.len() < LEAST_COMMON {
        return Err(user(format!(
            "cannot compare versions {} and {}: only {} rows of history are new to both; wait for more outcomes",
            versions[0],
            versions[1],
            rows.len()
        )));
    }
    let won: Vec<bool> = rows.iter().map(|row| set.table.won[*row]).collect();
    let rate = won.iter().filter(|won| **won).count() as f64 / won.len() as f64;
    let judged = [0, 1]
        .map(|place: usize| -> Vec<f64> { rows.iter().filter_map(|row| answers[place][*row]).collect() });
    let measures = [0, 1].map(|place: usize| {
        held_out(&win::HeldOutRows {
            probabilities: judged[place].clone(),
            won: won.clone(),
            base_rate_log_loss: win::base_rate_loss(rate),
        })
    });
    let differences = judged[0].iter().zip(&judged[1]).map(|(a, b)| (a - b).abs());
    Ok(Comparison {
        versions,
        rows: rows.len(),
        measures,
        mean_difference: differences.sum::<f64>() / rows.len() as f64,
    })
}

/// What a version says of each row without having seen it; none where it has.
fn honest(set: &DealSet, stored: &StoredModel) -> Vec<Option<f64>> {
    let trained = stored.trained_at.micros() as f64 / revgauge_contract::time::DAY_US as f64;
    let held: std::collections::HashMap<(&str, u64), f64> = stored
        .held
        .iter()
        .map(|held| ((held.deal_id.as_str(), held.at.to_bits()), held.probability))
        .collect();
    let rows: Vec<usize> = (0..set.at.len()).collect();
    win::judge_rows(&stored.model, set, &rows)
        .into_iter()
        .zip(rows)
        .map(|(judged, row)| {
            let answered = held.get(&(set.ids[row].as_str(), set.at[row].to_bits())).copied();
            answered.or_else(|| (set.known[row] > trained).then_some(judged))
        })
        .collect()
}
