//! `revgauge bench`: what this machine does, through the real doors, on a folder that is removed afterwards.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use revgauge_connectors::generator::{GeneratorConfig, Organisation, ParquetOutput, write_ndjson};
use revgauge_contract::{
    Clock,
    time::{DAY_US, SystemClock},
};
use serde_json::json;

use super::{Client, Context, client::encode};
use crate::{
    cli::{BenchCommand, ImportArgs},
    doors::operator_key,
    output, run_file,
    serve::Server,
};

const BATCH_EVENTS: usize = 500;
const TENANT: &str = "bench";

pub(crate) async fn run(context: &Context, command: BenchCommand) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("revgauge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut context = context.clone();
    context.common.tenant = TENANT.to_owned();
    context.settings.store.url = folder.join("store").display().to_string();
    context.settings.server.listen = "127.0.0.1:0".to_owned();
    context.settings.api.postgres.enabled = false;
    context.settings.api.flight.enabled = false;
    context.settings.ingest.unlimited();
    let outcome = match command {
        BenchCommand::Ingest { events, connections } => ingest(&context, events, connections.max(1)).await,
        BenchCommand::Latency { rate, seconds } => latency(&context, rate, seconds).await,
        BenchCommand::Restart { events, contacts } => restart(&context, &folder, events, contacts).await,
    };
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn client_of(server: &Server) -> Result<Client> {
    let operator = Client::network(
        server.url(),
        operator_key(server.node().operator_secret(), TENANT),
    )?;
    let made = operator
        .post("/v1/keys", &json!({"role": "admin", "name": "bench"}))
        .await?;
    Client::network(
        server.url(),
        made.get("secret")
            .and_then(|s| s.as_str())
            .unwrap_or_default()
            .to_owned(),
    )
}

/// NDJSON bodies of generated events, made before anything is timed.
fn bodies(events: u64, days: u32) -> Result<Vec<(Bytes, u64)>> {
    let config = GeneratorConfig {
        days,
        ..GeneratorConfig::default()
    }
    .sized_for(events)
    .ending_before(SystemClock.now());
    let mut organisation = Organisation::new(config)?;
    let now = SystemClock.now();
    let (mut bodies, mut body, mut rows, mut total) = (Vec::new(), Vec::new(), 0_u64, 0_u64);
    while total < events {
        for draft in organisation
            .draw_day()
            .into_iter()
            .filter(|draft| draft.event_time.is_some_and(|at| at <= now))
        {
            write_ndjson(&mut body, &draft)?;
            rows += 1;
            if rows as usize == BATCH_EVENTS {
                bodies.push((Bytes::from(std::mem::take(&mut body)), rows));
                total += rows;
                rows = 0;
            }
        }
        if organisation.days_given() > days {
            break;
        }
    }
    Ok(bodies)
}

async fn ingest(context: &Context, events: u64, connections: usize) -> Result<()> {
    let bodies = bodies(events, 60)?;
    let sent: u64 = bodies.iter().map(|(_, rows)| rows).sum();
    let bytes: usize = bodies.iter().map(|(body, _)| body.len()).sum();
    let server = Server::start(&context.settings).await?;
    let client = Arc::new(client_of(&server).await?);
    let queue = Arc::new(parking_lot::Mutex::new(bodies));
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::<Result<()>>::new();
    for _ in 0..connections {
        let (client, queue) = (Arc::clone(&client), Arc::clone(&queue));
        workers.spawn(async move {
            loop {
                let Some((body, _)) = queue.lock().pop() else {
                    return Ok(());
                };
                post(&client, body).await?;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let acknowledged = started.elapsed().as_secs_f64();
    while !server.node().settled() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settled = started.elapsed().as_secs_f64();
    println!(
        "{} events, {:.0} bytes each, {connections} connections",
        output::count(sent),
        bytes as f64 / sent as f64
    );
    println!(
        "acknowledged (durable)  {:.2} s  {:.0} events/s",
        acknowledged,
        sent as f64 / acknowledged
    );
    println!(
        "scored and in the feed  {:.2} s  {:.0} events/s",
        settled,
        sent as f64 / settled
    );
    println!(
        "resident memory         {} MiB",
        memory_mib(std::process::id(), "VmRSS:")?
    );
    server.stop().await
}

async fn post(client: &Client, body: Bytes) -> Result<()> {
    loop {
        let answer = client
            .send(
                "POST",
                "/v1/events?verbose=false",
                "application/x-ndjson",
                body.clone(),
            )
            .await?;
        match answer.status {
            200 => return Ok(()),
            429 | 503 => tokio::time::sleep(Duration::from_millis(20)).await,
            status => bail!(
                "the door answered {status}: {}",
                String::from_utf8_lossy(&answer.body)
            ),
        }
    }
}

async fn latency(context: &Context, rate: u64, seconds: u64) -> Result<()> {
    let bodies = bodies(rate * (seconds + 2), 20)?;
    let server = Server::start(&context.settings).await?;
    let client = Arc::new(client_of(&server).await?);
    let feeder = tokio::spawn(feed(Arc::clone(&client), bodies, rate));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let lookups = tokio::spawn(look_up(Arc::clone(&client), until));
    let fresh = probe(&client, until).await?;
    let lookups = lookups.await??;
    feeder.abort();
    print_percentiles("acknowledged to readable by REST", fresh);
    print_percentiles("REST score lookup meanwhile", lookups);
    println!(
        "resident memory {} MiB",
        memory_mib(std::process::id(), "VmRSS:")?
    );
    server.stop().await
}

async fn feed(client: Arc<Client>, bodies: Vec<(Bytes, u64)>, rate: u64) -> Result<()> {
    let mut tick = tokio::time::interval(Duration::from_secs_f64(BATCH_EVENTS as f64 / rate as f64));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for (body, _) in bodies {
        tick.tick().await;
        let client = Arc::clone(&client);
        tokio::spawn(async move { post(&client, body).await });
    }
    Ok(())
}

/// Sends an event of a person never seen before and asks for their score until it is there.
async fn probe(client: &Client, until: Instant) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let address = format!("probe{}@probe.example.com", times.len());
        let body = json!({"type": "email.replied", "email": address});
        post(client, Bytes::from(serde_json::to_vec(&body)?)).await?;
        let acknowledged = Instant::now();
        let path = format!("/v1/contacts/{}/scores", encode(&address));
        while client
            .send("GET", &path, "application/json", Bytes::new())
            .await?
            .status
            != 200
        {
            if acknowledged.elapsed() > Duration::from_secs(30) {
                bail!("no score of {address} within 30 s");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(acknowledged.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(times)
}

async fn look_up(client: Arc<Client>, until: Instant) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let id = format!("con-{}-0", times.len() % 500);
        let started = Instant::now();
        let path = format!("/v1/contacts/{id}/scores");
        client
            .send("GET", &path, "application/json", Bytes::new())
            .await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

fn print_percentiles(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| at(share).copied().unwrap_or_default());
    println!(
        "{what}: p50 {p50:.1} ms  p99 {p99:.1} ms  max {max:.1} ms  ({} samples)",
        times.len()
    );
}

async fn restart(context: &Context, folder: &Path, events: u64, contacts: u64) -> Result<()> {
    let file = folder.join("events.parquet");
    let rows = write_parquet(&file, events, contacts)?;
    let started = Instant::now();
    super::import::run(
        context.clone(),
        ImportArgs {
            paths: vec![file.display().to_string()],
            mapping: "events".to_owned(),
            dry_run: false,
            show: 0,
        },
    )
    .await?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "import of Parquet       {seconds:.2} s  {:.0} events/s, scored and flushed",
        rows as f64 / seconds
    );
    let seconds = time_scoring(context).await?;
    println!("first start             {seconds:.2} s until everything is scored");
    println!("restart, checkpoint     {}", restarted(context).await?);
    let checkpoints = folder.join("store/checkpoints");
    std::fs::remove_dir_all(&checkpoints)
        .with_context(|| format!("cannot remove {}", checkpoints.display()))?;
    println!("restart, no checkpoint  {}", restarted(context).await?);
    Ok(())
}

fn write_parquet(file: &Path, events: u64, contacts: u64) -> Result<u64> {
    let per_contact = events as f64 / contacts.max(1) as f64;
    let days = (per_contact / 0.21).ceil().clamp(1.0, 3000.0) as u32;
    let config = GeneratorConfig {
        days,
        ..GeneratorConfig::default()
    }
    .sized_for(events)
    .ending_before(SystemClock.now());
    let now = SystemClock.now();
    let mut organisation = Organisation::new(config)?;
    let mut out = ParquetOutput::new(std::fs::File::create(file)?, TENANT, now.plus_micros(DAY_US))?;
    while let Some(day) = organisation.next_day() {
        for draft in day
            .into_iter()
            .filter(|draft| draft.event_time.is_some_and(|at| at <= now))
        {
            out.write(draft)?;
        }
    }
    let rows = out.finish()?;
    println!(
        "{} events of {} contacts over {days} days",
        output::count(rows),
        output::count(organisation.contacts() as u64)
    );
    Ok(rows)
}

/// Starts a server in this process and waits until all it holds is scored.
async fn time_scoring(context: &Context) -> Result<f64> {
    let started = Instant::now();
    let server = Server::start(&context.settings).await?;
    while !server.node().settled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let scored = started.elapsed().as_secs_f64();
    server.stop().await?;
    Ok(scored)
}

/// What a start in a process of its own took, whose memory so holds nothing else.
struct Restarted {
    ready_seconds: f64,
    cpu_seconds: f64,
    resident_mib: u64,
    greatest_mib: u64,
}

impl std::fmt::Display for Restarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ready_seconds,
            cpu_seconds,
            resident_mib,
            greatest_mib,
        } = self;
        write!(
            f,
            "{ready_seconds:.2} s to ready, {cpu_seconds:.2} CPU s; resident {resident_mib} MiB a while later, \
             {greatest_mib} MiB at most"
        )
    }
}

/// How long after ready memory is read: what was needed to get there is given back by then.
const RESIDENT_AFTER: Duration = Duration::from_secs(20);

async fn restarted(context: &Context) -> Result<Restarted> {
    let folder = Path::new(&context.settings.store.url);
    let program = std::env::current_exe().context("cannot find this executable")?;
    let started = Instant::now();
    let mut child = tokio::process::Command::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--store"])
        .arg(folder)
        .env("REVGAUGE__API__POSTGRES__ENABLED", "false")
        .env("REVGAUGE__API__FLIGHT__ENABLED", "false")
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a server")?;
    let process = child.id().context("the server ended at once")?;
    let http = reqwest::Client::new();
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the server ended with {status} before it was ready");
        }
        if let Some(running) = run_file::find(folder)?.filter(|running| running.pid == process) {
            let ready = http.get(format!("{}/health/ready", running.url)).send().await;
            if ready.is_ok_and(|ready| ready.status().is_success()) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready_seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds(process)?;
    tokio::time::sleep(RESIDENT_AFTER).await;
    let restarted = Restarted {
        ready_seconds,
        cpu_seconds,
        resident_mib: memory_mib(process, "VmRSS:")?,
        greatest_mib: memory_mib(process, "VmHWM:")?,
    };
    let told = tokio::process::Command::new("kill")
        .args(["-TERM", &process.to_string()])
        .status();
    if !told.await?.success() {
        bail!("cannot stop the server {process}");
    }
    child.wait().await?;
    Ok(restarted)
}

/// A line of `/proc/<process>/status`, which the kernel gives in KiB.
fn memory_mib(process: u32, line: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read the memory in {path}"))?;
    let kib = status
        .lines()
        .find_map(|held| held.strip_prefix(line))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has no {line}"))? / 1024)
}

/// Processor time of a process so far; the kernel counts it in hundredths of a second.
fn cpu_seconds(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the processor time in {path}"))?;
    // User and system time are the 14th and 15th value; the name before them may hold spaces, but ends with the last ')'.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / 100.0)
}
