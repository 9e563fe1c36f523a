//! Shipped definitions are read; broken ones are refused with line, key and suggestion, and change nothing.

use super::*;

fn refusal(name: &str, from: &str, to: &str) -> String {
    let text = Definitions::shipped_text(name).expect("there");
    assert!(text.contains(from), "the shipped {name} has no '{from}'");
    let error = Definitions::shipped()
        .with(name, &text.replacen(from, to, 1))
        .expect_err("broken");
    error.to_string()
}

#[test]
fn shipped_definitions_are_read() {
    let shipped = Definitions::shipped();
    let summaries = shipped.summaries();
    let names: Vec<&str> = summaries.iter().map(|summary| summary.name).collect();
    assert_eq!(names, Definitions::NAMES);
    for summary in &summaries {
        assert!(summary.shipped);
        let prefix = format!("{}@{}+", summary.name, summary.version);
        assert!(
            summary.id.starts_with(&prefix) && summary.id.len() == prefix.len() + 8,
            "{}",
            summary.id
        );
    }
}

#[test]
fn problems_name_line_key_and_remedy() {
    for (name, from, to, expected) in [
        (
            "engagement",
            "saturation = 30.0",
            "saturation = 0.0",
            "cannot take definition 'engagement.toml': line 5: saturation: must be a number above 0, got 0",
        ),
        (
            "engagement",
            "saturation = 30.0",
            "saturaton = 30.0",
            "cannot take definition 'engagement.toml': line 5: saturaton: unknown key 'saturaton', did you mean 'saturation'?",
        ),
        (
            "engagement",
            "weight = 5.0, half_life_days = 14",
            "weight = 5.0, half_life_days = 20",
            "line 35: events.\"email.clicked\".half_life_days: the pipeline keeps half-lives of 3, 14, 30, 60 days, got 20, nearest is 14",
        ),
        (
            "engagement",
            "\"email.clicked\" = { channel = \"email\", weight = 5.0",
            "\"email.clickd\" = { channel = \"emial\", weight = nan",
            "events.\"email.clickd\": unknown name 'email.clickd', did you mean 'email.clicked'?; line 35: events.\"email.clickd\".channel: unknown name 'emial', did you mean 'email'?; line 35: events.\"email.clickd\".weight: must be a finite number, got NaN",
        ),
        (
            "engagement",
            "at_least = 60.0",
            "at_least = 10.0",
            "bands: must rise from one to the next, got 0, 30, 10",
        ),
        (
            "engagement",
            "web = { cap = 45.0 }",
            "web = { cap = -1.0 }",
            "channels.web.cap: must be a number above 0, got -1",
        ),
        (
            "engagement",
            "name = \"engagement\"",
            "name = \"intent\"",
            "name: must be 'engagement', got 'intent'",
        ),
        (
            "engagement",
            "version = 1",
            "version = 0",
            "version: must be 1 or more",
        ),
        (
            "engagement",
            "version = 1",
            "version = \"one\"",
            "line 4: version: invalid type: string \"one\", expected u32",
        ),
        ("engagement", "version = 1", "version = ", "line 4: "),
        (
            "intent",
            "fast_days = 7",
            "fast_days = 8",
            "surge.fast_days: the pipeline keeps half-lives of 7, 14, 60, 90, 180 days, got 8, nearest is 7",
        ),
        (
            "intent",
            "slow_days = 90",
            "slow_days = 7",
            "surge.slow_days: must be above fast_days (7)",
        ),
        (
            "fit",
            "max = 50.0",
            "max = 5.0",
            "criteria.1.rules.1: 'min' (10) must be below 'max' (5)",
        ),
        (
            "fit",
            "points = 0.15",
            "points = 15.0",
            "criteria.0.rules.2.points: must be from -1 to 1, got 15",
        ),
        (
            "priority",
            "[0.40, 0.60, 0.80]",
            "[0.40, 0.80, 0.60]",
            "cut_offs: must rise from one to the next, got 0.4, 0.8, 0.6",
        ),
        (
            "priority",
            "policy = \"anchored\"",
            "policy = \"anchord\"",
            "policy: unknown key 'anchord', did you mean 'anchored'?",
        ),
        (
            "priority",
            "band = 0.02",
            "band = 0.2",
            "band: must be from 0 to below half the distance of the cut-offs, got 0.2",
        ),
        (
            "actions",
            "us = \"America/New_York\"",
            "us = \"America/NewYork\"",
            "send_time.country_zones.us: 'America/NewYork' is no IANA time zone such as Europe/Paris",
        ),
        (
            "authority",
            "hr = 0.8",
            "hrr = 0.8",
            "levels.c_level.by_function.hrr: unknown name 'hrr', did you mean 'hr'?",
        ),
    ] {
        let message = refusal(name, from, to);
        assert!(
            message.contains(expected),
            "{from} -> {to}:\n  got      {message}\n  expected {expected}"
        );
    }
}

#[test]
fn a_folder_overlays_file_by_file_and_a_broken_one_changes_nothing() {
    let dir = std::env::temp_dir().join(format!("revgauge-definitions-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("folder");
    let put = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
    let text = Definitions::shipped_text("engagement")
        .expect("there")
        .replace("saturation = 30.0", "saturation = 50.0");
    put("engagement.toml", &text);
    put("notes.txt", "not a definition");
    let loaded = Definitions::load(&dir).expect("valid");
    assert_eq!(loaded.engagement.saturation, 50.0);
    assert_ne!(
        loaded.engagement.id(),
        Definitions::shipped().engagement.id(),
        "an edit shows without a new version"
    );
    assert!(loaded.summaries().iter().any(|summary| !summary.shipped));
    assert_eq!(loaded.intent.id(), Definitions::shipped().intent.id());

    put("engagment.toml", &text);
    let error = Definitions::load(&dir).expect_err("unknown name").to_string();
    assert!(
        error.contains("there is no definition 'engagment', did you mean 'engagement.toml'?"),
        "{error}"
    );
    fs::remove_file(dir.join("engagment.toml")).expect("removed");
    assert!(Definitions::validate_file(&dir.join("engagement.toml")).is_ok());
    assert!(
        Definitions::load(&dir.join("missing")).is_ok(),
        "a missing folder is an empty one"
    );
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn comments_and_layout_do_not_change_a_definition() {
    let text = Definitions::shipped_text("priority").expect("there");
    let set = Definitions::shipped()
        .with("priority", &format!("# mine\n\n{text}"))
        .expect("valid");
    assert_eq!(set.priority.id(), Definitions::shipped().priority.id());
}
