//! Do the scores rank what happens later? Deciles and tiers of simulated organisations, scored as of the past.
//!
//! Each organisation goes through a server's doors; its scores are asked by SQL as of month after month
//! (`scores_as_of`), and compared with the deals won and the meetings held in the ninety days after.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use revgauge_connectors::generator::{GeneratorConfig, Organisation};
use revgauge_contract::{Timestamp, time::DAY_US};
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
/// The first day of every organisation, so that a seed gives the same organisation on every day of the run.
const START: &str = "2023-01-01T00:00:00Z";

/// How many were scored, their scores' sum, won and met.
#[derive(Debug, Default, Clone, Copy)]
struct Group {
    count: f64,
    score: f64,
    won: f64,
    met: f64,
}

/// What is counted over the instants of an organisation, or of several.
#[derive(Debug, Default, Clone)]
struct Counted {
    engagement: [Group; GROUPS],
    intent: [Group; GROUPS],
    tiers: BTreeMap<String, Group>,
    instants: u32,
}

/// Outcomes by id, sorted.
type Instants = HashMap<String, Vec<Timestamp>>;

/// Lets the organisations live, asks their scores, compares. Cost: a server's life an organisation, as many at once as
/// there are processors; about 25 seconds of a processor each.
pub(super) async fn measure(context: &Context, args: &BacktestArgs) -> Result<Value> {
    let seeds = args.first_seed..args.first_seed.saturating_add(u64::from(args.seeds));
    let at_once = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let counted: Vec<Counted> = futures::stream::iter(seeds)
        .map(|seed| organisation(context, args, seed))
        .buffered(at_once)
        .try_collect()
        .await?;
    Ok(shown(&counted))
}

async fn organisation(context: &Context, args: &BacktestArgs, seed: u64) -> Result<Counted> {
    let config = GeneratorConfig {
        seed,
        accounts: args.accounts,
        reps: args.reps,
        days: args.years * 365,
        start: START.parse()?,
        ..GeneratorConfig::default()
    };
    let folder = std::env::temp_dir().join(format!("revgauge-backtest-{}-{seed}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut settings = context.settings.clone();
    settings.store.url = folder.display().to_string();
    settings.server.listen = "127.0.0.1:0".to_owned();
    settings.api.sql.timeout_ms = settings.api.sql.max_timeout_ms;
    settings.api.postgres.enabled = false;
    settings.api.flight.enabled = false;
    let server = Server::start(&settings).await?;
    let mut counted = Counted::default();
    let outcome = live(&server, config, &mut counted).await;
    let closed = server.stop().await;
    std::fs::remove_dir_all(&folder)?;
    outcome.and(closed)?;
    Ok(counted)
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
        "WITH met AS (SELECT contact_id, event_time FROM events WHERE type = 'meeting.attended' AND contact_id IS NOT NULL) \
         SELECT contact_id AS id, event_time AS at FROM met UNION ALL \
         SELECT c.account_id AS id, m.event_time AS at FROM met m JOIN contacts c ON c.contact_id = m.contact_id \
         WHERE c.account_id IS NOT NULL",
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
             AND entity_kind IN ('contact', 'account') \
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

/// Sum of squared distances below which values differ by rounding alone.
const ROUNDING: f64 = 1e-20;

/// Pearson's correlation of mean score and close rate over the groups; none where one of them is the same in all.
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
    (xx > ROUNDING && yy > ROUNDING).then(|| xy / (xx * yy).sqrt())
}

impl Counted {
    fn with(mut self, other: &Self) -> Self {
        let pairs = [
            (&mut self.engagement, &other.engagement),
            (&mut self.intent, &other.intent),
        ];
        for (to, from) in pairs {
            to.iter_mut().zip(from).for_each(|(to, one)| add(to, *one));
        }
        for (tier, one) in &other.tiers {
            add(self.tiers.entry(tier.clone()).or_default(), *one);
        }
        self.instants += other.instants;
        self
    }
}

/// A number over all organisations with its standard error, by leaving each out in turn (jackknife):
/// `sqrt((n - 1) / n * sum((without_i - mean)^2))`. Rows of one organisation depend on each other, so they count as one.
fn with_error(all: &[Counted], number: impl Fn(&Counted) -> Option<f64>) -> (Option<f64>, Option<f64>) {
    let sum = |left_out: Option<usize>| {
        let kept = all
            .iter()
            .enumerate()
            .filter(|(place, _)| Some(*place) != left_out);
        kept.fold(Counted::default(), |sum, (_, one)| sum.with(one))
    };
    let without: Option<Vec<f64>> = (0..all.len()).map(|place| number(&sum(Some(place)))).collect();
    let error = without.filter(|without| without.len() > 1).map(|without| {
        let count = without.len() as f64;
        let mean = without.iter().sum::<f64>() / count;
        let squares: f64 = without.iter().map(|one| (one - mean).powi(2)).sum();
        (squares * (count - 1.0) / count).sqrt()
    });
    (number(&sum(None)), error)
}

fn shown(all: &[Counted]) -> Value {
    type Deciles = fn(&Counted) -> &[Group; GROUPS];
    let group = |name: String, find: &dyn Fn(&Counted) -> Group| {
        let share = |part: fn(&Group) -> f64| {
            let (value, error) = with_error(all, |counted| {
                let group = find(counted);
                (group.count > 0.0).then(|| part(&group) / group.count)
            });
            (value.unwrap_or(0.0), error)
        };
        let (won, met) = (share(|group| group.won), share(|group| group.met));
        json!({
            "group": name, "scored": all.iter().map(|one| find(one).count).sum::<f64>(),
            "mean_score": share(|group| group.score).0, "won_90_days": won.0, "won_error": won.1,
            "met_90_days": met.0, "met_error": met.1,
        })
    };
    let deciles = |of: Deciles| {
        let (found, error) = with_error(all, |counted| correlation(of(counted)));
        let deciles: Vec<Value> = (0..GROUPS)
            .map(|place| group((place + 1).to_string(), &|counted| of(counted)[place]))
            .collect();
        json!({"correlation": found, "error": error, "deciles": deciles})
    };
    let whole = all.iter().fold(Counted::default(), Counted::with);
    let tiers: Vec<Value> = whole
        .tiers
        .keys()
        .map(|tier| {
            group(tier.clone(), &|counted| {
                counted.tiers.get(tier).copied().unwrap_or_default()
            })
        })
        .collect();
    json!({
        "organisations": all.len(), "instants": whole.instants,
        "engagement": deciles(|counted| &counted.engagement), "intent": deciles(|counted| &counted.intent), "tiers": tiers,
    })
}

/// The Markdown tables of what [`measure`] gave.
pub(super) fn table(measured: &Value) -> String {
    let mut text = String::new();
    for score in ["engagement", "intent"] {
        let (found, error) = (&measured[score]["correlation"], &measured[score]["error"]);
        text += &format!(
            "{score}: correlation of the deciles' mean score with their close rate {}\n\n",
            within(found, error, 1.0, 3, "")
        );
        text += &groups("decile", &measured[score]["deciles"]);
    }
    text + &groups("tier", &measured["tiers"])
}

/// A number with its standard error, where there is one.
fn within(value: &Value, error: &Value, scale: f64, digits: usize, unit: &str) -> String {
    let Some(value) = value.as_f64() else {
        return "none".to_owned();
    };
    let error = error
        .as_f64()
        .map(|error| format!(" ± {:.digits$}", scale * error));
    format!("{:.digits$}{}{unit}", scale * value, error.unwrap_or_default())
}

fn groups(name: &str, all: &Value) -> String {
    let mut text = format!(
        "| {name} | scored | mean score | won within 90 days | meeting within 90 days |\n|---|---|---|---|---|\n"
    );
    for group in all.as_array().into_iter().flatten() {
        text += &format!(
            "| {} | {:.0} | {:.3} | {} | {} |\n",
            group["group"].as_str().unwrap_or_default(),
            group["scored"].as_f64().unwrap_or_default(),
            group["mean_score"].as_f64().unwrap_or_default(),
            within(&group["won_90_days"], &group["won_error"], 100.0, 1, " %"),
            within(&group["met_90_days"], &group["met_error"], 100.0, 1, " %"),
        );
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An organisation whose decile `place` scores `place` and wins `rates[place]` of a hundred.
    fn organisation(rates: [f64; GROUPS]) -> Counted {
        Counted {
            engagement: std::array::from_fn(|place| Group {
                count: 100.0,
                score: 100.0 * place as f64,
                won: rates[place],
                met: 0.0,
            }),
            instants: 1,
            ..Counted::default()
        }
    }

    #[test]
    fn correlation_is_of_what_all_organisations_say_together() {
        let rising = organisation(std::array::from_fn(|place| place as f64));
        assert!((correlation(&rising.engagement).expect("found") - 1.0).abs() < 1e-12);
        let falling = organisation(std::array::from_fn(|place| 9.0 - place as f64));
        let none = correlation(&rising.clone().with(&falling).engagement);
        assert_eq!(none, None, "a flat close rate has no correlation");
        let (value, error) = with_error(&[rising.clone(), rising.clone(), rising], |counted| {
            correlation(&counted.engagement)
        });
        assert!((value.expect("found") - 1.0).abs() < 1e-12);
        assert!(
            error.expect("three organisations") < 1e-9,
            "organisations that agree leave no error"
        );
    }

    #[test]
    fn the_error_of_a_share_is_that_of_a_mean_of_organisations() {
        // Shares 1, 2 and 6 %: mean 3 %, standard error sqrt(((1-3)^2 + (2-3)^2 + (6-3)^2) / 2 / 3) = 1.5275 %.
        let all: Vec<Counted> = [1.0, 2.0, 6.0]
            .into_iter()
            .map(|rate| organisation([rate; GROUPS]))
            .collect();
        let (value, error) = with_error(&all, |counted| {
            Some(counted.engagement[4].won / counted.engagement[4].count)
        });
        assert!((value.expect("a share") - 0.03).abs() < 1e-12);
        assert!((error.expect("an error") - (14.0_f64 / 6.0).sqrt() / 100.0).abs() < 1e-12);
    }
}
