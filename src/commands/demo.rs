//! `revgauge demo`: a simulated organisation through the real doors, and what its people would see.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use revgauge_connectors::generator::{GeneratorConfig, Organisation, write_ndjson};
use revgauge_contract::{
    Clock,
    event::EventDraft,
    time::{DAY_US, SystemClock},
};
use serde_json::{Value, json};

use super::{Client, Context, client::Rows, forecast, scores::quoted, simulate::LiveStream};
use crate::{
    cli::DemoArgs,
    doors::operator_key,
    output::{self, say},
    serve::Server,
    signals::Signals,
};

/// Events sent a request.
const BATCH_EVENTS: usize = 500;
/// Longest wait for scores to be up to date with what was sent.
const SETTLE: Duration = Duration::from_secs(60);
/// The tenant of the demo.
const TENANT: &str = "demo";

pub(crate) async fn run(mut context: Context, args: DemoArgs) -> Result<()> {
    let own_folder = context.common.store.is_none().then(tempfile_folder).transpose()?;
    if let Some(folder) = &own_folder {
        context.settings.store.url = folder.display().to_string();
    }
    context.common.tenant = TENANT.to_owned();
    context.settings.server.listen.clone_from(&args.listen);
    // One forest and no fits that only probe: the story should begin in seconds.
    context.settings.models.forests = 1;
    context.settings.models.probe_rows = 0;
    let mut signals = Signals::listen()?;
    let server = Server::start(&context.settings).await?;
    let outcome = tokio::select! {
        outcome = story(&server, &args, context.common.json) => outcome,
        // A terminal that is closed ends the demo too: nobody could end it any more.
        _ = signals.next() => Ok(()),
    };
    let closed = server.stop().await;
    if let Some(folder) = &own_folder {
        std::fs::remove_dir_all(folder)?;
    }
    outcome.and(closed)
}

/// A folder of the demo's own, removed at its end.
fn tempfile_folder() -> Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join(format!("revgauge-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

async fn story(server: &Server, args: &DemoArgs, json: bool) -> Result<()> {
    let operator = Client::network(
        server.url(),
        operator_key(server.node().operator_secret(), TENANT),
    )?;
    let made = operator
        .post("/v1/keys", &json!({"role": "admin", "name": "demo"}))
        .await?;
    let secret = made
        .get("secret")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let client = Client::network(server.url(), secret.clone())?;
    if !json {
        say!("Revgauge demo: server on {}  key {secret}", server.url());
    }

    let config = GeneratorConfig {
        accounts: args.accounts,
        days: args.days,
        reps: 6,
        // Many companies with little activity each: deals enough to learn from, in few events.
        contacts_per_account: 4.0,
        intensity: 0.6,
        ..GeneratorConfig::default()
    }
    .ending_before(SystemClock.now());
    let mut organisation = Organisation::new(config)?;
    let started = Instant::now();
    let sent = send_history(&client, &mut organisation).await?;
    let seconds = started.elapsed().as_secs_f64();
    let mut live = LiveStream::new(organisation, args.rate.max(0.0));
    for _ in 0..10 {
        send_live(&client, &mut live).await?;
        tokio::time::sleep(LiveStream::TICK).await;
    }
    if !json {
        say!(
            "\n{} events sent through HTTP: {} of the past in {seconds:.1} s, {} live",
            output::count(sent + live.sent),
            output::count(sent),
            output::count(live.sent),
        );
    }
    let live_sent = live.sent;
    settle(server).await?;
    let mut story = Story {
        json,
        sections: Vec::new(),
    };
    tell(&client, &mut story).await?;
    if json {
        say!(
            "{:#}",
            json!({
                "server": server.url(), "key": secret,
                "sent": {"past": sent, "past_seconds": seconds, "live": live_sent},
                "story": story.sections,
            })
        );
    }
    if args.once {
        return Ok(());
    }
    if json {
        return flow(&client, &mut live).await;
    }
    say!(
        "\nLive events flow at {} a second; Ctrl-C ends the demo. Try in another terminal:",
        args.rate
    );
    say!(
        "  revgauge --server {} --key {secret} query \"SELECT * FROM scores LIMIT 5\"",
        server.url()
    );
    let link = client.post("/v1/sign-in-links", &json!({})).await?;
    let path = link.get("path").and_then(Value::as_str).unwrap_or_default();
    say!(
        "\nThe dashboards, signed in (this link is good once):\n  {}{path}",
        server.url()
    );
    flow(&client, &mut live).await
}

/// Live events until the demo is stopped.
async fn flow(client: &Client, live: &mut LiveStream) -> Result<()> {
    let mut tick = tokio::time::interval(LiveStream::TICK);
    loop {
        tick.tick().await;
        send_live(client, live).await?;
    }
}

/// What is told: printed as it comes for people, gathered for programs.
struct Story {
    json: bool,
    sections: Vec<Value>,
}

impl Story {
    /// One answer with the SQL that gives it.
    fn section(&mut self, title: &str, sql: &str, rows: &Rows) {
        if self.json {
            self.sections
                .push(json!({"title": title, "sql": sql, "columns": rows.columns, "rows": rows.rows}));
        } else {
            say!("\n{title}\n{}\n  SQL: {sql}", rows.table());
        }
    }

    /// One answer in words with the request that gives it; programs get the whole answer.
    fn note(&mut self, title: &str, said: &str, rest: &str, answer: &Value) {
        if self.json {
            self.sections
                .push(json!({"title": title, "rest": rest, "model": answer}));
        } else {
            say!("\n{title}\n{said}\n  REST: {rest}");
        }
    }
}

pub(super) async fn send_history(client: &Client, organisation: &mut Organisation) -> Result<u64> {
    let bar = output::progress(None, "events");
    let (mut sent, mut waiting) = (0, Vec::new());
    let now = SystemClock.now();
    while let Some(day) = organisation.next_day() {
        // What was planned past now has not happened yet.
        waiting.extend(
            day.into_iter()
                .filter(|draft| draft.event_time.is_some_and(|at| at <= now)),
        );
        while waiting.len() >= BATCH_EVENTS {
            let batch: Vec<EventDraft> = waiting.drain(..BATCH_EVENTS).collect();
            sent += post(client, "/v1/events?verbose=false&history=true", &batch).await?;
            bar.set_position(sent);
        }
    }
    sent += post(client, "/v1/events?verbose=false&history=true", &waiting).await?;
    bar.finish_and_clear();
    Ok(sent)
}

async fn post(client: &Client, path: &str, batch: &[EventDraft]) -> Result<u64> {
    let mut body = Vec::with_capacity(batch.len() * 256);
    for draft in batch {
        write_ndjson(&mut body, draft)?;
    }
    if batch.is_empty() {
        return Ok(0);
    }
    let answer = client
        .send("POST", path, "application/x-ndjson", Bytes::from(body))
        .await?;
    if answer.status != 200 {
        bail!(
            "the door refused simulated events: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(batch.len() as u64)
}

async fn send_live(client: &Client, live: &mut LiveStream) -> Result<()> {
    let (body, count) = live.batch(SystemClock.now())?;
    if count > 0 {
        let answer = client
            .send("POST", "/v1/events?verbose=false", "application/x-ndjson", body)
            .await?;
        if answer.status != 200 {
            bail!(
                "the door refused live events: {}",
                String::from_utf8_lossy(&answer.body)
            );
        }
    }
    Ok(())
}

pub(super) async fn settle(server: &Server) -> Result<()> {
    let started = Instant::now();
    while !server.node().settled() {
        if started.elapsed() > SETTLE {
            bail!(
                "scores did not catch up with the events within {} s",
                SETTLE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What is shown, each with the SQL that gives it.
const STORY: &[(&str, &str)] = &[
    (
        "Who and what",
        "SELECT count(*) AS events, count(DISTINCT account_id) FILTER (WHERE type = 'account.upserted') AS companies, \
         count(DISTINCT contact_id) FILTER (WHERE type = 'contact.upserted') AS contacts, \
         count(DISTINCT deal_id) FILTER (WHERE type = 'deal.upserted') AS deals FROM events",
    ),
    (
        "Events in",
        "SELECT kind, count(*) AS events FROM events GROUP BY kind ORDER BY kind",
    ),
    (
        "How fresh",
        "SELECT source, max(event_time) AS newest_event, max(ingested_at) AS last_received, count(*) AS events \
         FROM events GROUP BY source ORDER BY source",
    ),
    (
        "Contacts by tier",
        "SELECT tier, count(*) AS contacts FROM scores WHERE entity_kind = 'contact' AND score = 'priority' \
         GROUP BY tier ORDER BY tier",
    ),
    (
        "Ten companies to call first, and whom there",
        "SELECT account, contact, name, priority, engagement, authority, tier, reasons FROM (\
         SELECT *, row_number() OVER (PARTITION BY coalesce(account, contact) \
         ORDER BY priority DESC, engagement DESC NULLS LAST, authority DESC NULLS LAST, contact) AS place FROM (\
         SELECT account_id AS account, entity_id AS contact, name, value AS priority, \
         json_get_float(facts, 'engagement') AS engagement, json_get_float(facts, 'authority') AS authority, tier, reasons \
         FROM scores WHERE entity_kind = 'contact' AND score = 'priority' AND value IS NOT NULL)) WHERE place = 1 \
         ORDER BY priority DESC, engagement DESC NULLS LAST, contact LIMIT 10",
    ),
    (
        "Five deals most at risk",
        "SELECT entity_id AS deal, name, value AS health, reasons FROM scores \
         WHERE entity_kind = 'deal' AND score = 'health' AND value IS NOT NULL ORDER BY value, entity_id LIMIT 5",
    ),
];

async fn tell(client: &Client, story: &mut Story) -> Result<()> {
    for (title, sql) in STORY {
        let rows = client.sql(sql).await?;
        story.section(title, sql, &rows);
        if rows.rows.is_empty() {
            bail!("the demo has no rows for '{title}'");
        }
    }
    tell_advice(client, story).await?;
    tell_model(client, story).await?;
    tell_forecast(client, story).await?;
    tell_change(client, story).await
}

/// A win model from the demo's own past, trained by the server as `revgauge train` asks it to, and whom it thinks likeliest.
/// Where the past is too short for one, the story says why and goes on.
async fn tell_model(client: &Client, story: &mut Story) -> Result<()> {
    let title = "The win model, trained from this history";
    let asked = client
        .post("/v1/models/deals/train", &json!({"promote": true}))
        .await;
    let rest = "POST /v1/models/deals/train {\"promote\": true}";
    let trained = match asked {
        Ok(answer) => answer["trained"].clone(),
        Err(why) => {
            story.note(
                title,
                &format!("no model yet: {why}"),
                rest,
                &json!({"why_not": why.to_string()}),
            );
            return Ok(());
        }
    };
    let (entry, held) = (&trained["entry"], &trained["entry"]["held_out"]);
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or_default();
    let text = |name: &str| trained[name].as_str().unwrap_or_default();
    let mut said = format!(
        "version {} from {} rows of deals, {} of them won: {}; {}",
        entry["version"],
        entry["rows"],
        entry["won"],
        text("choice"),
        text("promotion"),
    );
    if number(held, "rows") > 0.0 {
        said += &format!(
            "\non {} rows it had not seen: log-loss {:.3} (base rate alone {:.3}), AUC {:.2}, calibration error {:.3}",
            held["rows"],
            number(held, "log_loss"),
            number(held, "base_rate_log_loss"),
            number(held, "auc"),
            number(held, "calibration_error"),
        );
    }
    story.note(title, &said, rest, &trained);
    let sql = "SELECT entity_id AS deal, name, value AS probability, reasons FROM scores \
               WHERE entity_kind = 'deal' AND score = 'win_probability' AND value IS NOT NULL \
               ORDER BY probability DESC, deal LIMIT 5";
    let rows = client.sql(sql).await?;
    story.section("Five open deals most likely to be won", sql, &rows);
    Ok(())
}

/// The quarter's forecast with its range, the weights of the methods, and their accuracy beside its floor.
async fn tell_forecast(client: &Client, story: &mut Story) -> Result<()> {
    let answer = client.get("/v1/forecast?limit=1000").await?;
    let forecasts = answer.get("forecasts").and_then(Value::as_array);
    let Some(forecast) = forecasts.and_then(|all| all.first()) else {
        bail!("the demo has no forecast of the quarter");
    };
    let as_of = forecast["as_of"].as_str().unwrap_or_default();
    let sql = format!("SELECT * FROM forecast_as_of('{as_of}')");
    if story.json {
        story
            .sections
            .push(json!({"title": "The quarter", "rest": "/v1/forecast", "sql": sql, "forecast": forecast}));
    } else {
        say!(
            "\nThe quarter\n{}\n  REST: GET /v1/forecast\n  SQL: {sql}",
            forecast::page(forecast, 5)
        );
    }
    Ok(())
}

async fn tell_advice(client: &Client, story: &mut Story) -> Result<()> {
    let sql = "SELECT a.entity_id AS deal, a.rule, a.severity, a.message, a.advice FROM alerts a \
               JOIN (SELECT entity_id, value FROM scores WHERE entity_kind = 'deal' AND score = 'health' \
               AND value IS NOT NULL ORDER BY value, entity_id LIMIT 5) d ON a.entity_id = d.entity_id \
               WHERE a.entity_kind = 'deal' ORDER BY d.value, deal, \
               CASE a.severity WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, rule";
    let rows = client.sql(sql).await?;
    story.section("What to do about them", sql, &rows);
    Ok(())
}

/// The contact that moved most since a week ago, and why.
async fn tell_change(client: &Client, story: &mut Story) -> Result<()> {
    let now = SystemClock.now();
    let (from, to) = (now.plus_micros(-7 * DAY_US).to_string(), now.to_string());
    let sql = format!(
        "SELECT b.entity_id AS contact, a.value AS week_ago, b.value AS now FROM scores_as_of({0}) a \
         JOIN scores_as_of({1}) b ON a.entity_id = b.entity_id AND a.score = b.score AND a.entity_kind = b.entity_kind \
         WHERE a.score = 'engagement' AND a.entity_kind = 'contact' AND a.value IS NOT NULL AND b.value IS NOT NULL \
         ORDER BY abs(b.value - a.value) DESC, contact LIMIT 1",
        quoted(&from),
        quoted(&to)
    );
    let rows = client.sql(&sql).await?;
    let Some(contact) = rows
        .rows
        .first()
        .and_then(|row| row.get("contact"))
        .and_then(Value::as_str)
    else {
        bail!("no contact has an engagement score both now and a week ago");
    };
    story.section("The contact whose engagement moved most in a week", &sql, &rows);
    let why = format!(
        "SELECT factor, points, reason FROM score_change('contact', {}, {}, {}) WHERE score = 'engagement' \
         ORDER BY abs(points) DESC, factor",
        quoted(contact),
        quoted(&from),
        quoted(&to)
    );
    story.section("Why", &why, &client.sql(&why).await?);
    Ok(())
}
