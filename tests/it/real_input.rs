//! Real exports through `revgauge import`, and what they become.

use crate::process::{dataset, run};

fn number(folder: &std::path::Path, sql: &str) -> i64 {
    let output = run(folder, &["--json", "query", sql]);
    assert!(output.status.success(), "{sql}: {output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    answer["rows"][0]
        .as_object()
        .and_then(|row| row.values().next()?.as_i64())
        .unwrap_or_else(|| panic!("{sql}: {answer}"))
}

fn import(folder: &std::path::Path, mapping: &str, path: &std::path::Path) {
    let output = run(
        folder,
        &["import", "--mapping", mapping, path.to_str().expect("path")],
    );
    assert!(output.status.success(), "{mapping}: {output:?}");
    let verified = run(folder, &["pipelines", "verify"]);
    assert!(verified.status.success(), "{mapping}: {verified:?}");
}

#[test]
fn maven_crm_gives_its_deals_accounts_and_agents() {
    let Some(data) = dataset("maven-crm") else { return };
    let folder = tempfile::tempdir().expect("folder");
    import(folder.path(), "maven-crm", &data);
    let of =
        |object: &str| format!("SELECT count(DISTINCT object_id) FROM crm_state WHERE object = '{object}'");
    assert_eq!(number(folder.path(), &of("deal")), 8_800);
    assert_eq!(number(folder.path(), &of("account")), 85);
}

#[test]
fn the_fivetran_seeds_of_both_crms_import() {
    for (mapping, name) in [
        ("hubspot", "fivetran-hubspot-seeds"),
        ("salesforce", "fivetran-salesforce-seeds"),
    ] {
        let Some(data) = dataset(name) else { return };
        let folder = tempfile::tempdir().expect("folder");
        import(folder.path(), mapping, &data);
        assert!(
            number(
                folder.path(),
                "SELECT count(DISTINCT object_id) FROM crm_state WHERE object = 'deal'"
            ) >= 10
        );
    }
}
