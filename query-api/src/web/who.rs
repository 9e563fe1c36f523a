//! Whose numbers a page shows: everyone, a manager with all below, or one rep.

use std::collections::{BTreeSet, HashMap, HashSet};

use maud::{Markup, html};
use serde_json::Value;

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

/// A choice of everyone, teams and reps: all of them, or where they are more than a list is good for, a level of the
/// hierarchy at a time.
pub(super) fn choice(visit: &Visit, owners: &Sheet) -> Markup {
    let leads: HashSet<&str> = owners.rows.iter().map(|row| text(row, "manager_id")).collect();
    let chosen = visit.pairs.get("owner_id");
    let most = visit.api.settings.web.offered_people;
    let offered = offered(owners, chosen, most);
    html! {
        label { "Who "
            select name="owner_id" {
                option value="" { "everyone" }
                @for row in &offered {
                    @let id = text(row, "user_id");
                    option value=(id) selected[chosen == Some(id)] {
                        @if leads.contains(id) { "team of " } (name_of(row))
                    }
                }
                @if offered.len() < owners.rows.len() { option disabled { "… and more: choose a team, or a rep in a table" } }
            }
        }
    }
}

/// Who stands in the choice. Of more people than `most`: those above the chosen one from the top down, the chosen one, and who
/// is directly below.
fn offered<'a>(owners: &'a Sheet, chosen: Option<&str>, most: usize) -> Vec<&'a Value> {
    if owners.rows.len() <= most {
        return owners.rows.iter().collect();
    }
    let by_id: HashMap<&str, &Value> = owners
        .rows
        .iter()
        .map(|row| (text(row, "user_id"), row))
        .collect();
    let mut listed = HashSet::new();
    let mut offered = Vec::new();
    let mut above = chosen.and_then(|id| by_id.get(id));
    while let Some(&row) = above.filter(|row| listed.insert(text(row, "user_id"))) {
        offered.push(row);
        above = by_id.get(text(row, "manager_id"));
    }
    offered.reverse();
    for id in directly_below(owners, chosen.filter(|id| by_id.contains_key(id))) {
        if offered.len() < most && listed.insert(id) {
            offered.extend(by_id.get(id));
        }
    }
    offered
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use revgauge_contract::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{freshness::Freshness, web::statement::Statement};

    fn people(pairs: &[(&str, &str)]) -> Sheet {
        let person = |(id, manager): &(&str, &str)| json!({"user_id": id, "name": id, "manager_id": manager});
        Sheet {
            sql: Statement::new(""),
            columns: Vec::new(),
            rows: pairs.iter().map(person).collect(),
            truncated: false,
            freshness: Freshness::of("acme", Timestamp(0), BTreeMap::new()),
        }
    }

    #[test]
    fn a_team_is_everyone_below_once_even_in_a_circle() {
        let owners = people(&[("ceo", ""), ("vp", "ceo"), ("rep", "vp"), ("x", "y"), ("y", "x")]);
        let ids = |id: &str| below(&owners, id).into_iter().collect::<Vec<_>>();
        assert_eq!(ids("ceo"), ["ceo", "rep", "vp"]);
        assert_eq!(ids("rep"), ["rep"]);
        assert_eq!(ids("x"), ["x", "y"]);
        assert_eq!(directly_below(&owners, None), ["ceo"]);
        assert_eq!(directly_below(&owners, Some("vp")), ["rep"]);
    }

    #[test]
    fn of_many_people_a_level_of_the_hierarchy_is_offered() {
        let owners = people(&[
            ("ceo", ""),
            ("east", "ceo"),
            ("west", "ceo"),
            ("ann", "east"),
            ("bob", "east"),
            ("x", "y"),
            ("y", "x"),
        ]);
        let ids = |chosen: Option<&str>, most: usize| -> Vec<&str> {
            let offered = offered(&owners, chosen, most);
            offered.into_iter().map(|row| text(row, "user_id")).collect()
        };
        assert_eq!(ids(Some("east"), 7).len(), 7, "all where there is room");
        assert_eq!(ids(None, 6), ["ceo"]);
        assert_eq!(ids(Some("ceo"), 6), ["ceo", "east", "west"]);
        assert_eq!(ids(Some("east"), 6), ["ceo", "east", "ann", "bob"]);
        assert_eq!(ids(Some("ann"), 6), ["ceo", "east", "ann"]);
        assert_eq!(ids(Some("east"), 3), ["ceo", "east", "ann"], "no more than asked");
        assert_eq!(ids(Some("x"), 6), ["y", "x"], "a circle ends");
        assert_eq!(
            ids(Some("nobody"), 6),
            ["ceo"],
            "who is not known is offered the top"
        );
    }
}
