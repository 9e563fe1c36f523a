//! Definitions: the opinions of the product as versioned data.
//!
//! Each definition is one TOML file with a `name` and a `version`. The shipped ones are compiled in; an operator's or a
//! tenant's folder overlays them file by file (a file replaces the shipped one of the same name whole, so that what is
//! in force can be read in one place). A broken file changes nothing: loading answers every problem with file, line and
//! key, or the complete new set. What was in force before stays readable: see [`history`].

pub mod account;
pub mod actions;
pub mod authority;
mod check;
pub mod deal_health;
pub mod engagement;
mod error;
pub mod fit;
pub mod history;
pub mod intent;
pub mod priority;
mod read;
pub mod text_signals;

use std::{fs, ops::Deref, path::Path, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use strsim::jaro_winkler;

pub use self::{
    account::{AccountEngagement, AccountHealth, Relationship},
    actions::Actions,
    authority::Authority,
    deal_health::DealHealth,
    engagement::Engagement,
    error::{DefinitionError, Problem},
    fit::Fit,
    intent::Intent,
    priority::Priority,
    text_signals::TextSignals,
};
pub(crate) use self::{
    check::Check,
    read::{hexadecimal, read},
};

/// What a definition file must be able to do to take part.
pub(crate) trait Definition: Serialize + DeserializeOwned {
    /// Name, which is also the file's stem.
    const NAME: &'static str;
    /// Text of the shipped file.
    const SHIPPED: &'static str;

    /// The `name` and `version` keys as read.
    fn header(&self) -> (&str, u32);

    /// Notes every value that cannot be meant.
    fn check(&self, check: &mut Check);

    /// Builds look-up tables; called once after the checks passed.
    fn prepare(&mut self) {}
}

/// A checked definition and what names it (S-2).
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    body: T,
    id: String,
    sha256: String,
    text: Arc<str>,
}

impl<T> Versioned<T> {
    /// `name@version+hash`: the hash is the first eight hexadecimal digits of [`Self::sha256`], so that an edit
    /// without a new version is still told apart. Written into [`revgauge_contract::score::Score::definition`].
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the content in canonical form (comments and layout do not count), hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The TOML text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.body
    }
}

/// One line about a definition in force, for listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionSummary {
    /// Name.
    pub name: &'static str,
    /// Version the file states.
    pub version: u32,
    /// `name@version+hash`.
    pub id: String,
    /// Whether it is the shipped one.
    pub shipped: bool,
}

/// Writes the struct, the loaders and the listing from one list, so that a definition cannot be in one and not in the
/// other.
macro_rules! definitions {
    ($($(#[$doc:meta])* $field:ident: $type:ident,)+) => {
        /// A complete, checked set of definitions.
        #[derive(Debug, Clone)]
        pub struct Definitions {
            $($(#[$doc])* pub $field: Versioned<$type>,)+
        }

        impl Definitions {
            /// The names of all definitions.
            pub const NAMES: &'static [&'static str] = &[$($type::NAME),+];

            /// The set that ships with the product.
            ///
            /// # Panics
            /// Never: a test reads every shipped file.
            #[must_use]
            pub fn shipped() -> Self {
                Self {
                    $($field: read::<$type>(concat!(stringify!($field), ".toml"), $type::SHIPPED)
                        .expect("shipped definitions are read by a test"),)+
                }
            }

            /// Text of the shipped definition of that name, to start an own one from.
            #[must_use]
            pub fn shipped_text(name: &str) -> Option<&'static str> {
                match name {
                    $(_ if name == $type::NAME => Some($type::SHIPPED),)+
                    _ => None,
                }
            }

            /// The set in force, one line each.
            #[must_use]
            pub fn summaries(&self) -> Vec<DefinitionSummary> {
                let shipped = Self::shipped();
                vec![$(DefinitionSummary {
                    name: $type::NAME,
                    version: self.$field.header().1,
                    id: self.$field.id().to_owned(),
                    shipped: self.$field.sha256() == shipped.$field.sha256(),
                },)+]
            }

            /// Text of the definition of that name, as in this set.
            #[must_use]
            pub fn text(&self, name: &str) -> Option<&str> {
                match name {
                    $(_ if name == $type::NAME => Some(self.$field.text()),)+
                    _ => None,
                }
            }

            /// `name@version+hash` of the definition of that name.
            #[must_use]
            pub fn id(&self, name: &str) -> Option<&str> {
                match name {
                    $(_ if name == $type::NAME => Some(self.$field.id()),)+
                    _ => None,
                }
            }

            /// Version that the definition of that name states.
            #[must_use]
            pub fn version(&self, name: &str) -> Option<u32> {
                match name {
                    $(_ if name == $type::NAME => Some(self.$field.header().1),)+
                    _ => None,
                }
            }

            fn replace(&mut self, name: &str, file: &str, text: &str) -> Result<(), DefinitionError> {
                match name {
                    $(_ if name == $type::NAME => self.$field = read(file, text)?,)+
                    _ => return Err(unknown_name(file, name)),
                }
                Ok(())
            }
        }
    };
}

definitions! {
    /// Engagement of a contact, 0-100.
    engagement: Engagement,
    /// Intent of an account, 0-1.
    intent: Intent,
    /// Fit of an account, 0-1.
    fit: Fit,
    /// Buying authority of a contact, 0-1.
    authority: Authority,
    /// Engagement of an account rolled up from its contacts, 0-100.
    account_engagement: AccountEngagement,
    /// Relationship strength of an account, 0-100.
    relationship: Relationship,
    /// Health of an account, 0-100.
    account_health: AccountHealth,
    /// Priority and tier of a contact, 0-1.
    priority: Priority,
    /// Next action, channel, send time, unresponsive contacts.
    actions: Actions,
    /// Health of a deal, 1-100.
    deal_health: DealHealth,
    /// Signals in transcripts, mails and notes.
    text_signals: TextSignals,
}

impl Definitions {
    /// The shipped set with the `*.toml` files of `dir` in place of those of the same name. A missing folder is an
    /// empty one.
    ///
    /// # Errors
    /// A file that cannot be read, has no known name, or states something that cannot be meant.
    pub fn load(dir: &Path) -> Result<Self, DefinitionError> {
        Self::shipped().overlaid(dir)
    }

    /// This set with the files of another folder on top: operator first, then tenant.
    ///
    /// # Errors
    /// As [`Self::load`]; this set is not touched.
    pub fn overlaid(&self, dir: &Path) -> Result<Self, DefinitionError> {
        let mut set = self.clone();
        for path in definition_files(dir)? {
            let text = read_text(&path)?;
            set.replace(&stem(&path), &path.display().to_string(), &text)?;
        }
        Ok(set)
    }

    /// This set with one definition replaced by a text: a what-if before it is saved.
    ///
    /// # Errors
    /// An unknown name, or a text that states something that cannot be meant.
    pub fn with(&self, name: &str, text: &str) -> Result<Self, DefinitionError> {
        let mut set = self.clone();
        set.replace(name, &format!("{name}.toml"), text)?;
        Ok(set)
    }

    /// Checks one file without putting it in force; its stem says which definition it is.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn validate_file(path: &Path) -> Result<(), DefinitionError> {
        let text = read_text(path)?;
        Self::shipped().replace(&stem(path), &path.display().to_string(), &text)
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn read_text(path: &Path) -> Result<String, DefinitionError> {
    fs::read_to_string(path).map_err(|error| DefinitionError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// The folder's TOML files in name order, so that the first error told is always the same.
fn definition_files(dir: &Path) -> Result<Vec<std::path::PathBuf>, DefinitionError> {
    let unreadable = |error: std::io::Error| DefinitionError::Unreadable {
        path: dir.display().to_string(),
        reason: error.to_string(),
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unknown_name(file: &str, name: &str) -> DefinitionError {
    let hint = nearest(name, Definitions::NAMES.iter().copied()).map_or_else(
        || format!("known are {}", Definitions::NAMES.join(", ")),
        |near| format!("did you mean '{near}.toml'?"),
    );
    DefinitionError::UnknownName {
        file: file.to_owned(),
        name: name.to_owned(),
        hint,
    }
}

/// The most similar candidate when it is similar enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
