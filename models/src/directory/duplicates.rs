//! Companies that several sources brought more than once (SO-68).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Accounts that look like one company but are not merged in the CRM.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateCompanies {
    /// What they share.
    pub reason: DuplicateReason,
    /// The shared domain or normalised name.
    pub key: String,
    /// Canonical account ids, at least two, sorted.
    pub account_ids: Vec<Arc<str>>,
    /// How much the evidence says that they are one company, 0 to 1: a rank, not a calibrated probability.
    pub confidence: f64,
    /// What speaks for it and against it, for people.
    pub evidence: Vec<String>,
}

/// Rank of accounts that share a registered domain: only one company registers it, but a group of companies may share it.
const SAME_DOMAIN: f64 = 0.9;
/// Rank of accounts that share both.
const SAME_DOMAIN_AND_NAME: f64 = 0.98;
/// Rank of accounts that share the name while no domain speaks against it.
const SAME_NAME: f64 = 0.7;
/// Rank of accounts that share the name but have domains of their own: "Delta" is many companies.
const SAME_NAME_OTHER_DOMAIN: f64 = 0.4;

/// What duplicate companies share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DuplicateReason {
    /// The registered domain.
    Domain,
    /// The name, without case, punctuation and legal form.
    Name,
}

impl DuplicateReason {
    /// The text shown: `domain` or `name`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Name => "name",
        }
    }
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

/// Groups of at least two accounts that share a key, the surest first, then by reason and key. A group found by domain
/// is not repeated by name: the name is then one more piece of evidence.
pub(crate) fn find(
    by_domain: BTreeMap<String, Vec<Arc<str>>>,
    by_name: BTreeMap<String, Vec<Arc<str>>>,
) -> Vec<DuplicateCompanies> {
    let mut domains: BTreeMap<Arc<str>, BTreeSet<String>> = BTreeMap::new();
    for (domain, account_ids) in &by_domain {
        for id in account_ids {
            domains.entry(Arc::clone(id)).or_default().insert(domain.clone());
        }
    }
    let mut found: BTreeMap<Vec<Arc<str>>, DuplicateCompanies> = BTreeMap::new();
    for (domain, account_ids) in by_domain {
        let Some(account_ids) = several(account_ids) else {
            continue;
        };
        let said = format!("{} accounts have the domain {domain}", account_ids.len());
        let group = found
            .entry(account_ids.clone())
            .or_insert_with(|| DuplicateCompanies {
                reason: DuplicateReason::Domain,
                key: domain,
                account_ids,
                confidence: SAME_DOMAIN,
                evidence: Vec::new(),
            });
        group.evidence.push(said);
    }
    for (name, account_ids) in by_name {
        let Some(account_ids) = several(account_ids) else {
            continue;
        };
        let said = format!("{} accounts are named '{name}'", account_ids.len());
        if let Some(group) = found.get_mut(&account_ids) {
            group.confidence = SAME_DOMAIN_AND_NAME;
            group.evidence.push(said);
            continue;
        }
        let apart = apart(&account_ids, &domains);
        let mut evidence = vec![said];
        let confidence = if let Some((one, other)) = apart {
            evidence.push(format!("against it: one has the domain {one}, another {other}"));
            SAME_NAME_OTHER_DOMAIN
        } else {
            SAME_NAME
        };
        found.insert(
            account_ids.clone(),
            DuplicateCompanies {
                reason: DuplicateReason::Name,
                key: name,
                account_ids,
                confidence,
                evidence,
            },
        );
    }
    let mut found: Vec<DuplicateCompanies> = found.into_values().collect();
    found.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then_with(|| (a.reason, &a.key).cmp(&(b.reason, &b.key)))
    });
    found
}

/// The ids sorted, each once, when there are several.
fn several(mut account_ids: Vec<Arc<str>>) -> Option<Vec<Arc<str>>> {
    account_ids.sort();
    account_ids.dedup();
    (account_ids.len() > 1).then_some(account_ids)
}

/// Domains of two of the accounts that have known domains and none in common.
fn apart<'a>(
    account_ids: &[Arc<str>],
    domains: &'a BTreeMap<Arc<str>, BTreeSet<String>>,
) -> Option<(&'a str, &'a str)> {
    let known: Vec<&BTreeSet<String>> = account_ids.iter().filter_map(|id| domains.get(id)).collect();
    known.iter().enumerate().find_map(|(index, one)| {
        let other = known[index + 1..].iter().find(|other| one.is_disjoint(other))?;
        Some((one.first()?.as_str(), other.first()?.as_str()))
    })
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

    #[test]
    fn confidence_follows_the_evidence() {
        let groups = |rows: &[(&str, &[&str])]| -> BTreeMap<String, Vec<Arc<str>>> {
            let ids = |ids: &[&str]| ids.iter().map(|id| Arc::from(*id)).collect();
            rows.iter()
                .map(|(key, of)| ((*key).to_owned(), ids(of)))
                .collect()
        };
        let found = find(
            groups(&[
                ("acme.io", &["1", "2"]),
                ("umbrella.com", &["3", "4"]),
                ("delta.com", &["5"]),
                ("delta.fr", &["6"]),
                ("alone.io", &["9", "9"]),
            ]),
            groups(&[
                ("acme", &["2", "1"]),
                ("delta", &["5", "6"]),
                ("blue sky", &["7", "8"]),
            ]),
        );
        let told: Vec<(&str, DuplicateReason, f64, usize)> = found
            .iter()
            .map(|group| (&*group.key, group.reason, group.confidence, group.evidence.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("acme.io", DuplicateReason::Domain, SAME_DOMAIN_AND_NAME, 2),
                ("umbrella.com", DuplicateReason::Domain, SAME_DOMAIN, 1),
                ("blue sky", DuplicateReason::Name, SAME_NAME, 1),
                ("delta", DuplicateReason::Name, SAME_NAME_OTHER_DOMAIN, 2),
            ]
        );
    }
}
