//! The command line: what can be asked, with an example each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Scores and forecasts for revenue teams: events in, scores out, explained to the last point.
#[derive(Debug, Parser)]
#[command(
    name = "revgauge",
    version,
    about,
    propagate_version = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Common {
    /// Configuration file (TOML); see `revgauge doctor --settings` for every key.
    #[arg(long, short, global = true, env = "REVGAUGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the data lives: a folder or s3://bucket/prefix.
    #[arg(
        long,
        alias = "data-dir",
        global = true,
        env = "REVGAUGE_STORE",
        value_name = "URL"
    )]
    pub(crate) store: Option<String>,
    /// A running server to talk to; found by itself when it runs on the same folder.
    #[arg(long, global = true, env = "REVGAUGE_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// API key for the running server; not needed on the server's own machine and folder.
    #[arg(
        long,
        global = true,
        env = "REVGAUGE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// Tenant to work for.
    #[arg(
        long,
        global = true,
        env = "REVGAUGE_TENANT",
        default_value = "default",
        value_name = "NAME"
    )]
    pub(crate) tenant: String,
    /// Print JSON for programs instead of tables for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: doors in, journal, engine, lake, doors out.
    #[command(
        after_help = "Example:\n  revgauge keys create --role admin\n  revgauge serve --listen 127.0.0.1:8780\n\nSIGHUP makes it read the definition files again; SIGTERM and Ctrl-C end it in order."
    )]
    Serve(ServeArgs),
    /// Show it all on a simulated organisation, through the real doors.
    #[command(
        after_help = "Example:\n  revgauge demo            # keeps running with live events, Ctrl-C ends it\n  revgauge demo --once     # prints the story and ends"
    )]
    Demo(DemoArgs),
    /// Import CSV, TSV, NDJSON or Parquet through a field mapping.
    #[command(
        after_help = "Example:\n  revgauge import --mapping hubspot ./export --dry-run\n  revgauge import --mapping my-crm.toml deals.csv.gz\n  revgauge import events.parquet        # files already in our own schema"
    )]
    Import(ImportArgs),
    /// Generate a believable revenue organisation as files or as a live stream.
    #[command(
        after_help = "Example:\n  revgauge simulate --events 1000000 --out events.parquet\n  revgauge simulate --to http://127.0.0.1:8780 --key rg_... --rate 20000 --seconds 60"
    )]
    Simulate(SimulateArgs),
    /// Ask in SQL.
    #[command(
        after_help = "Example:\n  revgauge query \"SELECT tier, count(*) FROM scores WHERE score = 'priority' GROUP BY tier\""
    )]
    Query(QueryArgs),
    /// The standard reports: list, run; your own: schedule, see, send, remove.
    #[command(after_help = "Example:\n  revgauge reports list\n  revgauge reports run pipeline_by_stage")]
    Reports {
        #[command(subcommand)]
        command: ReportsCommand,
    },
    /// The scores of contacts, accounts or deals, best first.
    #[command(
        after_help = "Example:\n  revgauge scores contact --score priority --limit 10\n  revgauge scores deal deal-1-1 --as-of 2026-03-01"
    )]
    Scores(ScoresArgs),
    /// What will be won in a period: range, methods with their accuracy, and the deals that make it.
    #[command(
        after_help = "Example:\n  revgauge forecast\n  revgauge forecast --period 2026-Q4 --team-of user-7 --quota 500000\n  revgauge forecast --what-if deal-7=0.9@12000"
    )]
    Forecast(ForecastArgs),
    /// What the forecasts reach where the continuation is known; prints a Markdown table.
    #[command(
        after_help = "Example:\n  revgauge backtest --suite m3 ./datasets\n  revgauge backtest --suite simulator --seeds 12"
    )]
    Backtest(BacktestArgs),
    /// What changed since yesterday, what is at risk and whom to call.
    #[command(
        after_help = "Example:\n  revgauge briefing\n  revgauge briefing --since 2026-03-01 --format html > briefing.html"
    )]
    Briefing(BriefingArgs),
    /// Why a score is what it is, or why it changed between two instants.
    #[command(
        after_help = "Example:\n  revgauge explain contact jo@acme.io\n  revgauge explain deal d-17 --from 2026-03-01 --to 2026-03-08"
    )]
    Explain(ExplainArgs),
    /// The streaming SQL of layer 1: list, explain, verify, deploy.
    #[command(
        after_help = "Example:\n  revgauge pipelines verify\n  revgauge pipelines deploy --dry-run > program.sql"
    )]
    Pipelines {
        #[command(subcommand)]
        command: PipelinesCommand,
    },
    /// The opinions of layer 2: list, show, compare, history, validate.
    #[command(
        after_help = "Example:\n  revgauge definitions diff engagement\n  revgauge definitions validate ./definitions"
    )]
    Definitions {
        #[command(subcommand)]
        command: DefinitionsCommand,
    },
    /// API keys: create (shown once), list, revoke.
    #[command(
        after_help = "Example:\n  revgauge --tenant acme keys create --role admin --name 'RevOps laptop'"
    )]
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// People who sign in to the dashboards: create, list, end, or make a sign-in link.
    #[command(
        after_help = "Example:\n  revgauge users create --role rep --user-id user-7 --login mo@example.com   # asks for a password\n  revgauge users link"
    )]
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Refused events: read them, send them again.
    #[command(
        name = "dead-letters",
        after_help = "Example:\n  revgauge dead-letters list --limit 20\n  revgauge dead-letters replay"
    )]
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Export what is stored about a person or the tenant; erase a person.
    #[command(
        after_help = "Example:\n  revgauge privacy export --subject jo@example.com > jo.json\n  revgauge privacy export --out ./everything\n  revgauge privacy erase --subject jo@example.com"
    )]
    Privacy {
        #[command(subcommand)]
        command: PrivacyCommand,
    },
    /// Check store, settings, definitions and data.
    #[command(
        after_help = "Example:\n  revgauge doctor\n  revgauge doctor --settings   # every setting with its value"
    )]
    Doctor(DoctorArgs),
    /// Train a new version of a model on the tenant's own past, point in time.
    #[command(
        after_help = "Example:\n  revgauge train deals --promote\n  revgauge train deals --allow-leaky field:source"
    )]
    Train(TrainArgs),
    /// Trained models: list them, read their cards, promote, roll back, compare, watch for drift.
    #[command(
        after_help = "Example:\n  revgauge models list\n  revgauge models card deals\n  revgauge models promote deals 2"
    )]
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Measure ingestion, latency, memory and restart on this machine.
    #[command(
        after_help = "Example:\n  revgauge bench ingest --events 2000000\n  revgauge bench latency --rate 20000 --seconds 30"
    )]
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// What to predict: `deals`, that an open deal is won.
    #[arg(default_value = "deals")]
    pub(crate) target: String,
    /// Days within which a win counts; nine of ten wins fall within it when absent.
    #[arg(long, value_name = "DAYS")]
    pub(crate) horizon_days: Option<f64>,
    /// Keep a column although a probe refuses it; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) allow_leaky: Vec<String>,
    /// Promote the new version when it is better than the serving one, or the first.
    #[arg(long)]
    pub(crate) promote: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// All versions, how they stand and how good they are.
    #[command(after_help = "Example:\n  revgauge models list")]
    List,
    /// The card of a version: data, choice, held-out figures, probes for leaks.
    #[command(
        disable_version_flag = true,
        after_help = "Example:\n  revgauge models card deals --version 2"
    )]
    Card {
        /// What is predicted.
        #[arg(default_value = "deals")]
        target: String,
        /// The serving version when absent.
        #[arg(long)]
        version: Option<u32>,
    },
    /// Two versions on the rows of history that neither had learnt from.
    #[command(after_help = "Example:\n  revgauge models compare deals 1 2")]
    Compare {
        /// What is predicted.
        target: String,
        /// One version.
        from: u32,
        /// The other.
        to: u32,
    },
    /// Make a version the serving one; refused unless it is better than that.
    #[command(
        disable_version_flag = true,
        after_help = "Example:\n  revgauge models promote deals 2"
    )]
    Promote {
        /// What is predicted.
        target: String,
        /// The version.
        version: u32,
        /// Promote it all the same.
        #[arg(long)]
        even_if_worse: bool,
    },
    /// Let the version that served before serve again.
    #[command(after_help = "Example:\n  revgauge models rollback deals")]
    Rollback {
        /// What is predicted.
        #[arg(default_value = "deals")]
        target: String,
    },
    /// Judge with a version beside the serving one, shown among the facts of a score.
    #[command(
        disable_version_flag = true,
        after_help = "Example:\n  revgauge models shadow deals 3\n  revgauge models shadow deals --off"
    )]
    Shadow {
        /// What is predicted.
        target: String,
        /// The version.
        version: Option<u32>,
        /// End it.
        #[arg(long)]
        off: bool,
    },
    /// How far deals and outcomes have moved from the serving version's training.
    #[command(after_help = "Example:\n  revgauge models drift deals")]
    Drift {
        /// What is predicted.
        #[arg(default_value = "deals")]
        target: String,
    },
    /// Measure how fast rows are made, models fitted and rows scored on made-up deals of this number.
    #[cfg(feature = "training")]
    #[command(after_help = "Example:\n  revgauge models speed --deals 100000")]
    Speed {
        /// Deals to make up.
        #[arg(long, default_value_t = 100_000)]
        deals: usize,
    },
    /// Fit and measure every public set below a folder; prints the Markdown tables of docs/MODELS.md.
    #[cfg(feature = "training")]
    #[command(after_help = "Example:\n  revgauge models suite ./datasets --only maven")]
    Suite {
        /// The folder that holds the public sets.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Measure only the sets whose name holds this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Print the story once and end with 0.
    #[arg(long)]
    pub(crate) once: bool,
    /// Companies to simulate.
    #[arg(long, default_value_t = 160)]
    pub(crate) accounts: u32,
    /// Days of history; the default leaves four whole quarters for forecasts to have been right or wrong about.
    #[arg(long, default_value_t = 480)]
    pub(crate) days: u32,
    /// Live events a second after the history.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) rate: f64,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    pub(crate) listen: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Files or folders.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// A shipped mapping's name or a mapping file; `events` is our own schema.
    #[arg(long, short, default_value = "events")]
    pub(crate) mapping: String,
    /// Show the first events and every problem, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Rows shown by a dry run.
    #[arg(long, default_value_t = 5)]
    pub(crate) show: usize,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// About how many events (sets the number of accounts).
    #[arg(long)]
    pub(crate) events: Option<u64>,
    /// Companies, when --events is not given.
    #[arg(long, default_value_t = 120)]
    pub(crate) accounts: u32,
    /// Days to cover.
    #[arg(long, default_value_t = 180)]
    pub(crate) days: u32,
    /// Same seed, same events.
    #[arg(long, default_value_t = 20_261_120)]
    pub(crate) seed: u64,
    /// First day; by default the days end today.
    #[arg(long)]
    pub(crate) start: Option<String>,
    /// File to write: .ndjson, .ndjson.gz or .parquet; `-` is standard output.
    #[arg(long, default_value = "-", conflicts_with = "to")]
    pub(crate) out: String,
    /// Server to stream to as live events, as if they happened now.
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Events a second when streaming.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// Seconds to stream; without it the stream goes on until Ctrl-C.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The SQL text; `-` reads it from standard input.
    pub(crate) sql: String,
    /// Answer format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportsCommand {
    /// What there is: name and question of each.
    #[command(after_help = "Example:\n  revgauge reports list")]
    List,
    /// The rows of one.
    #[command(after_help = "Example:\n  revgauge reports run pipeline_by_stage --format csv")]
    Run {
        /// Name, as `reports list` gives it.
        name: String,
        /// Answer format.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Keep a report and send it by a schedule: to mail addresses, a webhook or a file.
    #[command(
        after_help = "Example:\n  revgauge reports schedule pipeline_by_stage --cron '0 7 * * 1' --timezone Europe/Berlin --mail mo@acme.io\n  revgauge reports schedule --title 'Big deals' --sql 'SELECT name, amount FROM deals WHERE amount > 50000' --cron '0 7 * * *' --webhook https://example.com/hook"
    )]
    Schedule(ScheduleArgs),
    /// The reports that people keep: where they go, when next.
    #[command(after_help = "Example:\n  revgauge reports saved")]
    Saved,
    /// How the deliveries of one went.
    #[command(after_help = "Example:\n  revgauge reports deliveries 4f1d0c9a7b3e2d11")]
    Deliveries {
        /// Id, as `reports saved` gives it.
        id: String,
    },
    /// Deliver one now, beside its schedule.
    #[command(after_help = "Example:\n  revgauge reports send 4f1d0c9a7b3e2d11")]
    Send {
        /// Id, as `reports saved` gives it.
        id: String,
    },
    /// Forget one and its deliveries.
    #[command(after_help = "Example:\n  revgauge reports remove 4f1d0c9a7b3e2d11")]
    Remove {
        /// Id, as `reports saved` gives it.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// Name of a standard report; or give --sql.
    #[arg(conflicts_with = "sql", required_unless_present = "sql")]
    pub(crate) name: Option<String>,
    /// One SELECT of your own.
    #[arg(long, requires = "title")]
    pub(crate) sql: Option<String>,
    /// Title; a standard report brings its own.
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Minute, hour, day of month, month, day of week.
    #[arg(long)]
    pub(crate) cron: String,
    /// Time zone of the pattern.
    #[arg(long, default_value = "UTC")]
    pub(crate) timezone: String,
    /// Where to.
    #[command(flatten)]
    pub(crate) target: ScheduleTarget,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ScheduleTarget {
    /// Mail addresses, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub(crate) mail: Vec<String>,
    /// Address that takes signed JSON.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// CSV files under `reports/files/` of the store.
    #[arg(long)]
    pub(crate) file: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Entity {
    /// A person.
    Contact,
    /// A company.
    Account,
    /// An opportunity.
    Deal,
}

#[derive(Debug, Args)]
pub(crate) struct ScoresArgs {
    /// What kind of entity.
    pub(crate) entity: Entity,
    /// One entity's id (or mail address, or domain); without it the best are listed.
    pub(crate) id: Option<String>,
    /// Score to list by.
    #[arg(long)]
    pub(crate) score: Option<String>,
    /// As known at an instant.
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// How many to list.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BacktestSuite {
    /// Monthly and quarterly series of the M3 competition.
    M3,
    /// Quarters of simulated organisations, whose latents give the floor of every forecast.
    Simulator,
    /// Deciles and tiers of simulated organisations' scores against what happened later.
    Scores,
}

#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    /// The folder that holds the public sets; the suite m3 needs it.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// What to measure.
    #[arg(long, value_enum, default_value_t = BacktestSuite::M3)]
    pub(crate) suite: BacktestSuite,
    /// Suites simulator and scores: organisations.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) seeds: u32,
    /// Seed of the first organisation; the others follow.
    #[arg(long, default_value_t = 1)]
    pub(crate) first_seed: u64,
    /// Companies of each organisation.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) accounts: u32,
    /// Sales people of each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) reps: u32,
    /// Years of each; the first, of scores the first half, is learnt from and not judged.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=20))]
    pub(crate) years: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ForecastArgs {
    /// 2026-Q4, 2026-11, 2026-H2, 2026, current, next or previous; the current quarter by default.
    #[arg(long)]
    pub(crate) period: Option<String>,
    /// With what was known at an instant.
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
    /// Only deals of this owner; may be repeated.
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Vec<String>,
    /// Only deals of this person and everyone below.
    #[arg(long, value_name = "USER")]
    pub(crate) team_of: Option<String>,
    /// Only this sales pipeline.
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Quota of the period, instead of those stored.
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) quota: Option<f64>,
    /// Tell all amounts in this currency, by the rate of each deal's day.
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<String>,
    /// How good the forecasts of the periods before were, by elapsed share, method, team and person.
    #[arg(long, conflicts_with_all = ["what_if", "owner", "pipeline", "quota"])]
    pub(crate) accuracy: bool,
    /// The forecast of each team and person, each with its own range; what stands below a node sums to it.
    #[arg(long, conflicts_with_all = ["what_if", "accuracy"])]
    pub(crate) by_node: bool,
    /// See a deal otherwise: deal-7=0.9 or deal-7=0.9@12000; may be repeated. Nothing stored changes.
    #[arg(long, value_name = "DEAL=PROBABILITY[@AMOUNT]")]
    pub(crate) what_if: Vec<String>,
    /// Rows of the math to print.
    #[arg(long, default_value_t = 12)]
    pub(crate) rows: usize,
}

#[derive(Debug, Args)]
pub(crate) struct BriefingArgs {
    /// Changes since this instant; one day ago by default.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// json, markdown or html.
    #[arg(long, default_value = "markdown")]
    pub(crate) format: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// What kind of entity.
    pub(crate) entity: Entity,
    /// Its id, mail address or domain.
    pub(crate) id: String,
    /// Explain the score as known at an instant.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    pub(crate) as_of: Option<String>,
    /// Explain the change since this instant.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// End of the change; now by default.
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelinesCommand {
    /// Every pipeline, what it keeps and for whom.
    #[command(after_help = "Example:\n  revgauge pipelines list")]
    List,
    /// One pipeline: its SQL, where it is cut, what its state holds.
    #[command(after_help = "Example:\n  revgauge pipelines explain contact_engagement")]
    Explain {
        /// Pipeline name.
        name: String,
    },
    /// Recompute every pipeline as a batch query over the lake and compare row for row.
    #[command(after_help = "Example:\n  revgauge pipelines verify")]
    Verify,
    /// Run layer 1 on an Arroyo cluster, or print the program for it.
    #[command(
        after_help = "Example:\n  revgauge pipelines deploy --dry-run contact_engagement > program.sql\n  revgauge pipelines deploy --to http://127.0.0.1:5115 --brokers kafka:9092"
    )]
    Deploy(DeployArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Arroyo's API.
    #[arg(long, value_name = "URL", required_unless_present = "dry_run")]
    pub(crate) to: Option<String>,
    /// Print the program instead of submitting it.
    #[arg(long, conflicts_with = "to")]
    pub(crate) dry_run: bool,
    /// Pipelines; all by default.
    pub(crate) names: Vec<String>,
    /// Name of the program there.
    #[arg(long, default_value = "revgauge")]
    pub(crate) name: String,
    /// Key of Arroyo's API, where it asks for one.
    #[arg(long, env = "REVGAUGE_ARROYO_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// What carries events in and statistics out.
    #[arg(long, value_enum, default_value_t = Broker::Kafka)]
    pub(crate) connector: Broker,
    /// Kafka's `host:port` list (by default the setting `server.arroyo_brokers`), or Fluvio's controller.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Before each table's name to make its topic's.
    #[arg(long, default_value = "revgauge.")]
    pub(crate) topic_prefix: String,
    /// Parallel tasks of each operator.
    #[arg(long, default_value_t = 1)]
    pub(crate) parallelism: u32,
    /// Stop a running program of that name and another text, then start this one.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Longest wait for it to stop or run.
    #[arg(long, default_value_t = 120)]
    pub(crate) wait_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broker {
    /// Kafka topics.
    Kafka,
    /// Fluvio topics.
    Fluvio,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DefinitionsCommand {
    /// Every configured definition with its version and fingerprint; a server puts them in force when it starts.
    #[command(after_help = "Example:\n  revgauge definitions list")]
    List,
    /// The text of one definition, as configured or as in force at an instant.
    #[command(
        after_help = "Example:\n  revgauge definitions show engagement > definitions/engagement.toml\n  revgauge definitions show engagement --as-of 2026-03-01"
    )]
    Show {
        /// Definition name.
        name: String,
        /// The text in force at an instant.
        #[arg(long, value_name = "TIME")]
        as_of: Option<String>,
    },
    /// What differs, key by key: what is configured from what ships, or between two instants.
    #[command(
        after_help = "Example:\n  revgauge definitions diff\n  revgauge definitions diff engagement --from 2026-03-01 --to 2026-04-01"
    )]
    Diff {
        /// Definition name; all by default.
        name: Option<String>,
        /// Compare what was in force at this instant.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// With what was in force at this one; with what is configured by default.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
    },
    /// Which version was in force from when to when.
    #[command(after_help = "Example:\n  revgauge definitions history engagement")]
    History {
        /// Definition name; all by default.
        name: Option<String>,
    },
    /// Check a file or folder of definitions; nothing is changed.
    #[command(after_help = "Example:\n  revgauge definitions validate ./definitions")]
    Validate {
        /// File or folder.
        path: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key for the tenant; it is shown once.
    #[command(
        after_help = "Example:\n  revgauge keys create --role service --name 'CRM sync' --expires-in-days 90"
    )]
    Create {
        /// What the key may do.
        #[arg(long, value_enum, default_value_t = KeyRole::Admin)]
        role: KeyRole,
        /// A name to know it by.
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// Days until it expires; without it, never.
        #[arg(long)]
        expires_in_days: Option<u32>,
        #[command(flatten)]
        whom: Whom,
        /// Narrow the key to a part of what its role may do; may be given several times.
        #[arg(long = "scope", value_enum)]
        scopes: Vec<KeyScope>,
        /// Requests a second the key may make; without it, the setting `api.http.requests_per_second`.
        #[arg(long)]
        requests_per_second: Option<u32>,
    },
    /// Make a successor of a key, with the same role and rights; the old one stops after the grace period.
    #[command(
        after_help = "Example:\n  revgauge keys rotate Ncyt67mbdmAh --grace-seconds 3600   # both work for an hour"
    )]
    Rotate {
        /// The old key's public id.
        key_id: String,
        /// How long both keys work, seconds.
        #[arg(long, default_value_t = 86_400)]
        grace_seconds: u32,
    },
    /// The tenant's keys, without their secrets.
    #[command(after_help = "Example:\n  revgauge keys list")]
    List,
    /// End a key at once.
    #[command(after_help = "Example:\n  revgauge keys revoke Ncyt67mbdmAh   # the id that `keys list` shows")]
    Revoke {
        /// The key's public id.
        key_id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// Everything of the tenant.
    Admin,
    /// Reads the records of its people.
    Manager,
    /// Reads its own records.
    Rep,
    /// Reads everything of the tenant, without the words of conversations.
    Revops,
    /// Sends events, reads scores and feeds.
    Service,
}

/// Whom a key or user stands for: decides which records a rep or manager sees.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Whom {
    /// Id of the CRM user it stands for; a rep needs one.
    #[arg(long)]
    pub(crate) user_id: Option<String>,
    /// Team whose records a manager sees.
    #[arg(long)]
    pub(crate) team: Option<String>,
    /// Territory whose records a manager sees.
    #[arg(long)]
    pub(crate) territory: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyScope {
    /// Send events.
    Ingest,
    /// Read records, scores, alerts and reports.
    Read,
    /// Ask in SQL.
    Sql,
    /// Read the score feed.
    Feed,
    /// Keys, users, replays, erasure, audit log.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PrivacyCommand {
    /// Print all data of one contact, or write all of the tenant's tables to a folder.
    #[command(after_help = "Example:\n  revgauge privacy export --subject jo@example.com > jo.json")]
    Export {
        /// An id or mail address of the contact.
        #[arg(long)]
        subject: Option<String>,
        /// Folder for one NDJSON file a table: the whole tenant.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Take a contact out of everything that is stored, and look through all of it afterwards. While a server runs on
    /// the store, the erasure waits for its next start.
    #[command(after_help = "Example:\n  revgauge privacy erase --subject jo@example.com --also 'Jo Doe'")]
    Erase {
        /// An id or mail address of the contact.
        #[arg(long)]
        subject: String,
        /// Further text that is the person's wherever it stands; may be given several times.
        #[arg(long)]
        also: Vec<String>,
    },
    /// Take the words of texts past their retention out of everything that is stored. Needs the server stopped.
    #[command(after_help = "Example:\n  revgauge privacy retain")]
    Retain,
    /// Erasures that wait, and reports of those carried out.
    #[command(after_help = "Example:\n  revgauge privacy status")]
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Make a user of the tenant. The password is read from the first line of standard input.
    #[command(after_help = "Example:\n  revgauge users create --role manager --login mo@example.com")]
    Create {
        /// What the person may do.
        #[arg(long, value_enum, default_value_t = PersonRole::Revops)]
        role: PersonRole,
        /// What the person types to sign in: a mail address or a short name.
        #[arg(long)]
        login: String,
        #[command(flatten)]
        whom: Whom,
    },
    /// The tenant's users.
    #[command(after_help = "Example:\n  revgauge users list")]
    List,
    /// End a user; its open sessions end at their next request.
    #[command(after_help = "Example:\n  revgauge users end mo@example.com")]
    End {
        /// The name the person signs in with.
        login: String,
    },
    /// Print a link that signs its first visitor in as administrator, once. Needs a running server.
    #[command(after_help = "Example:\n  revgauge users link")]
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PersonRole {
    /// Everything of the tenant, keys and users included.
    Admin,
    /// Reads the records of its people, answers suggestions.
    Manager,
    /// Reads its own records, answers suggestions.
    Rep,
    /// Reads everything of the tenant, without the words of conversations.
    Revops,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// The newest refused events.
    #[command(after_help = "Example:\n  revgauge dead-letters list --limit 20")]
    List {
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Send them through the door again; the ones that are taken leave the list.
    #[command(after_help = "Example:\n  revgauge dead-letters replay")]
    Replay {
        /// At most so many.
        #[arg(long, default_value_t = 10_000)]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print every setting with the value in force.
    #[arg(long)]
    pub(crate) settings: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Durable events a second over loopback HTTP, NDJSON batches of 500.
    #[command(after_help = "Example:\n  revgauge bench ingest --events 2000000")]
    Ingest {
        /// Events to send.
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// Connections.
        #[arg(long, default_value_t = 8)]
        connections: usize,
    },
    /// Event acknowledged to score readable by REST, at a sustained rate.
    #[command(after_help = "Example:\n  revgauge bench latency --rate 20000 --seconds 30")]
    Latency {
        /// Events a second.
        #[arg(long, default_value_t = 20_000)]
        rate: u64,
        /// Seconds.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Import of Parquet, memory with the state loaded, and restart with and without checkpoints.
    #[command(after_help = "Example:\n  revgauge bench restart --events 1000000 --contacts 100000")]
    Restart {
        /// Events.
        #[arg(long, default_value_t = 10_000_000)]
        events: u64,
        /// Contacts they are spread over.
        #[arg(long, default_value_t = 1_000_000)]
        contacts: u64,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    fn each_shows_an_example(command: &clap::Command) {
        for inner in command.get_subcommands() {
            let help = inner
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example:\n  revgauge "),
                "{}: {help}",
                inner.get_name()
            );
            each_shows_an_example(inner);
        }
    }

    #[test]
    fn every_command_is_well_formed_and_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        each_shows_an_example(&command);
    }
}
