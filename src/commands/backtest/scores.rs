//! Do the scores rank what happens later? Deciles and tiers of simulated organisations, scored as of the past.
//!
//! Each organisation goes through a server's doors; its scores are asked by SQL as of month after month
//! (`scores_as_of`), and compared with the deals won and the meetings held in the ninety days after.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use revgauge_connectors::generator::{GeneratorConfig, Organisation};
use revgauge_contract::{Clock, Timestamp, time::DAY_US, time::SystemClock};
use serde_json::{Value, json};

use crate::{
    cli::BacktestArgs,
    commands::{
        Client, Context,
        demo::{send_history, settle},
    },
    doors::operator_key,
    serve::Server,
};

/// Days within which an outcome counts.
const HORIZON_DAYS: i64 = 90;
/// Days before the first instant: scores need a past.
const LEARNING_DAYS: i64 = 180;
/// Days between the instants scores are asked at.
const STEP_DAYS: i64 = 30;
/// Groups of equal size that scores are ranked into.
const GROUPS: usize = 10;
const TENANT: &str = "simulated";

/// How many were scored, their scores' sum, won and met.
#[derive(Debug, Default, Clone, Copy)]
struct Group {
    count: f64,
    score: f64,
    won: f64,
    met: f64,
}

/// What is counted over all organisations and instants.
#[derive(Debug, Default)]
struct Counted {
    engagement: [Group; GROUPS],
    intent: [Group; GROUPS],
    tiers: BTreeMap<String, Group>,
    instants: u32,
}

/// Outcomes by id, sorted.
type Instants = HashMap<String, Vec<Timestamp>>;

/// Lets the organisations live, asks their scores, compares. Cost: a server's life an organisation, minutes in all.
pub(super) async fn measure(context: &Context, args: &BacktestArgs) -> Result<Value> {
    let mut counted = Counted::default();
    for seed in args.first_seed..args.first_seed.saturating_add(u64::from(args.seeds)) {
        let config = GeneratorConfig {
            seed,
            accounts: args.accounts,
            reps: args.reps,
            days: args.years * 365,
            ..GeneratorConfig::default()
        }
        .ending_before(SystemClock.now());
        let folder = std::env::temp_dir().join(format!("revgauge-backtest-{}-{seed}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut settings = context.settings.clone();
        settings.store.url = folder.display().to_string();
        settings.server.listen = "127.0.0.1:0".to_owned();
        settings.api.sql.timeout_ms = settings.api.sql.max_timeout_ms;
        let server = Server::start(&settings).await?;
        let outcome = live(&server, config, &mut counted).await;
        let closed = server.stop().await;
        std::fs::remove_dir_all(&folder)?;
        outcome.and(closed)?;
    }
    Ok(shown(&counted))
}

async fn live(server: &Server, config: GeneratorConfig, counted: &mut Counted) -> Result<()> {
    let client = Client::network(
        server.url(),
        operator_key(server.node().operator_secret(), TENANT),
    )?;
    let (start, days) = (config.start, i64::from(config.days));
    send_history(&client, &mut Organisation::new(config)?).await?;
    settle(server).await?;
    let won = instants(
        &client,
        "SELECT account_id AS id, closed_at AS at FROM deals WHERE status = 'won' AND closed_at IS NOT NULL",
    )
    .await?;
    let met = instants(
        &client,
        "SELECT contact_id AS id, event_time AS at FROM events WHERE type = 'meeting.attended' AND contact_id IS NOT NULL",
    )
    .await?;
    let mut day = LEARNING_DAYS;
    while day + HORIZON_DAYS <= days {
        let at = start.plus_micros(day * DAY_US);
        count(&client, at, &won, &met, counted).await?;
        counted.instants += 1;
        day += STEP_DAYS;
    }
    Ok(())
}

async fn instants(client: &Client, sql: &str) -> Result<Instants> {
    let mut all = Instants::new();
    for row in client.sql(sql).await?.rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let at = text("at")
            .parse()
            .with_context(|| format!("cannot read the instant '{}' of {}", text("at"), text("id")))?;
        all.entry(text("id").to_owned()).or_default().push(at);
    }
    Ok(all)
}

/// Scores at one instant, ranked, with what came after.
async fn count(
    client: &Client,
    at: Timestamp,
    won: &Instants,
    met: &Instants,
    counted: &mut Counted,
) -> Result<()> {
    let rows = client
        .sql(&format!(
            "SELECT entity_kind, entity_id, account_id, score, value, tier FROM scores_as_of('{at}') WHERE value IS NOT NULL \
             AND (entity_kind = 'contact' AND score IN ('engagement', 'priority') OR entity_kind = 'account' AND score = 'intent')"
        ))
        .await?;
    let until = at.plus_micros(HORIZON_DAYS * DAY_US);
    let within = |all: &Instants, id: &str| {
        let came = all
            .get(id)
            .into_iter()
            .flatten()
            .any(|when| at < *when && *when <= until);
        f64::from(u8::from(came))
    };
    let mut ranked: BTreeMap<&str, Vec<Group>> = BTreeMap::new();
    for row in &rows.rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let account = if text("entity_kind") == "account" {
            text("entity_id")
        } else {
            text("account_id")
        };
        let one = Group {
            count: 1.0,
            score: row.get("value").and_then(Value::as_f64).unwrap_or_default(),
            won: within(won, account),
            met: within(met, text("entity_id")),
        };
        match text("score") {
            "priority" => add(counted.tiers.entry(text("tier").to_owned()).or_default(), one),
            "engagement" => ranked.entry("engagement").or_default().push(one),
            _ => ranked.entry("intent").or_default().push(one),
        }
    }
    for (score, mut all) in ranked {
        all.sort_by(|a, b| a.score.total_cmp(&b.score));
        let groups = if score == "engagement" {
            &mut counted.engagement
        } else {
            &mut counted.intent
        };
        let count = all.len();
        for (place, one) in all.into_iter().enumerate() {
            add(&mut groups[place * GROUPS / count], one);
        }
    }
    Ok(())
}

fn add(to: &mut Group, one: Group) {
    to.count += one.count;
    to.score += one.score;
    to.won += one.won;
    to.met += one.met;
}

/// Pearson's correlation of mean score and close rate over the groups.
fn correlation(groups: &[Group]) -> Option<f64> {
    let points: Vec<(f64, f64)> = groups
        .iter()
        .filter(|group| group.count > 0.0)
        .map(|group| (group.score / group.count, group.won / group.count))
        .collect();
    let n = points.len() as f64;
    let mean = points.iter().fold((0.0, 0.0), |sum, point| {
        (sum.0 + point.0 / n, sum.1 + point.1 / n)
    });
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        xx += (x - mean.0).powi(2);
        yy += (y - mean.1).powi(2);
        xy += (x - mean.0) * (y - mean.1);
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

fn shown(counted: &Counted) -> Value {
    let group = |name: String, group: &Group| {
        let share = |part: f64| {
            if group.count > 0.0 {
                part / group.count
            } else {
                0.0
            }
        };
        json!({
            "group": name, "scored": group.count, "mean_score": share(group.score), "won_90_days": share(group.won),
            "met_90_days": share(group.met),
        })
    };
    let deciles = |groups: &[Group]| {
        json!({
            "correlation": correlation(groups),
            "deciles": groups.iter().enumerate().map(|(place, one)| group((place + 1).to_string(), one)).collect::<Vec<_>>(),
        })
    };
    json!({
        "instants": counted.instants, "engagement": deciles(&counted.engagement), "intent": deciles(&counted.intent),
        "tiers": counted.tiers.iter().map(|(tier, one)| group(tier.clone(), one)).collect::<Vec<_>>(),
    })
}

/// The Markdown tables of what [`measure`] gave.
pub(super) fn table(measured: &Value) -> String {
    let mut text = String::new();
    for score in ["engagement", "intent"] {
        text += &format!(
            "{score}: correlation of the deciles' mean score with their close rate {:.3}\n\n",
            measured[score]["correlation"].as_f64().unwrap_or_default()
        );
        text += &groups("decile", &measured[score]["deciles"]);
    }
    text + &groups("tier", &measured["tiers"])
}

fn groups(name: &str, all: &Value) -> String {
    let mut text = format!(
        "| {name} | scored | mean score | won within 90 days | meeting within 90 days |\n|---|---|---|---|---|\n"
    );
    for group in all.as_array().into_iter().flatten() {
        let number = |name: &str| group[name].as_f64().unwrap_or_default();
        text += &format!(
            "| {} | {:.0} | {:.3} | {:.1} % | {:.1} % |\n",
            group["group"].as_str().unwrap_or_default(),
            number("scored"),
            number("mean_score"),
            100.0 * number("won_90_days"),
            100.0 * number("met_90_days"),
        );
    }
    text + "\n"
}
