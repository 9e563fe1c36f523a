//! Our own samples give exactly the events that stand beside them. `REVGAUGE_BLESS=1` writes them anew.

use super::*;
use crate::files::{discover, dry_run};

async fn golden(folder: &str, plan: &Plan) -> ImportReport {
    let path = root().join("data/samples").join(folder);
    let expected_path = path.join("expected.ndjson");
    let mut inputs = discover(&path).expect("samples");
    inputs.retain(|input| input.name != "expected.ndjson");
    let (kept, report) = import(plan, &inputs).await.expect("imported");
    assert!(report.problems.is_empty(), "{folder}: {:?}", report.problems);
    let got = kept.ndjson();
    if std::env::var_os("REVGAUGE_BLESS").is_some() {
        std::fs::write(&expected_path, &got).expect("blessed");
    }
    let expected = std::fs::read_to_string(&expected_path).expect("expected.ndjson");
    for (number, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, expected, "{folder}, event {}", number + 1);
    }
    assert_eq!(got.lines().count(), expected.lines().count(), "{folder}");
    assert_eq!(report.accepted as usize, expected.lines().count());
    report
}

#[tokio::test]
async fn hubspot_sample() {
    let report = golden("hubspot", &shipped_plan("hubspot")).await;
    assert_eq!(report.events["contact.merged"], 2);
    assert_eq!(report.events["call.completed"], 2, "one for each of two contacts");
    assert_eq!(report.events["call.no_answer"], 1);
    assert!(report.unused_files.is_empty(), "{:?}", report.unused_files);
}

#[tokio::test]
async fn salesforce_sample() {
    let report = golden("salesforce", &shipped_plan("salesforce")).await;
    assert_eq!(report.events["account.merged"], 1);
    assert_eq!(
        report.events["meeting.attended"], 1,
        "the meeting to come has not happened"
    );
    assert_eq!(report.events["meeting.scheduled"], 2);
}

#[tokio::test]
async fn maven_sample() {
    let report = golden("maven-crm", &shipped_plan("maven-crm")).await;
    assert_eq!(report.events["deal.upserted"], 6, "four opened, two closed");
}

#[tokio::test]
async fn own_mapping_sample() {
    let text = std::fs::read_to_string(root().join("data/samples/custom/mapping.toml")).expect("mapping");
    let report = golden("custom", &Plan::load(&text, "mapping.toml").expect("sound")).await;
    assert_eq!(
        report.skipped, 2,
        "one order of another kind, one call without a known result"
    );
}

#[tokio::test]
async fn a_dry_run_shows_the_first_events_and_all_counts() {
    let inputs = discover(&root().join("data/samples/maven-crm/*.csv")).expect("samples");
    let settings = ImportSettings {
        first_rows: 3,
        batch_rows: 2,
        ..ImportSettings::default()
    };
    let mut last = None;
    let tried = dry_run(
        &shipped_plan("maven-crm"),
        &inputs,
        &received(),
        &settings,
        &mut |progress| {
            last = Some(progress.clone());
        },
    )
    .await
    .expect("tried");
    assert_eq!(tried.first.len(), 3);
    assert_eq!(tried.first[0]["user_id"], "Ada Meyer");
    assert_eq!(tried.report.accepted, 12);
    let last = last.expect("progress");
    assert_eq!((last.files, last.files_done, last.accepted), (3, 3, 12));
    assert_eq!(last.bytes_done, last.bytes);
}

#[test]
fn every_shipped_mapping_is_sound() {
    for (name, text) in crate::files::SHIPPED {
        let plan = Plan::load(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert!(plan.description().is_some(), "{name}");
    }
}
