//! The pipelines of the product: SQL files with directives in their first comment lines.

use std::sync::LazyLock;

use crate::error::PipelineError;

/// DDL of the source table `events`.
pub const EVENTS_DDL: &str = include_str!("../sql/tables/events.sql");
/// DDL of the source table `crm_fields`.
pub const CRM_FIELDS_DDL: &str = include_str!("../sql/tables/crm_fields.sql");

/// One pipeline: its text and what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Name of the file and of the table it fills.
    pub name: &'static str,
    /// The whole file.
    pub sql: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// What a row is about: `contact`, `account`, `deal`, `user`, `object`, `source`.
    pub entity: &'static str,
    /// Output column with the entity's key.
    pub key: &'static str,
}

macro_rules! pipelines {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../sql/", $name, ".sql")))),*]
    };
}

const FILES: [(&str, &str); 11] = pipelines![
    "contact_engagement",
    "contact_rhythm",
    "account_signals",
    "deal_activity",
    "deal_contacts",
    "deal_texts",
    "rep_activity",
    "crm_state",
    "deal_history",
    "crm_history",
    "event_counts",
];

static ALL: LazyLock<Vec<Pipeline>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, sql)| {
            Pipeline::parse(name, sql).expect("the shipped pipelines have all directives (tested)")
        })
        .collect()
});

/// All pipelines that ship with the product, in the order they are listed.
#[must_use]
pub fn all() -> &'static [Pipeline] {
    &ALL
}

impl Pipeline {
    /// Reads the directives of a pipeline file.
    ///
    /// # Errors
    /// `Malformed` when a directive is missing or unknown.
    pub fn parse(name: &'static str, sql: &'static str) -> Result<Self, PipelineError> {
        let malformed = |message: String| PipelineError::Malformed {
            pipeline: name.to_owned(),
            message,
        };
        let (mut description, mut entity, mut key) = (None, None, None);
        for line in sql.lines().map_while(|line| line.strip_prefix("--!")) {
            let (directive, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("'--!{line}' is no 'name: value'")))?;
            let slot = match directive.trim() {
                "description" => &mut description,
                "entity" => &mut entity,
                "key" => &mut key,
                other => {
                    return Err(malformed(format!(
                        "unknown directive '{other}': use description, entity, key"
                    )));
                }
            };
            *slot = Some(value.trim());
        }
        let need = |value: Option<&'static str>, directive: &str| {
            value.ok_or_else(|| malformed(format!("the line '--! {directive}: ...' is missing")))
        };
        Ok(Self {
            name,
            sql,
            description: need(description, "description")?,
            entity: need(entity, "entity")?,
            key: need(key, "key")?,
        })
    }

    /// The shipped pipeline of that name.
    ///
    /// # Errors
    /// `Unknown` when there is none.
    pub fn named(name: &str) -> Result<&'static Self, PipelineError> {
        all()
            .iter()
            .find(|pipeline| pipeline.name == name)
            .ok_or_else(|| PipelineError::Unknown(name.to_owned()))
    }

    /// Names the state that this text makes: a changed text gives another, and old checkpoints no longer fit.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = crc32fast::Hasher::new();
        hash.update(self.sql.as_bytes());
        format!(
            "v{}-{:08x}-{}",
            revgauge_contract::schema::EVENTS_VERSION,
            hash.finalize(),
            self.sql.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_directives() {
        assert_eq!(all().len(), FILES.len());
        for pipeline in all() {
            assert!(pipeline.sql.contains(&format!("INSERT INTO {}\n", pipeline.name)));
            assert!(!pipeline.description.is_empty());
        }
    }

    #[test]
    fn a_missing_or_unknown_directive_is_named() {
        let error = Pipeline::parse("x", "--! entity: contact\nSELECT 1").expect_err("incomplete");
        assert!(error.to_string().contains("description"), "{error}");
        let error = Pipeline::parse("x", "--! colour: red\nSELECT 1").expect_err("unknown");
        assert!(error.to_string().contains("colour"), "{error}");
    }
}
