//! Laws of the directory: order-free, merges and deletes carried through.

use proptest::prelude::*;
use revgauge_contract::score::EntityKind::{Account, Contact, Deal};

use super::*;
use crate::{
    packing::{Packer, Unpacker},
    sample::crm_state,
};

type Row = (&'static str, String, &'static str, i64, Option<String>);

fn batch(rows: &[Row]) -> RecordBatch {
    let rows: Vec<_> = rows
        .iter()
        .map(|(object, id, field, version, value)| (*object, id.as_str(), *field, *version, value.as_deref()))
        .collect();
    crm_state(&rows)
}

fn of(rows: &[(&str, &str, &str, i64, Option<&str>)]) -> Directory {
    let mut directory = Directory::default();
    directory.apply("crm_state", &crm_state(rows));
    directory
}

/// Everything a reader can see, as text.
fn seen(directory: &Directory) -> String {
    let mut text = String::new();
    for kind in [Contact, Account, Deal] {
        let mut ids = directory.ids(kind);
        ids.sort();
        for id in ids {
            text += &format!(
                "{kind:?} {id} keys {:?} fields {:?} provisional {} account {:?} deals {:?} {:?} contacts {:?} roles {:?}\n",
                directory.keys(kind, &id),
                directory.fields(kind, &id),
                directory.is_provisional(kind, &id),
                directory.account_of(&id),
                directory.deals_of(&id),
                directory.deals_of_contact(&id),
                directory.contacts_of(&id),
                directory.roles_of(&id),
            );
        }
    }
    text + &format!("{:?}", directory.duplicates())
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let contact = prop_oneof![Just("c1"), Just("c2"), Just("c3"), Just("a@x.io")];
    let email = prop_oneof![Just("a@x.io"), Just("b@x.io"), Just("c@y.io")];
    let account = prop_oneof![Just("k1"), Just("k2"), Just("x.io")];
    let deal = prop_oneof![Just("d1"), Just("d2")];
    let text = |value: &str| Some(value.to_owned());
    let row = prop_oneof![
        (contact.clone(), email.clone()).prop_map(move |(id, v)| (
            "contact",
            id.to_owned(),
            "email",
            text(v)
        )),
        (contact.clone(), email).prop_map(move |(id, v)| ("person", id.to_owned(), "email", text(v))),
        (contact.clone(), prop::option::of(contact.clone())).prop_map(|(id, v)| (
            "contact",
            id.to_owned(),
            crm::MERGED_INTO,
            v.map(str::to_owned)
        )),
        (contact.clone(), any::<bool>()).prop_map(|(id, v)| (
            "contact",
            id.to_owned(),
            crm::DELETED,
            Some(v.to_string())
        )),
        (contact.clone(), prop::option::of(account.clone())).prop_map(|(id, v)| (
            "contact",
            id.to_owned(),
            "account_id",
            v.map(str::to_owned)
        )),
        (account.clone(), prop_oneof![Just("x.io"), Just("y.io")]).prop_map(move |(id, v)| (
            "account",
            id.to_owned(),
            "domain",
            text(v)
        )),
        (account.clone(), prop::option::of(account.clone())).prop_map(|(id, v)| (
            "account",
            id.to_owned(),
            crm::MERGED_INTO,
            v.map(str::to_owned)
        )),
        (account.clone(), any::<bool>()).prop_map(|(id, v)| (
            "account",
            id.to_owned(),
            crm::DELETED,
            Some(v.to_string())
        )),
        (deal.clone(), account).prop_map(move |(id, v)| ("deal", id.to_owned(), "account_id", text(v))),
        (deal.clone(), contact.clone()).prop_map(move |(id, v)| (
            "deal",
            id.to_owned(),
            "contact_id",
            text(v)
        )),
        (deal, contact, "[a-b]").prop_map(|(deal, contact, v)| (
            "role",
            format!("{deal}/{contact}"),
            "role",
            Some(v)
        )),
    ];
    prop::collection::vec((row, 0i64..4), 1..25).prop_map(|rows| {
        rows.into_iter()
            .map(|((object, id, field, value), version)| (object, id, field, version, value))
            .collect()
    })
}

/// The directory through its packed form.
fn packed_and_back(directory: &Directory) -> Directory {
    let mut packer = Packer::default();
    for section in Section::ALL {
        for node in 0..directory.nodes(section) {
            directory.pack(section, node, &mut packer);
        }
    }
    directory.pack_rest(&mut packer);
    let mut back = Directory::default();
    let mut from = Unpacker(&packer.0);
    for section in Section::ALL {
        for _ in 0..directory.nodes(section) {
            back.unpack(section, &mut from).expect("a node");
        }
    }
    back.unpack_rest(&mut from).expect("the rest");
    back.unpacked().expect("whole");
    back
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_packed_directory_is_the_same_and_goes_on(rows in rows(), cut in 0usize..25) {
        let (before, after) = rows.split_at(cut.min(rows.len()));
        let mut steady = Directory::default();
        steady.apply("crm_state", &batch(before));
        let mut back = packed_and_back(&steady);
        prop_assert_eq!(seen(&back), seen(&steady));
        steady.apply("crm_state", &batch(after));
        back.apply("crm_state", &batch(after));
        prop_assert_eq!(seen(&back), seen(&steady));
    }

    /// N-22, P-1: any order and any batching of the rows gives the same directory.
    #[test]
    fn order_and_batching_are_nothing(rows in rows(), seed in any::<u64>(), cut in 1usize..5) {
        let mut shuffled = rows.clone();
        let mut state = seed | 1;
        for place in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(place, (state >> 33) as usize % (place + 1));
        }
        let mut whole = Directory::default();
        whole.apply("crm_state", &batch(&rows));
        let mut pieces = Directory::default();
        for piece in shuffled.chunks(cut) {
            pieces.apply("crm_state", &batch(piece));
        }
        pieces.apply("crm_state", &batch(&rows));
        prop_assert_eq!(seen(&whole), seen(&pieces));
    }

    /// What an apply does not name as touched, looks the same after it.
    #[test]
    fn touched_names_all_that_moved(before in rows(), after in rows()) {
        let mut directory = Directory::default();
        directory.apply("crm_state", &batch(&before));
        let look = |directory: &Directory, kind| -> std::collections::BTreeMap<Arc<str>, String> {
            directory.ids(kind).into_iter().map(|id| {
                let text = format!("{:?} {:?} {:?} {:?} {:?}", directory.keys(kind, &id), directory.fields(kind, &id),
                    (kind == Contact).then(|| directory.account_of(&id)),
                    (kind == Account).then(|| directory.contacts_of(&id)),
                    (kind == Deal).then(|| (directory.roles_of(&id), directory.account_of_deal(&id))));
                (id, text)
            }).collect()
        };
        let old: Vec<_> = [Contact, Account].map(|kind| look(&directory, kind)).into();
        let touched = directory.apply("crm_state", &batch(&after));
        for ((kind, old), touched) in [Contact, Account].into_iter().zip(old).zip([&touched.contacts, &touched.accounts]) {
            let new = look(&directory, kind);
            for id in old.keys().chain(new.keys()) {
                if old.get(id) != new.get(id) && !(kind == Contact && old.contains_key(id) && new.contains_key(id)) {
                    prop_assert!(touched.contains(id), "{:?} {} moved from {:?} to {:?}", kind, id, old.get(id), new.get(id));
                }
            }
        }
    }
}

#[test]
fn a_merge_touches_the_account_that_loses_the_contact_and_its_undoing_the_one_that_gains_it() {
    let mut directory = of(&[
        ("person", "c2", "email", 0, Some("a@x.io")),
        ("contact", "c3", "email", 1, Some("c@y.io")),
    ]);
    let merge = |version, into| crm_state(&[("contact", "c2", crm::MERGED_INTO, version, into)]);
    let merged = directory.apply("crm_state", &merge(2, Some("c3")));
    assert!(directory.contacts_of("y.io").is_empty());
    assert!(merged.accounts.contains("y.io") && merged.accounts.contains("x.io"));
    let undone = directory.apply("crm_state", &merge(3, None));
    assert_eq!(directory.contacts_of("y.io").len(), 1);
    assert!(undone.accounts.contains("y.io") && undone.accounts.contains("x.io"));
}

#[test]
fn an_address_is_its_contact_and_a_merge_can_be_undone() {
    let mut directory = of(&[
        ("contact", "c1", "email", 1, Some("Jo@Acme.io")),
        ("contact", "c1", "title", 1, Some("CFO")),
        ("contact", "c2", "email", 1, Some("joe@acme.io")),
        ("account", "a1", "website", 1, Some("https://www.acme.io")),
        ("account", "a1", "name", 1, Some("Acme Inc.")),
        ("company", "acme.io", "industry", 1, Some("software")),
    ]);
    assert_eq!(directory.canonical(Contact, "jo@acme.io").as_deref(), Some("c1"));
    assert_eq!(directory.canonical(Contact, "JO@acme.io").as_deref(), Some("c1"));
    assert_eq!(directory.account_of("joe@acme.io").as_deref(), Some("a1"));
    assert_eq!(
        directory
            .fields(Account, "a1")
            .get("industry")
            .map(String::as_str),
        Some("software")
    );
    let touched = directory.apply(
        "crm_state",
        &crm_state(&[("contact", "c2", crm::MERGED_INTO, 2, Some("c1"))]),
    );
    assert!(touched.contacts.contains("c1") && touched.contacts.contains("c2"));
    assert!(touched.accounts.contains("a1"));
    assert_eq!(directory.canonical(Contact, "joe@acme.io").as_deref(), Some("c1"));
    assert_eq!(directory.contacts_of("a1").len(), 1);
    directory.apply(
        "crm_state",
        &crm_state(&[("contact", "c2", crm::MERGED_INTO, 3, None)]),
    );
    assert_eq!(directory.canonical(Contact, "joe@acme.io").as_deref(), Some("c2"));
    assert_eq!(directory.contacts_of("a1").len(), 2);
}

#[test]
fn a_deleted_contact_is_gone_and_may_come_back() {
    let mut directory = of(&[
        ("contact", "c1", "email", 1, Some("jo@acme.io")),
        ("contact", "c1", crm::DELETED, 2, Some("true")),
    ]);
    assert!(directory.is_deleted(Contact, "jo@acme.io"));
    assert!(directory.ids(Contact).is_empty());
    directory.apply(
        "crm_state",
        &crm_state(&[("contact", "c1", crm::DELETED, 3, Some("false"))]),
    );
    assert_eq!(directory.ids(Contact).len(), 1);
}

#[test]
fn merges_chain_and_circles_end() {
    let directory = of(&[
        ("contact", "c3", crm::MERGED_INTO, 1, Some("c2")),
        ("contact", "c2", crm::MERGED_INTO, 1, Some("c1")),
        ("contact", "c1", "name", 1, Some("Jo")),
        ("account", "b", crm::MERGED_INTO, 1, Some("a")),
        ("account", "a", crm::MERGED_INTO, 1, Some("b")),
    ]);
    assert_eq!(directory.canonical(Contact, "c3").as_deref(), Some("c1"));
    assert_eq!(directory.canonical(Account, "b").as_deref(), Some("a"));
    assert_eq!(directory.keys(Account, "a").len(), 2);
}

#[test]
fn duplicate_companies_are_found_by_domain_and_by_name() {
    let directory = of(&[
        ("account", "sf1", "domain", 1, Some("acme.io")),
        ("account", "hs7", "website", 1, Some("www.acme.io")),
        ("account", "x1", "name", 1, Some("Blue Sky, Inc.")),
        ("account", "x2", "name", 1, Some("Blue Sky GmbH")),
        ("account", "x3", "name", 1, Some("Other")),
    ]);
    let found: Vec<_> = directory
        .duplicates()
        .into_iter()
        .map(|group| (group.reason, group.key, group.account_ids.len()))
        .collect();
    assert_eq!(
        found,
        [
            (DuplicateReason::Domain, "acme.io".to_owned(), 2),
            (DuplicateReason::Name, "blue sky".to_owned(), 2)
        ]
    );
}
