//! Start-up, cut by room: each function makes one room's handle; `Node` holds them all and ends them in order.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use futures::StreamExt;
use object_store::{ObjectStore, path::Path};
use parking_lot::RwLock;
use rand::SeedableRng;
use revgauge_connectors::{event_names::EventNames, http::Door};
use revgauge_contract::{
    Clock, Position,
    cut::{Cut, CutReader, LakeTable},
    feed::FeedSink,
    intake::EventIntake,
    statistics::{StatisticsListener, StatisticsSource},
    time::SystemClock,
};
use revgauge_journal::{DurableDedup, FeedJournal, Journal, JournalName, Pump, StoredDeadLetters};
use revgauge_lake::Lake;
use revgauge_models::{
    Definitions,
    definitions::history::DefinitionSets,
    forecast::Forecasts,
    live::LiveScorer,
    reports::Reports,
    service::{Memories, Scoring},
};
use revgauge_pipelines::{Runtime, Statistics};
use revgauge_query_api::{
    Api, ApiParts,
    access::{AuditLog, KeyStore, Oidc, UserStore},
    reports::{SavedReports, run_deliveries},
};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    definition_desk::{self, Desk},
    definition_history::DefinitionHistory,
    doors::{self, Status, Tables},
    identity,
    model_service::Models,
    otlp,
    read_your_writes::{Caught, ReadYourWrites},
    run_file::{self, FolderLock, RunningServer},
    scoring_checkpoint::{self, ScoringCheckpoints},
    settings::Settings,
    threads::Threads,
    webhooks::Webhooks,
};

/// All rooms of one deployment, joined.
pub(crate) struct Node {
    router: Router,
    api: Arc<Api>,
    desk: Arc<Desk>,
    operator_secret: String,
    rooms: Arc<Rooms>,
    background: CancellationToken,
    readers: CancellationToken,
    tasks: TaskTracker,
    pumps: TaskTracker,
    /// Layer 2's checkpoints; a command writes none.
    checkpoints: Option<Arc<ScoringCheckpoints>>,
    /// Threads that queries and scoring run on, ended with the node.
    _apart: [Threads; 2],
    lock: Option<FolderLock>,
    purpose: Purpose,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

/// The handle of each room.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) feed: Arc<FeedJournal>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) scoring: Arc<Scoring>,
    pub(crate) live: Arc<LiveScorer>,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) users: Arc<UserStore>,
    pub(crate) saved: Arc<SavedReports>,
    pub(crate) dead_letters: Arc<StoredDeadLetters>,
    pub(crate) models: Arc<Models>,
    pub(crate) delivered: tokio::sync::watch::Receiver<Position>,
    pub(crate) event_names: Arc<EventNames>,
    pub(crate) definitions: Arc<DefinitionHistory>,
}

/// The configured definitions: what ships, overlaid with the operator's folder and with what tenants have of their own.
///
/// # Errors
/// Names file, line and key of what is wrong.
pub(crate) fn definitions(settings: &Settings) -> Result<DefinitionSets> {
    Ok(DefinitionSets::load(settings.definitions.folder.as_deref())?)
}

fn event_names(settings: &Settings) -> Result<Arc<EventNames>> {
    let mut names = EventNames::shipped();
    if let Some(path) = &settings.definitions.event_names {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        names = names.with_file(&path.display().to_string(), &text)?;
    }
    if let Some(folder) = &settings.definitions.tenant_event_names {
        let listed =
            std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files = Vec::new();
        for entry in listed {
            files.push(entry?.path());
        }
        files.sort();
        for path in files
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let tenant = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            names = names.with_tenant(&tenant, &path.display().to_string(), &text)?;
        }
    }
    Ok(Arc::new(names))
}

fn random() -> u64 {
    rand::Rng::random(&mut rand::rngs::StdRng::from_os_rng())
}

/// What a node is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve: changes are scored as they come, timers run, the lake is maintained.
    Serve,
    /// For one command: what it writes is durable and in lake and state at its end; the next server scores it.
    Command,
}

impl Node {
    /// Opens the store and joins the rooms; when it returns, everything acknowledged before is being caught up with.
    ///
    /// # Errors
    /// What the store, its contents or the settings met, by name.
    pub(crate) async fn open(settings: &Settings, purpose: Purpose) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // Before the store is touched: what is broken changes nothing.
        let (configured, event_names) = (definitions(settings)?, event_names(settings)?);
        let opened = revgauge_store::open(&settings.store.url, &settings.store.options).await?;
        let lock = opened.local_dir.as_deref().map(run_file::lock).transpose()?;
        let store = opened.store;
        let (background, readers) = (CancellationToken::new(), CancellationToken::new());
        let (tasks, pumps) = (TaskTracker::new(), TaskTracker::new());

        let journal = Journal::open(
            Arc::clone(&store),
            JournalName::Events,
            revgauge_contract::schema::events(),
            settings.journal.clone(),
            Arc::clone(&clock),
            random(),
        )
        .await?;
        let feed = Arc::new(
            FeedJournal::open(
                Arc::clone(&store),
                settings.journal.clone(),
                settings.feed.clone(),
                Arc::clone(&clock),
                random(),
            )
            .await?,
        );
        let lake = Lake::open(Arc::clone(&store), settings.lake.clone(), Arc::clone(&clock)).await?;
        lake.set_acknowledged(LakeTable::ScoreChanges, feed.journal().watch());
        spawn_feed_pump(&feed, &lake, settings, &readers, &pumps);

        let published = definition_desk::read(&*store).await?;
        let scoring_with = definition_desk::overlaid(configured.clone(), &published);
        let definitions = Arc::new(
            DefinitionHistory::open(Arc::clone(&store), scoring_with, Arc::clone(&clock), purpose).await?,
        );
        let cuts: Arc<dyn CutReader> = Arc::clone(&lake) as _;
        let past = Arc::new(doors::PastTiers::new(Arc::clone(&cuts), Arc::clone(&store)));
        // What layer 2 held needs nothing of layer 1: the two are restored side by side.
        let remembering = scoring_checkpoint::remember(Arc::clone(&store), Arc::clone(&past));
        let remembered = AbortOnDropHandle::new(tokio::spawn(remembering));
        let runtime = open_runtime(settings, &store, &clock, &lake, &journal).await?;
        let seen = lake.cut(LakeTable::Events).await?;
        // From here on a cut waits for what is acknowledged: the pump started below brings it.
        lake.set_acknowledged(LakeTable::Events, journal.watch());
        let statistics: Arc<dyn StatisticsSource> = Arc::new(Statistics::new(
            Arc::clone(&runtime),
            Arc::clone(&cuts),
            Arc::clone(&store),
            &settings.pipelines,
        )?);
        tracing::info!(position = runtime.position().0, "state restored");
        let (scoring, live) = open_scoring(settings, &statistics, &feed, &clock, past, &definitions);
        let mut remembered = remembered.await??;
        let checkpoints = (purpose == Purpose::Serve)
            .then(|| ScoringCheckpoints::new(Arc::clone(&store), Arc::clone(&live), &remembered));
        remembered
            .give_directories(&scoring, &*statistics, &journal, runtime.position())
            .await?;
        live.restore(remembered.memory, remembered.fed, feed.last_covers());
        tracing::info!("what layer 2 held restored");
        if purpose == Purpose::Serve {
            live.watch(&doors::tenants_with_data(&runtime).await?, runtime.position())
                .await?;
        }
        let delivered = spawn_events_pump(
            &journal,
            &lake,
            &runtime,
            checkpoints.as_ref(),
            &store,
            settings,
            &readers,
            &pumps,
            seen,
        )
        .await?;
        let wait = Duration::from_millis(settings.models.read_wait_ms);
        let caught = Caught::new(Arc::clone(&journal), delivered.clone(), wait);
        let models = Models::new(&store, &scoring, &clock, &cuts, caught, settings.models.clone());
        models.restore().await?;
        // Scoring computes for long stretches: on a thread of its own it never stands before a request.
        let scoring_runtime = Threads::start("scoring", 1)?;
        if let Some(checkpoints) = &checkpoints {
            let threads = scoring_runtime.handle();
            spawn_background(
                (&live, &scoring),
                threads,
                &lake,
                &definitions,
                &background,
                &tasks,
            );
            tasks.spawn(Arc::clone(&models).watch(background.clone()));
            tasks.spawn(Arc::clone(&models).retrain(background.clone()));
            let interval = Duration::from_millis(settings.server.scoring_checkpoint_interval_ms.max(1));
            tasks.spawn(Arc::clone(checkpoints).run(interval, background.clone()));
        }

        let operator_secret = format!("{:016x}{:016x}", random(), random());
        let keys = KeyStore::open(Arc::clone(&store), settings.api_keys.clone(), Arc::clone(&clock)).await?;
        keys.set_operator(&operator_secret);
        let users =
            UserStore::open(Arc::clone(&store), settings.api.users.clone(), Arc::clone(&clock)).await?;
        let saved = SavedReports::open(
            Arc::clone(&store),
            settings.api.deliveries.clone(),
            Arc::clone(&clock),
        )
        .await?;
        let dead_letters = Arc::new(StoredDeadLetters::new(
            Arc::clone(&store),
            settings.dead_letters.clone(),
            Arc::clone(&clock),
            random(),
        ));
        let rooms = Arc::new(Rooms {
            store,
            clock,
            journal,
            feed,
            lake,
            runtime,
            scoring,
            live,
            keys,
            users,
            saved,
            dead_letters,
            models,
            delivered,
            event_names,
            definitions,
        });
        let query_runtime = Threads::start("query", settings.server.query_threads)?;
        let (router, api) = open_doors(settings, &rooms, &cuts, query_runtime.handle())?;
        let desk = Arc::new(Desk {
            store: Arc::clone(&rooms.store),
            configured: RwLock::new(configured),
            history: Arc::clone(&rooms.definitions),
            scoring: Arc::clone(&rooms.scoring),
            live: Arc::clone(&rooms.live),
            clock: Arc::clone(&rooms.clock),
            tasks: tasks.clone(),
            stop: background.clone(),
            shown: RwLock::new(published.clone()),
            published: tokio::sync::Mutex::new(published),
        });
        api.set_definition_desk(Arc::clone(&desk) as _);
        if purpose == Purpose::Serve {
            let sender = Arc::new(Webhooks::new(&settings.api.deliveries)?);
            tasks.spawn(run_deliveries(Arc::clone(&api), sender, background.clone()));
        }
        Ok(Self {
            router,
            api,
            desk,
            operator_secret,
            rooms,
            background,
            readers,
            tasks,
            pumps,
            checkpoints,
            _apart: [query_runtime, scoring_runtime],
            lock,
            purpose,
        })
    }

    /// All doors, in and out.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// What the doors out share.
    pub(crate) const fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The rooms behind the doors.
    pub(crate) fn rooms(&self) -> &Arc<Rooms> {
        &self.rooms
    }

    /// Secret of the operator's own keys for this run.
    pub(crate) fn operator_secret(&self) -> &str {
        &self.operator_secret
    }

    /// Leaves the address for commands on the same folder.
    ///
    /// # Errors
    /// What writing the run file met.
    pub(crate) fn announce(&self, server: &RunningServer) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.announce(server))
    }

    /// Whether everything acknowledged is in the state and scored.
    pub(crate) fn settled(&self) -> bool {
        let last = self.rooms.journal.last();
        let lag = self.rooms.live.lag();
        let scores = self.purpose == Purpose::Serve;
        let waiting = if scores {
            lag.contacts + lag.accounts + lag.deals + lag.sweeping
        } else {
            0
        };
        *self.rooms.delivered.borrow() >= last && waiting == 0
    }

    /// Reads the definition files again and scores with them from now on; whether anything is different.
    ///
    /// # Errors
    /// Names file, line and key of what is wrong; what is in force stays.
    pub(crate) async fn reload_definitions(&self, settings: &Settings) -> Result<bool> {
        self.desk.reconfigure(definitions(settings)?).await
    }

    /// Waits until everything acknowledged is in lake and state, writes what is buffered and lets go of the store.
    ///
    /// Scoring is given the grace and no more: the feed does not cover what is left, so the next server scores it.
    ///
    /// # Errors
    /// What the last flush met; the journal still has everything acknowledged.
    pub(crate) async fn close(self, grace: Duration) -> Result<()> {
        let rooms = Arc::clone(&self.rooms);
        self.api.flush_audit().await;
        rooms.journal.shutdown().await;
        let patience = Instant::now() + grace;
        while !self.settled() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut delivered = rooms.delivered.clone();
        let last = rooms.journal.last();
        delivered
            .wait_for(|position| *position >= last)
            .await
            .context("reading the journal ended early")?;
        self.readers.cancel();
        self.pumps.close();
        self.pumps.wait().await;
        self.background.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        rooms.feed.journal().shutdown().await;
        rooms.runtime.checkpoint_now().await?;
        rooms.lake.shutdown().await?;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.save().await?;
        }
        Ok(())
    }
}

async fn open_runtime(
    settings: &Settings,
    store: &Arc<dyn ObjectStore>,
    clock: &Arc<dyn Clock>,
    lake: &Arc<Lake>,
    journal: &Arc<Journal>,
) -> Result<Arc<Runtime>> {
    let runtime = Runtime::open(settings.pipelines.clone(), Arc::clone(store), Arc::clone(clock)).await?;
    let behind_journal = runtime.position().next() < journal.first();
    let in_lake = lake.position(LakeTable::Events);
    if in_lake > Position::START && (runtime.position() == Position::START || behind_journal) {
        tracing::info!(
            position = in_lake.0,
            "no usable state checkpoint: rebuilding the state from the lake"
        );
        let cut = lake.cut(LakeTable::Events).await?;
        let rows = runtime.rebuild_from(cut).await?;
        tracing::info!(rows, "state rebuilt from the lake");
    }
    Ok(runtime)
}

fn open_scoring(
    settings: &Settings,
    statistics: &Arc<dyn StatisticsSource>,
    feed: &Arc<FeedJournal>,
    clock: &Arc<dyn Clock>,
    past: Arc<doors::PastTiers>,
    definitions: &DefinitionHistory,
) -> (Arc<Scoring>, Arc<LiveScorer>) {
    let scoring = Arc::new(Scoring::new(
        Arc::clone(statistics),
        Arc::new(Definitions::shipped()),
        Arc::clone(clock),
        settings.scoring.clone(),
    ));
    definitions.install(&scoring);
    let sink: Arc<dyn FeedSink> = Arc::clone(feed) as _;
    let live = LiveScorer::new(
        Arc::clone(&scoring),
        sink,
        settings.live.clone(),
        Arc::clone(clock),
    );
    scoring.set_memories(Memories {
        live: Some(Arc::clone(&live) as _),
        past: Some(past as _),
    });
    (scoring, live)
}

/// Scoring and maintenance, until told to stop.
fn spawn_background(
    (live, scoring): (&Arc<LiveScorer>, &Arc<Scoring>),
    threads: &tokio::runtime::Handle,
    lake: &Arc<Lake>,
    definitions: &Arc<DefinitionHistory>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let (scorer, history, stopping) = (Arc::clone(live), Arc::clone(definitions), stop.clone());
    tasks.spawn(async move { history.apply(&scorer, &stopping).await });
    let (stop_scoring, scoring_stopped) = tokio::sync::watch::channel(false);
    tasks.spawn_on(Arc::clone(live).run(scoring_stopped.clone()), threads);
    tasks.spawn_on(Arc::clone(scoring).keep_rows(scoring_stopped), threads);
    let stopping = stop.clone();
    tasks.spawn(async move {
        stopping.cancelled().await;
        stop_scoring.send_replace(true);
    });
    let (lake, stop) = (Arc::clone(lake), stop.clone());
    tasks.spawn(async move { lake.maintain(async move { stop.cancelled().await }).await });
}

fn spawn_feed_pump(
    feed: &Arc<FeedJournal>,
    lake: &Arc<Lake>,
    settings: &Settings,
    stop: &CancellationToken,
    pumps: &TaskTracker,
) {
    let (settled_feed, settled_lake) = (Arc::clone(feed), Arc::clone(lake));
    let keep = settings.server.feed_positions_kept;
    let settled = Arc::new(move || {
        let in_lake = settled_lake.position(LakeTable::ScoreChanges);
        in_lake.min(Position(settled_feed.journal().last().0.saturating_sub(keep)))
    });
    let pump = Pump::new(
        Arc::clone(feed.journal()),
        vec![lake.consumer(LakeTable::ScoreChanges)],
        None,
        settled,
        settings.pump.clone(),
        random(),
    );
    let stop = stop.clone();
    pumps.spawn(async move {
        if let Err(error) = pump.run(stop).await {
            tracing::error!(%error, "reading the score feed's journal ended");
        }
    });
}

#[expect(clippy::too_many_arguments, reason = "joins the rooms an event passes")]
async fn spawn_events_pump(
    journal: &Arc<Journal>,
    lake: &Arc<Lake>,
    runtime: &Arc<Runtime>,
    checkpoints: Option<&Arc<ScoringCheckpoints>>,
    store: &Arc<dyn ObjectStore>,
    settings: &Settings,
    stop: &CancellationToken,
    pumps: &TaskTracker,
    seen: Cut,
) -> Result<tokio::sync::watch::Receiver<Position>> {
    let listener = checkpoints.map(|of| Arc::clone(of.live()) as Arc<dyn StatisticsListener>);
    let consumers = vec![lake.consumer(LakeTable::Events), runtime.consumer(listener)];
    let resume = consumers
        .iter()
        .map(|reader| reader.resume_after())
        .min()
        .unwrap_or_default();
    let mut dedup = DurableDedup::open(
        Arc::clone(store),
        Path::from("checkpoints/dedup"),
        resume,
        settings.dedup.clone(),
        random(),
    )
    .await?;
    let in_lake = lake.position(LakeTable::Events);
    // While the journal is whole its ids are learnt from it, each at its own position. The lake does not say at which: a
    // repetition between the state's position and the lake's would count twice.
    let trimmed = journal.first() > Position::START.next();
    if dedup.dedup().position() == Position::START && in_lake > Position::START && trimmed {
        relearn_ids(&mut dedup, seen, in_lake, store).await?;
    }
    let (lake, runtime, checkpoints) = (Arc::clone(lake), Arc::clone(runtime), checkpoints.map(Arc::clone));
    let settled = Arc::new(move || {
        let of_scoring = checkpoints.as_ref().map(|checkpoints| checkpoints.position());
        lake.position(LakeTable::Events)
            .min(runtime.checkpoint_position())
            .min(of_scoring.unwrap_or(Position(u64::MAX)))
    });
    let pump = Pump::new(
        Arc::clone(journal),
        consumers,
        Some(dedup),
        settled,
        settings.pump.clone(),
        random(),
    );
    let delivered = pump.progress();
    let stop = stop.clone();
    pumps.spawn(async move {
        if let Err(error) = pump.run(stop).await {
            tracing::error!(%error, "reading the events' journal ended: restart the server");
        }
    });
    Ok(delivered)
}

/// Learns the ids of the lake anew when their checkpoint is gone, so that a sender's retry is still recognised.
async fn relearn_ids(
    dedup: &mut DurableDedup,
    seen: Cut,
    in_lake: Position,
    store: &Arc<dyn ObjectStore>,
) -> Result<()> {
    /// Ids after which those learnt so far are written down, which bounds the memory that waits for it.
    const SAVE_IDS: usize = 2_000_000;
    tracing::info!(
        position = in_lake.0,
        "no checkpoint of known ids: learning them from the lake"
    );
    let mut batches = doors::ids_of(seen, store).await?;
    while let Some(batch) = batches.next().await {
        let (batch, received_at) = batch?;
        dedup.dedup_mut().observe(&batch, in_lake, received_at)?;
        if dedup.dedup().fresh_ids() >= SAVE_IDS {
            dedup.save(Position::START).await?;
        }
    }
    Ok(())
}

fn open_doors(
    settings: &Settings,
    rooms: &Arc<Rooms>,
    cuts: &Arc<dyn CutReader>,
    query_runtime: &tokio::runtime::Handle,
) -> Result<(Router, Arc<Api>)> {
    let intake: Arc<dyn EventIntake> = Arc::clone(&rooms.journal) as _;
    let door = Arc::new(Door::new(
        intake,
        Arc::clone(&rooms.dead_letters) as _,
        Arc::clone(&rooms.keys) as _,
        Arc::clone(&rooms.clock),
        settings.ingest.clone(),
        Arc::clone(&rooms.event_names),
    )?);
    let wait = Duration::from_millis(settings.server.read_wait_ms);
    let caught = Caught::new(Arc::clone(&rooms.journal), rooms.delivered.clone(), wait);
    let api = Api::new(ApiParts {
        scores: Arc::new(ReadYourWrites::new(
            Arc::clone(&rooms.scoring) as _,
            caught.clone(),
        )),
        reports: Arc::new(Reports::new(
            Arc::clone(&rooms.scoring),
            Arc::clone(&rooms.clock),
            settings.reports.clone(),
        )),
        ownership: Arc::clone(&rooms.scoring) as _,
        models: Arc::clone(&rooms.models) as _,
        forecasts: Arc::new(Forecasts::new(
            Arc::clone(&rooms.scoring),
            Arc::clone(&rooms.clock),
            settings.forecast.clone(),
        )),
        cuts: Arc::clone(cuts),
        catalog: Arc::new(Tables::new(Arc::clone(rooms), caught)),
        feed: Arc::clone(&rooms.feed) as _,
        keys: Arc::clone(&rooms.keys),
        users: Arc::clone(&rooms.users),
        saved: Arc::clone(&rooms.saved),
        oidc: Oidc::new(
            settings.api.oidc.clone(),
            Arc::new(identity::Network::default()),
            Arc::clone(&rooms.clock),
        ),
        audit: AuditLog::open(
            Arc::clone(&rooms.store),
            settings.api.audit.clone(),
            Arc::clone(&rooms.clock),
        ),
        intake: Arc::clone(&rooms.journal) as _,
        status: Arc::new(Status::new(Arc::clone(rooms), Arc::clone(&door))),
        clock: Arc::clone(&rooms.clock),
        settings: settings.api.clone(),
        query_runtime: query_runtime.clone(),
        metrics: doors::metrics()?,
    })?;
    let router = revgauge_connectors::http::router(door).merge(revgauge_query_api::router(Arc::clone(&api)));
    if settings.telemetry.otlp.endpoint.is_empty() {
        return Ok((router, api));
    }
    Ok((router.layer(axum::middleware::from_fn(otlp::traced)), api))
}
