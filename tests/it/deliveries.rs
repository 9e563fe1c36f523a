//! Scheduled reports through the real executable: a mail server, a webhook receiver and files get each due instant once,
//! through refusals, restarts and a kill.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::process::Process;

/// What the other side got: how often under each id, and the last text.
#[derive(Default)]
struct Mailbox {
    got: BTreeMap<String, usize>,
    last: String,
    refused: usize,
}

type Shared = Arc<Mutex<Mailbox>>;

impl Mailbox {
    fn take(&mut self, id: String, text: String) {
        *self.got.entry(id).or_default() += 1;
        self.last = text;
    }
}

/// A mail server that says "not now" to the first mail and takes the others.
async fn mail_server() -> (u16, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mailbox = Shared::default();
    let shared = Arc::clone(&mailbox);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mailbox = Arc::clone(&shared);
            // A client that is killed ends its conversation in the middle.
            tokio::spawn(async move { converse(stream, &mailbox).await.ok() });
        }
    });
    (port, mailbox)
}

async fn converse(stream: TcpStream, mailbox: &Shared) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let answer = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => "250-test\r\n250 8BITMIME",
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push('\n');
                }
                let id = mail.lines().find_map(|line| line.strip_prefix("Message-ID: "));
                let id = id.expect("every mail has an id").to_owned();
                let mut mailbox = mailbox.lock().expect("held");
                if mailbox.refused == 0 {
                    mailbox.refused += 1;
                    "451 not now"
                } else {
                    mailbox.take(id, mail);
                    "250 taken"
                }
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// A receiver that fails once and takes the others.
async fn webhook_receiver() -> (u16, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mailbox = Shared::default();
    let take = async |State(mailbox): State<Shared>, headers: HeaderMap, body: String| {
        let text = |name: &str| headers[name].to_str().expect("text").to_owned();
        assert!(text("webhook-signature").starts_with("v1,"));
        let mut mailbox = mailbox.lock().expect("held");
        if mailbox.refused == 0 {
            mailbox.refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        mailbox.take(text("webhook-id"), body);
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/hook", post(take))
        .with_state(Arc::clone(&mailbox));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, mailbox)
}

async fn schedule(process: &Process, title: &str, target: Value) -> String {
    // A text that a spreadsheet would run, and a number that it must not take for one.
    let sql = "SELECT '=1+1' AS formula, -5 AS number, 'naïve 😀' AS text";
    let plan = json!({"cron": "*/2 * * * * *", "timezone": "Europe/Berlin", "target": target});
    let body = json!({"title": title, "sql": sql, "schedule": plan}).to_string();
    let (status, answer) = process
        .post("/v1/saved-reports", "application/json", body.into_bytes())
        .await
        .expect("answered");
    assert_eq!(status, 200, "{answer}");
    answer["report"]["report_id"].as_str().expect("an id").to_owned()
}

/// Due instants of a report that are delivered, with their attempts, in microseconds.
async fn delivered(process: &Process, id: &str) -> BTreeMap<i64, u64> {
    let (status, answer) = process.get(&format!("/v1/saved-reports/{id}")).await;
    assert_eq!(status, 200, "{answer}");
    let all = answer["deliveries"].as_array().expect("a list");
    let done = all.iter().filter(|delivery| delivery["state"] == "delivered");
    done.map(|delivery| {
        let due: revgauge_contract::Timestamp = delivery["due_at"]
            .as_str()
            .expect("text")
            .parse()
            .expect("an instant");
        (due.micros(), delivery["attempts"].as_u64().expect("a count"))
    })
    .collect()
}

async fn until_delivered(process: &Process, ids: &[String], count: usize) {
    let started = Instant::now();
    for id in ids {
        loop {
            let done = delivered(process, id).await.len();
            if done >= count {
                break;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{id}: {done} of {count}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn csv_files(folder: &Path, id: &str) -> Vec<String> {
    let folder = folder.join("reports/files").join(crate::process::TENANT).join(id);
    let files = std::fs::read_dir(folder)
        .expect("files")
        .map(|file| file.expect("a file").path());
    files
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_instant_is_delivered_once_through_refusals_restarts_and_a_kill() {
    let folder = tempfile::tempdir().expect("folder");
    let (smtp_port, mails) = mail_server().await;
    let (hook_port, hooks) = webhook_receiver().await;
    let smtp_port = smtp_port.to_string();
    let environment = [
        ("REVGAUGE__API__DELIVERIES__TICK_MS", "50"),
        ("REVGAUGE__API__DELIVERIES__MIN_INTERVAL_SECONDS", "1"),
        ("REVGAUGE__API__DELIVERIES__FIRST_RETRY_MS", "50"),
        (
            "REVGAUGE__API__DELIVERIES__PRIVATE_WEBHOOK_HOSTS",
            "[\"127.0.0.1\"]",
        ),
        ("REVGAUGE__API__DELIVERIES__SMTP__HOST", "127.0.0.1"),
        ("REVGAUGE__API__DELIVERIES__SMTP__PORT", &smtp_port),
        ("REVGAUGE__API__DELIVERIES__SMTP__TLS", "none"),
    ];
    let process = Process::start(folder.path(), &environment);
    let hook = json!({"kind": "webhook", "url": format!("http://127.0.0.1:{hook_port}/hook")});
    let ids = [
        schedule(&process, "By mail", json!({"kind": "mail", "to": ["mo@acme.io"]})).await,
        schedule(&process, "By webhook", hook).await,
        schedule(&process, "By file", json!({"kind": "file"})).await,
    ];
    until_delivered(&process, &ids, 2).await;
    process.stop();
    // An orderly end: what is written down is what the others have, once each.
    for got in [&mails, &hooks] {
        let mailbox = got.lock().expect("held");
        assert_eq!(mailbox.refused, 1);
        assert!(mailbox.got.values().all(|count| *count == 1), "{:?}", mailbox.got);
    }
    let process = Process::start(folder.path(), &environment);
    until_delivered(&process, &ids, 4).await;
    for got in [&mails, &hooks] {
        let mailbox = got.lock().expect("held");
        assert!(mailbox.got.values().all(|count| *count == 1), "{:?}", mailbox.got);
    }
    // A kill may fall between the other side's yes and our note of it: then it is tried again under the same id.
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &process.pid().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    process.wait();
    let process = Process::start(folder.path(), &environment);
    until_delivered(&process, &ids, 6).await;
    for (id, got) in ids.iter().zip([&mails, &hooks]) {
        let done = delivered(&process, id).await;
        let mailbox = got.lock().expect("held");
        for due in done.keys() {
            let wanted = format!("{id}-{due}");
            assert!(
                mailbox.got.keys().any(|id| id.contains(&wanted)),
                "{wanted} is said to be delivered"
            );
        }
        let again = mailbox.got.values().filter(|count| **count > 1).count();
        assert!(again <= 1, "{:?}", mailbox.got);
    }
    for id in &ids {
        let done = delivered(&process, id).await;
        let due: Vec<i64> = done.keys().copied().collect();
        let gaps: Vec<i64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter().all(|gap| *gap == 2_000_000),
            "no instant is left out: {gaps:?}"
        );
    }
    assert_eq!(
        delivered(&process, &ids[0]).await.values().next(),
        Some(&2),
        "refused once, then taken"
    );
    process.stop();
    let files = csv_files(folder.path(), &ids[2]);
    assert!(files.len() >= 6);
    for csv in files {
        assert_eq!(csv, "formula,number,text\r\n'=1+1,-5,naïve 😀\r\n");
    }
    let mail = mails.lock().expect("held").last.clone();
    assert!(
        mail.contains("Subject: By mail") && mail.contains("by-mail.csv"),
        "{mail}"
    );
    let body: Value = serde_json::from_str(&hooks.lock().expect("held").last).expect("JSON");
    assert_eq!(body["data"]["rows"][0]["number"], json!(-5), "{body}");
}
