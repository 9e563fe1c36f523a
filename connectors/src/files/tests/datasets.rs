//! Real exports and logs, where they are present: every row is accounted for.

use super::*;
use crate::files::discover;

async fn dataset(name: &str, mapping: &str) -> Option<(Kept, ImportReport)> {
    let path = root().join("../shared/datasets").join(name);
    if !path.try_exists().unwrap_or(false) {
        eprintln!("skipped: ../shared/datasets/{name} is absent");
        return None;
    }
    let (kept, report) = import(&shipped_plan(mapping), &discover(&path).expect("files"))
        .await
        .expect("imported");
    // The meetings of HubSpot's sample hold some that begin in January 1970.
    let known = |problem: &&crate::files::Problem| {
        problem.code == "time_too_early" && problem.file == "engagement_meeting_data.csv"
    };
    let unknown: Vec<_> = report.problems.iter().filter(|problem| !known(problem)).collect();
    assert!(unknown.is_empty(), "{name}: {unknown:#?}");
    Some((kept, report))
}

fn distinct(kept: &Kept, event_type: &str, column: &str) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for batch in &kept.batches {
        let types = text_column(batch, "type").expect("type");
        let ids = text_column(batch, column).expect("column");
        seen.extend(
            (0..batch.num_rows())
                .filter(|row| types.value(*row) == event_type)
                .map(|row| ids.value(row)),
        );
    }
    seen.len()
}

#[tokio::test]
async fn maven_crm() {
    let Some((kept, report)) = dataset("maven-crm", "maven-crm").await else {
        return;
    };
    assert_eq!(distinct(&kept, "deal.upserted", "deal_id"), 8_800);
    assert_eq!(distinct(&kept, "account.upserted", "account_id"), 85);
    assert_eq!(
        distinct(&kept, "user.upserted", "user_id"),
        35 + 6,
        "agents and managers"
    );
    assert_eq!(
        report.events["deal.upserted"],
        8_800 + 4_238 + 2_473,
        "opened, won, lost"
    );
    let distinct_ids: std::collections::BTreeSet<_> = kept.ids().into_iter().collect();
    assert_eq!(distinct_ids.len(), 15_511 + 85 + 41);
}

#[tokio::test]
async fn bpi_2012() {
    let Some((kept, report)) = dataset("bpi-2012", "bpi-2012").await else {
        return;
    };
    assert_eq!(
        (report.rows, report.accepted, report.skipped),
        (262_200, 262_200, 0)
    );
    assert_eq!(distinct(&kept, "deal.upserted", "deal_id"), 13_087);
    assert_eq!(report.events["deal.upserted"], 60_849);
    assert_eq!(report.events["call.completed"], 22_976 + 11_407 + 5_898);
    let mut ids = kept.ids();
    ids.dedup();
    assert_eq!(ids.len(), 262_200);
}

#[tokio::test]
async fn snap_collegemsg() {
    let Some((kept, report)) = dataset("snap-collegemsg", "snap-collegemsg").await else {
        return;
    };
    assert_eq!((report.rows, report.accepted), (59_835, 2 * 59_835));
    let mut ids = kept.ids();
    ids.dedup();
    assert_eq!(ids.len(), 2 * 59_835, "equal lines are two messages");
}

#[tokio::test]
async fn olist_funnel() {
    let Some((kept, report)) = dataset("olist-funnel", "olist-funnel").await else {
        return;
    };
    assert_eq!(distinct(&kept, "form.submitted", "deal_id"), 8_000);
    assert_eq!(report.events["deal.upserted"], 8_842);
}

#[tokio::test]
async fn hubspot_seeds() {
    let Some((kept, report)) = dataset("fivetran-hubspot-seeds", "hubspot").await else {
        return;
    };
    let expected = [
        ("account.upserted", 24 + 100),
        ("contact.merged", 4 + 3),
        ("deal.merged", 14),
        ("email.delivered", 3),
        ("email.opened", 90),
        ("email.sent", 4 + 1),
        ("form.submitted", 5),
        ("meeting.scheduled", 100 - report.refused_rows()),
        ("role.upserted", 11),
        ("stage.upserted", 69),
        ("user.upserted", 100),
    ];
    for (event_type, count) in expected {
        assert_eq!(
            report.events.get(event_type),
            Some(&count),
            "{event_type}: {:#?}",
            report.events
        );
    }
    assert_eq!(
        distinct(&kept, "stage.upserted", "event_id"),
        69,
        "two of 71 stages are deleted"
    );
}

#[tokio::test]
async fn salesforce_seeds() {
    let Some((kept, report)) = dataset("fivetran-salesforce-seeds", "salesforce").await else {
        return;
    };
    assert_eq!(report.files["sf_opportunity_history_data.csv"], 10);
    let deals = ["deal.upserted", "deal.deleted"].map(|name| report.events.get(name).copied().unwrap_or(0));
    assert_eq!(
        deals[0] + deals[1],
        30,
        "ten created, as they are, and a version each: {:#?}",
        report.events
    );
    for (event_type, count) in [
        ("user.upserted", 10),
        ("meeting.scheduled", 10),
        ("custom.task_completed", 10),
    ] {
        assert_eq!(
            report.events.get(event_type),
            Some(&count),
            "{event_type}: {:#?}",
            report.events
        );
    }
    assert!(kept.letters.is_empty());
}
