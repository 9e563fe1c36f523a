//! Which definition set answers for which instant, and what differs between two texts of a definition.
//!
//! Sets come into force when a server starts with them or is told to read them again; each is recorded with that
//! instant (its *known time*) before anything is scored with it. A score as of `t` is made with the set in force at
//! `t` (S-2, S-3). Before the first record, where only imported history lies, the first set answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
};
use revgauge_contract::{
    Timestamp,
    definition_record::{DefinitionRecord, DefinitionTexts},
    schema::timestamp_type,
};

use super::{DefinitionError, Definitions, definition_files, read_text, stem};

/// Folder below the definitions' own in which each tenant may have one.
const TENANTS: &str = "tenants";

/// The definitions of a deployment at one time: those for all, and what tenants replace of them.
#[derive(Debug, Clone)]
pub struct DefinitionSets {
    common: Arc<Definitions>,
    tenants: BTreeMap<String, Own>,
}

/// A tenant's own definitions, and the set that they make with the common ones.
#[derive(Debug, Clone)]
struct Own {
    texts: DefinitionTexts,
    set: Arc<Definitions>,
}

impl DefinitionSets {
    /// What ships, overlaid with the files of a folder; `tenants/<tenant id>/` in it overlays them once more for that
    /// tenant.
    ///
    /// # Errors
    /// The first file that cannot be read or states something that cannot be meant.
    pub fn load(folder: Option<&Path>) -> Result<Self, DefinitionError> {
        let Some(folder) = folder else {
            return Ok(Self::of(Definitions::shipped()));
        };
        let mut sets = Self::of(Definitions::load(folder)?);
        for (tenant, folder) in tenant_folders(&folder.join(TENANTS))? {
            let mut texts = DefinitionTexts::new();
            for path in definition_files(&folder)? {
                texts.insert(stem(&path), read_text(&path)?);
            }
            let set = Arc::new(sets.common.overlaid(&folder)?);
            if !texts.is_empty() {
                sets.tenants.insert(tenant, Own { texts, set });
            }
        }
        Ok(sets)
    }

    /// One set for all tenants.
    #[must_use]
    pub fn of(common: Definitions) -> Self {
        Self {
            common: Arc::new(common),
            tenants: BTreeMap::new(),
        }
    }

    /// What a record says was in force. A text that this program cannot read any more is answered with that of
    /// `fallback`, and listed: scores name the definition that made them, so it shows.
    #[must_use]
    pub fn of_record(record: &DefinitionRecord, fallback: &Definitions) -> (Self, Vec<DefinitionError>) {
        let mut problems = Vec::new();
        let mut taken = |base: &Definitions, texts: &DefinitionTexts| {
            let mut set = base.clone();
            for (name, text) in texts {
                let file = format!("{name}.toml in force since {}", record.since);
                if let Err(error) = set.replace(name, &file, text) {
                    problems.push(error);
                }
            }
            set
        };
        let common = taken(fallback, &record.common);
        let tenants = record.tenants.iter().map(|(tenant, texts)| {
            let own = Own {
                texts: texts.clone(),
                set: Arc::new(taken(&common, texts)),
            };
            (tenant.clone(), own)
        });
        let tenants = tenants.collect();
        let sets = Self {
            common: Arc::new(common),
            tenants,
        };
        (sets, problems)
    }

    /// The texts to record: the common ones whole, of tenants what they replace.
    #[must_use]
    pub fn texts(&self) -> (DefinitionTexts, BTreeMap<String, DefinitionTexts>) {
        let common = Definitions::NAMES.iter().filter_map(|name| {
            let text = self.common.text(name)?;
            Some(((*name).to_owned(), text.to_owned()))
        });
        let tenants = self.tenants.iter();
        let tenants = tenants.map(|(tenant, own)| (tenant.clone(), own.texts.clone()));
        (common.collect(), tenants.collect())
    }

    /// The set for tenants without their own.
    #[must_use]
    pub const fn common(&self) -> &Arc<Definitions> {
        &self.common
    }

    /// The set of a tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant_id: &str) -> &Arc<Definitions> {
        self.tenants.get(tenant_id).map_or(&self.common, |own| &own.set)
    }

    /// These sets with one definition of one tenant replaced by a text.
    ///
    /// # Errors
    /// An unknown name, or a text that states something that cannot be meant.
    pub fn with_own(&self, tenant_id: &str, name: &str, text: &str) -> Result<Self, DefinitionError> {
        let mut sets = self.clone();
        let own = sets.tenants.remove(tenant_id);
        let (mut texts, set) = own.map_or_else(
            || (DefinitionTexts::new(), Arc::clone(&self.common)),
            |own| (own.texts, own.set),
        );
        let set = Arc::new(set.with(name, text)?);
        texts.insert(name.to_owned(), text.to_owned());
        sets.tenants.insert(tenant_id.to_owned(), Own { texts, set });
        Ok(sets)
    }

    /// Tenants with definitions of their own.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.tenants.keys().map(String::as_str)
    }

    /// Whether every tenant's scores are made with the same definitions; comments and layout do not count.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let ids = |sets: &Self| {
            let of = |set: &Definitions| -> Vec<String> {
                set.summaries().into_iter().map(|one| one.id).collect()
            };
            let own: BTreeMap<String, Vec<String>> = sets
                .tenants
                .iter()
                .map(|(tenant, own)| (tenant.clone(), of(&own.set)))
                .collect();
            (of(&sets.common), own)
        };
        ids(self) == ids(other)
    }
}

/// Sub-folders in name order; none when the folder is missing.
fn tenant_folders(folder: &Path) -> Result<BTreeMap<String, std::path::PathBuf>, DefinitionError> {
    let unreadable = |error: std::io::Error| DefinitionError::Unreadable {
        path: folder.display().to_string(),
        reason: error.to_string(),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut folders = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            let tenant = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            folders.insert(tenant, path);
        }
    }
    Ok(folders)
}

/// The sets that were in force, each with the instant from which it was, oldest first.
pub type History = Vec<(Timestamp, DefinitionSets)>;

/// What was in force when, one definition of one version a row: the SQL table `definition_history`.
///
/// # Errors
/// Never in practice: columns and schema are written side by side.
pub fn table(history: &History, tenant_id: &str) -> Result<RecordBatch, ArrowError> {
    struct Stay<'a> {
        set: &'a Definitions,
        name: &'static str,
        own: bool,
        from: Timestamp,
        until: Option<Timestamp>,
    }
    let mut stays: Vec<Stay<'_>> = Vec::new();
    for (since, sets) in history {
        let set = sets.of_tenant(tenant_id);
        for name in Definitions::NAMES {
            let own = sets
                .tenants
                .get(tenant_id)
                .is_some_and(|own| own.texts.contains_key(*name));
            let before = stays.iter_mut().rfind(|stay| stay.name == *name);
            let same = |stay: &Stay<'_>| stay.set.id(name) == set.id(name) && stay.own == own;
            match before {
                Some(stay) if same(stay) => continue,
                Some(stay) => stay.until = Some(*since),
                None => {}
            }
            stays.push(Stay {
                set,
                name,
                own,
                from: *since,
                until: None,
            });
        }
    }
    let text = |of: &dyn Fn(&Stay<'_>) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(stays.iter().map(of)))
    };
    let instants = |of: &dyn Fn(&Stay<'_>) -> Option<Timestamp>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter(
            stays.iter().map(|stay| of(stay).map(Timestamp::micros)),
        ))
    };
    let versions = stays
        .iter()
        .map(|stay| i64::from(stay.set.version(stay.name).unwrap_or(0)));
    let field = |name: &str, form: DataType, nullable| Field::new(name, form, nullable);
    let schema = Schema::new(vec![
        field("tenant_id", DataType::Utf8View, false),
        field("name", DataType::Utf8View, false),
        field("version", DataType::Int64, false),
        field("definition", DataType::Utf8View, false),
        field("own", DataType::Boolean, false),
        field("in_force_from", timestamp_type(), false),
        field("in_force_until", timestamp_type(), true),
        field("text", DataType::Utf8View, false),
    ]);
    let columns = vec![
        text(&|_| tenant_id.to_owned()),
        text(&|stay| stay.name.to_owned()),
        Arc::new(Int64Array::from_iter_values(versions)) as ArrayRef,
        text(&|stay| stay.set.id(stay.name).unwrap_or_default().to_owned()),
        Arc::new(BooleanArray::from_iter(stays.iter().map(|stay| Some(stay.own)))) as ArrayRef,
        instants(&|stay| Some(stay.from)),
        instants(&|stay| stay.until),
        text(&|stay| stay.set.text(stay.name).unwrap_or_default().to_owned()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
}

/// One key that differs between two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Key path such as `events."email.opened".weight`.
    pub key: String,
    /// Value before as TOML; `None` where the key is new.
    pub before: Option<String>,
    /// Value after as TOML; `None` where the key is gone.
    pub after: Option<String>,
}

/// What differs between two texts of a definition, key by key in the order of keys; comments and layout do not count.
/// A text that is no TOML counts as empty.
#[must_use]
pub fn differences(before: &str, after: &str) -> Vec<Difference> {
    let (before, after) = (values(before), values(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |key: &String| Difference {
        key: key.clone(),
        before: before.get(key).cloned(),
        after: after.get(key).cloned(),
    };
    keys.into_iter()
        .map(of)
        .filter(|difference| difference.before != difference.after)
        .collect()
}

fn values(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        flatten("", &toml::Value::Table(table), &mut found);
    }
    found
}

fn flatten(path: &str, value: &toml::Value, found: &mut BTreeMap<String, String>) {
    let under = |key: &str| {
        if path.is_empty() {
            super::read::spelled(std::iter::once(key))
        } else {
            format!("{path}.{}", super::read::spelled(std::iter::once(key)))
        }
    };
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (key, value) in table {
                flatten(&under(key), value, found);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for (index, item) in items.iter().enumerate() {
                // An entry of a list is known by its name where it has one, so that a new one in the middle is one change.
                let name = item
                    .get("name")
                    .or_else(|| item.get("rule"))
                    .and_then(toml::Value::as_str);
                let place = name.map_or_else(|| index.to_string(), str::to_owned);
                flatten(&under(&place), item, found);
            }
        }
        other => {
            found.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    fn dearer() -> Definitions {
        let text = Definitions::shipped_text("engagement").expect("shipped");
        let dearer = text.replacen("saturation = ", "saturation = 2", 1);
        Definitions::shipped()
            .with("engagement", &dearer)
            .expect("still valid")
    }

    #[test]
    fn a_folder_overlays_what_ships_and_a_tenants_folder_overlays_it_once_more() {
        let folder = std::env::temp_dir().join(format!("revgauge-definition-sets-{}", std::process::id()));
        let own = folder.join("tenants/acme");
        std::fs::create_dir_all(&own).expect("created");
        let changed = dearer();
        std::fs::write(own.join("engagement.toml"), changed.engagement.text()).expect("written");
        let sets = DefinitionSets::load(Some(&folder)).expect("read");
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(sets.of_tenant("acme").engagement.id(), changed.engagement.id());
        assert_eq!(
            sets.of_tenant("other").engagement.id(),
            Definitions::shipped().engagement.id()
        );
        let (common, tenants) = sets.texts();
        assert_eq!(common.len(), Definitions::NAMES.len());
        let record = DefinitionRecord {
            since: Timestamp(1),
            common,
            tenants,
        };
        let (read, problems) = DefinitionSets::of_record(&record, &Definitions::shipped());
        assert!(problems.is_empty() && read.says_the_same(&sets), "{problems:?}");
        assert!(!read.says_the_same(&DefinitionSets::of(Definitions::shipped())));
    }

    #[test]
    fn a_text_for_one_tenant_leaves_the_others_alone() {
        let sets = DefinitionSets::of(Definitions::shipped());
        let text = dearer().engagement.text().to_owned();
        let with = sets.with_own("acme", "engagement", &text).expect("valid");
        assert_eq!(with.of_tenant("acme").engagement.id(), dearer().engagement.id());
        assert_eq!(
            with.of_tenant("other").engagement.id(),
            sets.common().engagement.id()
        );
        assert!(sets.with_own("acme", "engagement", "nonsense = 1").is_err());
        assert!(sets.with_own("acme", "astrology", &text).is_err());
    }

    #[test]
    fn a_recorded_text_that_cannot_be_read_any_more_is_listed_and_answered_by_the_fallback() {
        let (mut common, tenants) = DefinitionSets::of(dearer()).texts();
        common.insert(
            "intent".to_owned(),
            "name = 'intent'\nof_another_age = 1".to_owned(),
        );
        common.insert("astrology".to_owned(), String::new());
        let record = DefinitionRecord {
            since: Timestamp(1),
            common,
            tenants,
        };
        let (read, problems) = DefinitionSets::of_record(&record, &Definitions::shipped());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!(read.common().engagement.id(), dearer().engagement.id());
        assert_eq!(read.common().intent.id(), Definitions::shipped().intent.id());
    }

    #[test]
    fn the_table_tells_each_stay_once() {
        let history = vec![
            (Timestamp(1), DefinitionSets::of(Definitions::shipped())),
            (Timestamp(5), DefinitionSets::of(dearer())),
            (Timestamp(9), DefinitionSets::of(Definitions::shipped())),
        ];
        let rows = table(&history, "acme").expect("built");
        assert_eq!(rows.num_rows(), Definitions::NAMES.len() + 2);
        let names = rows.column_by_name("name").expect("column").as_string_view();
        let until = rows
            .column_by_name("in_force_until")
            .expect("column")
            .as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let engagement: Vec<_> = names
            .iter()
            .zip(until.iter())
            .filter_map(|(name, until)| (name == Some("engagement")).then_some(until))
            .collect();
        assert_eq!(engagement, [Some(5), Some(9), None]);
    }

    #[test]
    fn differences_are_told_by_key() {
        let before = "a = 1\n[events.\"email.opened\"]\nweight = 2.0\n[[rule]]\nname = 'stall'\ndays = 7\n";
        let after = "# a comment\na = 1\n[events.\"email.opened\"]\nweight = 3.0\n[[rule]]\nname = 'new'\nx = true\n\
                     [[rule]]\nname = 'stall'\ndays = 7\n";
        let told: Vec<_> = differences(before, after)
            .into_iter()
            .map(|one| (one.key, one.before, one.after))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (
                    "events.\"email.opened\".weight".to_owned(),
                    text("2.0"),
                    text("3.0")
                ),
                ("rule.new.name".to_owned(), None, text("\"new\"")),
                ("rule.new.x".to_owned(), None, text("true")),
            ]
        );
    }
}
