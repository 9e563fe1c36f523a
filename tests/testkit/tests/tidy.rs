//! Rules the tree implies, each a test that names the file at fault.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use revgauge_testkit::{files, is_test_file, root, without_tests};

const ROOMS: &[(&str, &str)] = &[
    ("revgauge-connectors", "connectors"),
    ("revgauge-contract", "data/contract"),
    ("revgauge-journal", "data/journal"),
    ("revgauge-lake", "data/lake"),
    ("revgauge-models", "models"),
    ("revgauge-pipelines", "pipelines"),
    ("revgauge-query-api", "query-api"),
    ("revgauge-store", "data/store"),
    ("revgauge-training", "models/training"),
];

/// The one wall with a door: what is trained is the artifact that `models` scores, so the trainer knows that room.
const NEIGHBOURS: &[(&str, &str)] = &[("models/training", "revgauge-models")];

/// Heavy dependencies and the only manifests that may name them (the root wires, so it may).
const HOMES: &[(&str, &[&str])] = &[
    ("datafusion", &["pipelines", "query-api", "."]),
    ("deltalake", &["data/lake"]),
    ("axum", &["connectors", "query-api", "."]),
    (
        "object_store",
        &[
            "data/store",
            "data/journal",
            "data/lake",
            "connectors",
            "pipelines",
            "query-api",
            ".",
        ],
    ),
    ("polars", &["models/training"]),
    ("linfa", &["models/training"]),
    ("forust-ml", &["models/training"]),
    ("augurs", &["models"]),
    ("pgwire", &["query-api"]),
    ("datafusion-pg-catalog", &["query-api"]),
    ("arrow-pg", &["query-api"]),
    ("arrow-flight", &["query-api"]),
    ("rmcp", &["query-api"]),
    ("maud", &["query-api"]),
    ("opentelemetry", &["."]),
    ("reqwest", &["."]),
];

fn dependencies(folder: &str, sections: &[&str]) -> BTreeSet<String> {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let of = |section: &&str| {
        manifest
            .get(*section)
            .and_then(toml::Value::as_table)
            .cloned()
            .unwrap_or_default()
    };
    sections.iter().flat_map(of).map(|(name, _)| name).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let files = files(&root(), &[".rs"]).expect("the tree is readable");
    assert!(
        files.len() > 30,
        "only {} sources found: is the root right?",
        files.len()
    );
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("readable")))
        .collect()
}

fn fail_on(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn rooms_meet_only_in_the_contract() {
    let mut faults = Vec::new();
    for (_, folder) in ROOMS {
        for name in dependencies(
            folder,
            &["dependencies", "dev-dependencies", "build-dependencies"],
        ) {
            let room = ROOMS.iter().any(|(room, _)| *room == name);
            let neighbour = NEIGHBOURS.contains(&(*folder, name.as_str()));
            if room && name != "revgauge-contract" && !neighbour {
                faults.push(format!("{folder}/Cargo.toml names the room {name}"));
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn heavy_dependencies_stay_in_their_homes() {
    let mut faults = Vec::new();
    for folder in ROOMS.iter().map(|(_, folder)| *folder).chain(["."]) {
        for name in dependencies(folder, &["dependencies"]) {
            let home = HOMES.iter().find(|(heavy, _)| *heavy == name);
            if home.is_some_and(|(_, homes)| !homes.contains(&folder)) {
                faults.push(format!(
                    "{folder}/Cargo.toml names {name}, whose home is elsewhere"
                ));
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn every_source_says_what_it_is() {
    let lacking = |(path, text): (PathBuf, String)| (!text.starts_with("//!")).then(|| relative(&path));
    fail_on(&sources().into_iter().filter_map(lacking).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "todo".to_owned() + "!(",
        "dbg".to_owned() + "!(",
    ];
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn error_messages_are_lower_case_without_full_stop() {
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test_file(path)) {
        for (number, line) in without_tests(&text).lines().enumerate() {
            let Some(message) = line
                .trim()
                .strip_prefix("#[error(\"")
                .and_then(|rest| rest.split("\"").next())
            else {
                continue;
            };
            let shouts = message.chars().next().is_some_and(char::is_uppercase);
            let names = message
                .split_whitespace()
                .next()
                .is_some_and(|word| word.chars().all(char::is_uppercase));
            if (shouts && !names) || message.ends_with('.') {
                faults.push(format!("{}:{}: {message}", relative(&path), number + 1));
            }
        }
    }
    fail_on(&faults);
}

#[test]
fn every_pipeline_has_goldens_and_an_approved_plan() {
    let mut faults = Vec::new();
    let folder = root().join("pipelines/sql");
    let pipelines = fs::read_dir(&folder)
        .expect("pipelines/sql")
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut count = 0;
    for path in pipelines.filter(|path| path.extension().is_some_and(|end| end == "sql")) {
        count += 1;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for wanted in [
            format!("tests/pipelines/{name}"),
            format!("tests/plans/{name}.txt"),
        ] {
            if !root().join(&wanted).try_exists().unwrap_or(false) {
                faults.push(format!("{wanted} is missing"));
            }
        }
    }
    assert!(count >= 5, "only {count} pipelines found");
    fail_on(&faults);
}

#[test]
fn the_map_names_every_folder_with_code_and_nothing_that_is_gone() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let folders: BTreeSet<String> = sources()
        .iter()
        .filter_map(|(path, _)| path.parent().map(relative))
        .filter(|name| !name.is_empty())
        .collect();
    let mut faults: Vec<String> = folders
        .iter()
        .filter(|folder| !map.contains(&format!("`{folder}/`")))
        .map(|folder| format!("ARCHITECTURE.md does not name `{folder}/`"))
        .collect();
    let named = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.ends_with('/') && !text.contains(' '));
    for name in named.filter(|name| !name.starts_with('/') && !name.contains('<')) {
        if !root().join(name).try_exists().unwrap_or(false) {
            faults.push(format!("ARCHITECTURE.md names `{name}`, which is gone"));
        }
    }
    fail_on(&faults);
}

#[test]
fn every_invariant_is_checked_and_exercised() {
    let contract = fs::read_to_string(root().join("data/contract/src/invariant.rs")).expect("invariants");
    let names: Vec<&str> = contract
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("Self::")?
                .split_once(" => \"")
                .map(|(name, _)| name)
        })
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    let sources = sources();
    let mut faults = Vec::new();
    for name in names {
        let mention = format!("Invariant::{name}");
        let checked = sources.iter().any(|(path, text)| {
            !is_test_file(path)
                && !relative(path).contains("contract")
                && without_tests(text).contains(&mention)
        });
        let exercised = sources.iter().any(|(path, text)| {
            let tests = if is_test_file(path) {
                text.as_str()
            } else {
                &text[without_tests(text).len()..]
            };
            tests.contains(&mention)
        });
        if !checked {
            faults.push(format!("{mention} is checked nowhere in the source"));
        }
        if !exercised {
            faults.push(format!("{mention} is named by no test"));
        }
    }
    fail_on(&faults);
}

#[test]
fn every_stored_format_has_a_recorded_store() {
    let listed = fs::read_to_string(root().join("tests/compat/README.md")).expect("tests/compat/README.md");
    let marks = [
        "const FORMAT: u32",
        "const FORMAT_VERSION: u16",
        "MAGIC: [u8; 8]",
        "const MANIFEST: [u8; 8]",
    ];
    let mut faults = Vec::new();
    let mut count = 0;
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test_file(path)) {
        if marks.iter().any(|mark| without_tests(&text).contains(mark)) {
            count += 1;
            let name = relative(&path);
            if !listed.contains(&format!("`{name}`")) {
                faults.push(format!(
                    "{name} writes a format that tests/compat/README.md does not list"
                ));
            }
        }
    }
    assert!(count >= 6, "only {count} formats found");
    for folder in [
        "journal",
        "checkpoints",
        "dead-letters",
        "definitions",
        "access",
        "lake",
    ] {
        let folder = format!("tests/compat/store-1/{folder}");
        if !root().join(&folder).is_dir() {
            faults.push(format!("{folder} is missing"));
        }
    }
    fail_on(&faults);
}
