//! Whose numbers a page shows: everyone, a manager with all below, or one rep.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    ask::{Sheet, text},
    form::quoted,
    leads::name_of,
    visit::Visit,
};

/// The people a page is about.
#[derive(Debug, Clone)]
pub(super) struct Who {
    /// The person picked; none for everyone.
    pub(super) id: Option<String>,
    /// The person and everyone below.
    ids: BTreeSet<String>,
}

impl Who {
    /// All people.
    pub(super) const fn everyone() -> Self {
        Self {
            id: None,
            ids: BTreeSet::new(),
        }
    }

    /// By `owner_id` of the address.
    pub(super) fn of(visit: &Visit, owners: &Sheet) -> Self {
        let id = visit.pairs.get("owner_id").map(str::to_owned);
        let ids = id.as_deref().map_or_else(BTreeSet::new, |id| below(owners, id));
        Self { id, ids }
    }

    /// A condition on an owner column, led by `AND`; nothing for everyone.
    pub(super) fn and(&self, column: &str) -> String {
        if self.id.is_none() {
            return String::new();
        }
        let ids: Vec<String> = self.ids.iter().map(|id| quoted(id)).collect();
        format!(" AND {column} IN ({})", ids.join(", "))
    }

    /// The third argument of `forecast_as_of`, led by a comma; nothing for everyone.
    pub(super) fn argument(&self) -> String {
        self.id
            .as_deref()
            .map_or_else(String::new, |id| format!(", {}", quoted(id)))
    }
}

/// A person and everyone below by `manager_id`; someone who is his own manager in a circle is below once.
fn below(owners: &Sheet, id: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::from([id.to_owned()]);
    let mut grown = true;
    while grown {
        grown = false;
        for row in &owners.rows {
            if ids.contains(text(row, "manager_id")) {
                grown |= ids.insert(text(row, "user_id").to_owned());
            }
        }
    }
    ids
}

/// People directly below one, or those without a manager among the known ones.
pub(super) fn directly_below<'a>(owners: &'a Sheet, id: Option<&str>) -> Vec<&'a str> {
    let known: BTreeSet<&str> = owners.rows.iter().map(|row| text(row, "user_id")).collect();
    let rows = owners.rows.iter().filter(|row| {
        let manager = text(row, "manager_id");
        id.map_or_else(
            || !known.contains(manager),
            |id| manager == id && text(row, "user_id") != id,
        )
    });
    rows.map(|row| text(row, "user_id")).collect()
}

/// A choice of everyone, teams and reps.
pub(super) fn choice(visit: &Visit, owners: &Sheet) -> Markup {
    let leads: BTreeSet<&str> = owners.rows.iter().map(|row| text(row, "manager_id")).collect();
    html! {
        label { "Who "
            select name="owner_id" {
                option value="" { "everyone" }
                @for row in &owners.rows {
                    @let id = text(row, "user_id");
                    option value=(id) selected[visit.pairs.get("owner_id") == Some(id)] {
                        @if leads.contains(id) { "team of " } (name_of(row))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use revgauge_contract::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::freshness::Freshness;

    #[test]
    fn a_team_is_everyone_below_once_even_in_a_circle() {
        let person = |id: &str, manager: &str| json!({"user_id": id, "name": id, "manager_id": manager});
        let owners = Sheet {
            sql: String::new(),
            columns: Vec::new(),
            rows: vec![
                person("ceo", ""),
                person("vp", "ceo"),
                person("rep", "vp"),
                person("x", "y"),
                person("y", "x"),
            ],
            truncated: false,
            freshness: Freshness::of("acme", Timestamp(0), BTreeMap::new()),
        };
        let ids = |id: &str| below(&owners, id).into_iter().collect::<Vec<_>>();
        assert_eq!(ids("ceo"), ["ceo", "rep", "vp"]);
        assert_eq!(ids("rep"), ["rep"]);
        assert_eq!(ids("x"), ["x", "y"]);
        assert_eq!(directly_below(&owners, None), ["ceo"]);
        assert_eq!(directly_below(&owners, Some("vp")), ["rep"]);
    }
}
