//! `revgauge simulate`: the generated organisation as files or as a live stream.

use std::{
    fs::File,
    io::{BufWriter, Write, stdout},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use revgauge_connectors::generator::{GeneratorConfig, Organisation, ParquetOutput, write_ndjson};
use revgauge_contract::{
    Clock, Timestamp,
    event::EventDraft,
    time::{DAY_US, SystemClock},
};
use serde_json::json;

use super::{Client, Context};
use crate::{
    cli::SimulateArgs,
    output::{self, say},
};

pub(crate) async fn run(context: &Context, args: SimulateArgs) -> Result<()> {
    let organisation = Organisation::new(config(&args)?)?;
    match &args.to {
        Some(base) => stream(context, &args, base, organisation).await,
        None => write(context, &args, organisation),
    }
}

fn config(args: &SimulateArgs) -> Result<GeneratorConfig> {
    let mut config = GeneratorConfig {
        seed: args.seed,
        accounts: args.accounts,
        days: args.days,
        ..GeneratorConfig::default()
    };
    config.reps = (config.accounts / 15).clamp(2, 5000);
    if let Some(events) = args.events {
        config = config.sized_for(events);
    }
    Ok(match &args.start {
        Some(start) => GeneratorConfig {
            start: start.parse::<Timestamp>()?,
            ..config
        },
        None => config.ending_before(SystemClock.now()),
    })
}

fn write(context: &Context, args: &SimulateArgs, mut organisation: Organisation) -> Result<()> {
    let days = organisation.config().days;
    let bar = output::progress(Some(u64::from(days)), "days");
    let create = || File::create(&args.out).with_context(|| format!("cannot create {}", args.out));
    let rows = if args.out.ends_with(".parquet") {
        let until = organisation
            .config()
            .start
            .plus_micros((i64::from(days) + 10) * DAY_US);
        let mut file = ParquetOutput::new(BufWriter::new(create()?), &context.common.tenant, until)?;
        each_day(&mut organisation, &bar, |draft| Ok(file.write(draft)?))?;
        file.finish()?
    } else if args.out.ends_with(".gz") {
        let mut file = GzEncoder::new(BufWriter::new(create()?), Compression::fast());
        let rows = each_day(&mut organisation, &bar, |draft| {
            Ok(write_ndjson(&mut file, &draft)?)
        })?;
        file.finish()?.flush()?;
        rows
    } else if args.out == "-" {
        let mut out = BufWriter::new(stdout().lock());
        let written = each_day(&mut organisation, &bar, |draft| {
            Ok(write_ndjson(&mut out, &draft)?)
        })
        .and_then(|rows| Ok(out.flush().map(|()| rows)?));
        match written {
            Err(error) if output::unread(&error) => return Ok(()),
            other => other?,
        }
    } else if args.out.ends_with(".ndjson") || args.out.ends_with(".jsonl") {
        let mut out = BufWriter::new(create()?);
        let rows = each_day(&mut organisation, &bar, |draft| {
            Ok(write_ndjson(&mut out, &draft)?)
        })?;
        out.flush()?;
        rows
    } else {
        bail!(
            "cannot tell the format of '{}': end it with .ndjson, .ndjson.gz or .parquet",
            args.out
        );
    };
    bar.finish_and_clear();
    if context.common.json && args.out != "-" {
        say!(
            "{:#}",
            json!({"file": args.out, "events": rows, "contacts": organisation.contacts()})
        );
        return Ok(());
    }
    eprintln!(
        "{} events of {} contacts",
        output::count(rows),
        output::count(organisation.contacts() as u64)
    );
    Ok(())
}

fn each_day(
    organisation: &mut Organisation,
    bar: &indicatif::ProgressBar,
    mut take: impl FnMut(EventDraft) -> Result<()>,
) -> Result<u64> {
    let mut rows = 0;
    // What is planned past now has not happened yet.
    let now = SystemClock.now();
    while let Some(day) = organisation.next_day() {
        for draft in day
            .into_iter()
            .filter(|draft| draft.event_time.is_some_and(|at| at <= now))
        {
            take(draft)?;
            rows += 1;
        }
        bar.inc(1);
    }
    Ok(rows)
}

/// Sends generated events as if each happened now, at a steady rate, until told to stop.
async fn stream(
    context: &Context,
    args: &SimulateArgs,
    base: &str,
    organisation: Organisation,
) -> Result<()> {
    let key = context
        .common
        .key
        .clone()
        .ok_or_else(|| anyhow!("streaming needs a key: give --key or REVGAUGE_KEY"))?;
    let client = Client::network(base, key)?;
    let bar = output::progress(None, "events sent");
    let mut live = LiveStream::new(organisation, args.rate);
    let until = args
        .seconds
        .map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds));
    let mut tick = tokio::time::interval(LiveStream::TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        if until.is_some_and(|until| tokio::time::Instant::now() >= until) {
            break;
        }
        let (body, count) = live.batch(SystemClock.now())?;
        if count > 0 {
            let answer = client
                .send("POST", "/v1/events?verbose=false", "application/x-ndjson", body)
                .await?;
            if answer.status >= 300 {
                bail!("{}", answer.refusal());
            }
            bar.inc(count);
        }
    }
    bar.finish_and_clear();
    eprintln!("{} events sent", output::count(live.sent));
    Ok(())
}

/// Generated events with the time of their sending.
#[derive(Debug)]
pub(crate) struct LiveStream {
    organisation: Organisation,
    queue: std::collections::VecDeque<EventDraft>,
    rate: f64,
    owed: f64,
    pub(crate) sent: u64,
    run: i64,
}

impl LiveStream {
    /// How often a batch is sent.
    pub(crate) const TICK: Duration = Duration::from_millis(100);

    pub(crate) fn new(organisation: Organisation, rate: f64) -> Self {
        let run = SystemClock.now().micros();
        Self {
            organisation,
            queue: std::collections::VecDeque::new(),
            rate,
            owed: 0.0,
            sent: 0,
            run,
        }
    }

    /// The events due in one tick as NDJSON, and their number.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a batch is small and positive"
    )]
    pub(crate) fn batch(&mut self, now: Timestamp) -> Result<(Bytes, u64)> {
        self.owed += self.rate * Self::TICK.as_secs_f64();
        let count = self.owed.floor().max(0.0) as u64;
        self.owed -= count as f64;
        let mut body = Vec::with_capacity(count as usize * 256);
        for _ in 0..count {
            while self.queue.is_empty() {
                self.queue.extend(self.organisation.draw_day());
            }
            if let Some(mut draft) = self.queue.pop_front() {
                let planned = draft.event_time.unwrap_or(now);
                move_dates(&mut draft.payload, now.micros() - planned.micros(), now);
                draft.event_time = Some(now);
                // A live run sends each generated event once; another run is other events.
                draft.event_id = draft.event_id.map(|id| format!("{id}-live{}", self.run));
                write_ndjson(&mut body, &draft)?;
            }
        }
        self.sent += count;
        Ok((Bytes::from(body), count))
    }
}

/// Generated days pass faster than real ones: what a record plans stays as far ahead of its sending as it was of its
/// planned time, and nothing is told to have happened later than now.
fn move_dates(payload: &mut serde_json::Map<String, serde_json::Value>, by_us: i64, now: Timestamp) {
    for (name, value) in payload {
        let Some(at) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
            continue;
        };
        match name.as_str() {
            "close_date" => {
                let moved = at.plus_micros(by_us).to_datetime();
                *value = json!(moved.format("%Y-%m-%d").to_string());
            }
            "created_at" | "closed_at" if at > now => *value = json!(now.to_string()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_deal_closes_as_far_ahead_as_it_was_planned() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().expect("an instant");
        let mut payload = serde_json::Map::new();
        payload.insert("close_date".to_owned(), json!("2027-02-10"));
        payload.insert("created_at".to_owned(), json!("2027-01-01T09:00:00Z"));
        payload.insert("stage".to_owned(), json!("discovery"));
        move_dates(&mut payload, -37 * DAY_US, now);
        assert_eq!(payload["close_date"], "2027-01-04");
        assert_eq!(payload["created_at"], now.to_string());
        assert_eq!(payload["stage"], "discovery");
    }
}
