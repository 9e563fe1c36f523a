//! Scores of all entities of a kind in long form.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringViewBuilder, TimestampMicrosecondBuilder};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{EntityKind, Score, ScoreRows, scores_table},
    statistics::Knowledge,
};

use super::{View, view::account_scores};
use crate::{assembly::Detail, directory::first, facts::Fields, gather::Which};

/// One batch a chunk. Chunks bound memory where each is a few look-ups; a past state is one query, so there all at
/// once is cheaper than the same query again for each chunk.
pub(super) async fn all(
    view: &View,
    kind: EntityKind,
    asked: &ScoreRows,
    at: Timestamp,
    chunk: usize,
) -> Result<Vec<RecordBatch>, Failure> {
    let ids: Vec<Arc<str>> = match &asked.ids {
        Some(ids) => {
            let known = ids.iter().filter_map(|id| view.resolve(kind, id).ok());
            known.collect::<BTreeSet<_>>().into_iter().collect()
        }
        None => view.directory.read().ids(kind),
    };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    match view.knowledge {
        Knowledge::At(_) if asked.ids.is_none() => Ok(vec![batch(view, kind, asked, Which::All, at).await?]),
        _ => {
            let mut batches = Vec::new();
            for ids in ids.chunks(chunk.max(1)) {
                batches.push(batch(view, kind, asked, Which::These(ids), at).await?);
            }
            Ok(batches)
        }
    }
}

async fn batch(
    view: &View,
    kind: EntityKind,
    asked: &ScoreRows,
    which: Which<'_>,
    at: Timestamp,
) -> Result<RecordBatch, Failure> {
    let ids = match which {
        Which::All => None,
        Which::These(ids) => Some(ids),
    };
    let tiers = view.tiers(kind, ids).await?;
    let mut table = Table::new(view, kind, asked, at);
    match kind {
        EntityKind::Contact => {
            for contact in view.contacts(which, at, Detail::Full, &tiers).await? {
                let (id, account) = (contact.facts.contact_id.clone(), contact.facts.account_id.clone());
                let fields = contact.facts.fields.clone();
                let scores = view.told_contact_scores(contact, at, Detail::Full);
                table.append(&id, account.as_deref(), &fields, &scores);
            }
        }
        EntityKind::Account => {
            for account in view.accounts(which, at, Detail::Full).await? {
                let id = account.facts.account_id;
                table.append(
                    &id,
                    Some(&id),
                    &account.facts.fields,
                    &account_scores(account.scores),
                );
            }
        }
        EntityKind::Deal => {
            for deal in view.deals(which, at).await? {
                let previous = tiers.get(&(Arc::from(deal.deal_id.as_str()), "health".to_owned()));
                let previous = previous.map(String::as_str);
                let scores = view.deal_scores(&deal, at, previous);
                table.append(&deal.deal_id, deal.account_id.as_deref(), &deal.fields, &scores);
            }
        }
        EntityKind::Tenant => {}
    }
    table.finish()
}

/// What people call an entity.
pub(super) fn name(fields: &Fields) -> Option<String> {
    if let Some(name) = first(
        fields,
        &["name", "full_name", "deal_name", "dealname", "company_name"],
    ) {
        return Some(name.to_owned());
    }
    let given = first(fields, &["first_name", "firstname"]);
    let family = first(fields, &["last_name", "lastname"]);
    let both: Vec<&str> = [given, family].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" "))
}

struct Table<'a> {
    view: &'a View,
    kind: EntityKind,
    asked: &'a ScoreRows,
    explained: [bool; 3],
    at: Timestamp,
    text: [StringViewBuilder; 14],
    values: Float64Builder,
    times: TimestampMicrosecondBuilder,
}

impl<'a> Table<'a> {
    fn new(view: &'a View, kind: EntityKind, asked: &'a ScoreRows, at: Timestamp) -> Self {
        Self {
            view,
            kind,
            asked,
            explained: ["reasons", "contributions", "facts"].map(|column| asked.reads(column)),
            at,
            text: std::array::from_fn(|_| StringViewBuilder::new()),
            values: Float64Builder::new(),
            times: TimestampMicrosecondBuilder::new(),
        }
    }

    fn append(&mut self, id: &str, account: Option<&str>, fields: &Fields, scores: &[Score]) {
        let name = name(fields);
        let owner = first(fields, &["owner_id"]);
        let [reasoned, contributed, stated] = self.explained;
        for score in scores.iter().filter(|score| self.asked.wants_score(&score.name)) {
            let reasons: Vec<&str> = score
                .contributions
                .iter()
                .filter(|part| reasoned && part.factor != "base")
                .take(3)
                .map(|part| part.reason.as_str())
                .collect();
            let json = |wanted: bool, text: fn(&Score) -> serde_json::Result<String>| {
                if wanted {
                    text(score).unwrap_or_default()
                } else {
                    String::new()
                }
            };
            let contributions = json(contributed, |score| serde_json::to_string(&score.contributions));
            let facts = json(stated, |score| serde_json::to_string(&score.facts));
            let texts: [Option<&str>; 14] = [
                Some(&self.view.tenant_id),
                Some(self.kind.as_str()),
                Some(id),
                name.as_deref(),
                account,
                owner,
                Some(&score.name),
                score.tier.as_deref(),
                score.unscored_because.as_deref(),
                Some(&reasons.join("; ")),
                Some(&contributions),
                Some(&facts),
                Some(&score.definition),
                Some(&score.fingerprint),
            ];
            for (builder, text) in self.text.iter_mut().zip(texts) {
                builder.append_option(text);
            }
            self.values.append_option(score.value);
            self.times.append_value(self.at.micros());
        }
    }

    fn finish(mut self) -> Result<RecordBatch, Failure> {
        let mut text = self
            .text
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = text.by_ref().take(7).collect();
        columns.push(Arc::new(self.values.finish()));
        columns.extend(text);
        columns.push(Arc::new(self.times.finish()));
        RecordBatch::try_new(scores_table(), columns).map_err(|error| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot lay out the table of scores: {error}"),
            )
        })
    }
}
