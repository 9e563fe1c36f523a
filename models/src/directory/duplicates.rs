//! Companies that several sources brought more than once (SO-68).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Accounts that look like one company but are not merged in the CRM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateCompanies {
    /// What they share.
    pub reason: DuplicateReason,
    /// The shared domain or normalised name.
    pub key: String,
    /// Canonical account ids, at least two, sorted.
    pub account_ids: Vec<Arc<str>>,
}

/// What duplicate companies share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DuplicateReason {
    /// The registered domain.
    Domain,
    /// The name, without case, punctuation and legal form.
    Name,
}

/// Words of legal forms that say nothing about who a company is.
const LEGAL_FORMS: &[&str] = &[
    "inc",
    "incorporated",
    "llc",
    "llp",
    "ltd",
    "limited",
    "gmbh",
    "ag",
    "kg",
    "se",
    "sa",
    "sas",
    "sarl",
    "srl",
    "spa",
    "bv",
    "nv",
    "ab",
    "oy",
    "as",
    "aps",
    "plc",
    "corp",
    "corporation",
    "co",
    "company",
    "pty",
    "pte",
    "holding",
    "holdings",
    "group",
    "the",
];

/// A company name without case, punctuation and legal form; `None` when nothing is left.
#[must_use]
pub fn normal_name(name: &str) -> Option<String> {
    let lower: String = name
        .to_lowercase()
        .chars()
        .filter(|c| !matches!(c, '.' | '\'' | '’'))
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = lower
        .split_whitespace()
        .filter(|word| !LEGAL_FORMS.contains(word))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Groups of at least two accounts that share a key, sorted by reason and key. Pairs found by domain are not repeated
/// by name.
pub(crate) fn find(
    by_domain: BTreeMap<String, Vec<Arc<str>>>,
    by_name: BTreeMap<String, Vec<Arc<str>>>,
) -> Vec<DuplicateCompanies> {
    let mut found: Vec<DuplicateCompanies> = Vec::new();
    let mut listed: BTreeSet<Vec<Arc<str>>> = BTreeSet::new();
    for (reason, groups) in [
        (DuplicateReason::Domain, by_domain),
        (DuplicateReason::Name, by_name),
    ] {
        for (key, mut account_ids) in groups {
            account_ids.sort();
            account_ids.dedup();
            if account_ids.len() > 1 && listed.insert(account_ids.clone()) {
                found.push(DuplicateCompanies {
                    reason,
                    key,
                    account_ids,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_case_punctuation_and_legal_form() {
        for (name, normal) in [
            ("Acme, Inc.", Some("acme")),
            ("ACME GmbH & Co. KG", Some("acme")),
            ("Blue-Sky Labs Ltd", Some("blue sky labs")),
            ("The Company", None),
        ] {
            assert_eq!(normal_name(name).as_deref(), normal, "{name}");
        }
    }
}
