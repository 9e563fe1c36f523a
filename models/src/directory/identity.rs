//! Which keys are one entity: a forest of keys, derived from current facts alone, so the order of arrival is nothing.
//!
//! Each key (a source's id, a mail address, a domain) is a node. A node's parent is, in this order: what it was merged
//! into; for an address or domain, the best record that claims it; for a record that is not in the CRM, the best
//! claimant of its own address. The root of the tree is the canonical entity. Nothing is ever rewritten: when a fact
//! changes (an unmerge, another address), the parents of the nodes concerned are derived anew.

use std::{hash::BuildHasher as _, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

use super::links::{Links, NONE, Node};

/// How well a node is vouched for; the least is the best claimant of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Standing {
    /// A living CRM record.
    Live,
    /// A CRM record that was merged into another.
    Merged,
    /// Known from events or enrichment only.
    #[default]
    Unrecorded,
    /// A CRM record that was deleted.
    Deleted,
}

/// The facts of a node that identity depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// What it was merged into, or [`NONE`].
    pub(crate) merged_into: Node,
    /// The address or domain it claims, or [`NONE`].
    pub(crate) claim: Node,
    /// How well it is vouched for.
    pub(crate) standing: Standing,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            merged_into: NONE,
            claim: NONE,
            standing: Standing::default(),
        }
    }
}

/// Keys and the entity each belongs to.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    hasher: DefaultHashBuilder,
    index: HashTable<Node>,
    ids: Vec<Arc<str>>,
    places: Vec<Place>,
    parents: Vec<Node>,
    children: Links,
    claimants: Links,
}

impl Identity {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn id(&self, node: Node) -> &Arc<str> {
        &self.ids[node as usize]
    }

    pub(crate) fn place(&self, node: Node) -> Place {
        self.places[node as usize]
    }

    pub(crate) fn find(&self, id: &str) -> Option<Node> {
        let hash = self.hasher.hash_one(id);
        self.index
            .find(hash, |node| *self.ids[*node as usize] == *id)
            .copied()
    }

    /// The node of a key, made when it is new.
    pub(crate) fn node(&mut self, id: &str) -> Node {
        if let Some(node) = self.find(id) {
            return node;
        }
        let node = self.ids.len() as Node;
        self.ids.push(id.into());
        self.places.push(Place::default());
        self.parents.push(node);
        let (hasher, ids) = (&self.hasher, &self.ids);
        self.index.insert_unique(hasher.hash_one(id), node, |held| {
            hasher.hash_one(&*ids[*held as usize])
        });
        node
    }

    /// Takes the next node with its facts, for a checkpoint; its parent is derived by [`Self::derive_all`]. False when the
    /// key is there already.
    pub(crate) fn push(&mut self, id: Arc<str>, place: Place) -> bool {
        let once = self.find(&id).is_none();
        let node = self.ids.len() as Node;
        self.ids.push(id);
        self.places.push(place);
        self.parents.push(node);
        let (hasher, ids) = (&self.hasher, &self.ids);
        self.index
            .insert_unique(hasher.hash_one(&*ids[node as usize]), node, |held| {
                hasher.hash_one(&*ids[*held as usize])
            });
        once
    }

    /// Whether every node that a node names is there.
    pub(crate) fn is_closed(&self) -> bool {
        let within = |node: Node| node == NONE || (node as usize) < self.ids.len();
        self.places
            .iter()
            .all(|place| within(place.merged_into) && within(place.claim))
    }

    /// Derives claimants, parents and children of all nodes from their facts.
    pub(crate) fn derive_all(&mut self) {
        self.claimants = Links::of_all(self.places.iter().map(|place| place.claim));
        self.parents = (0..self.ids.len() as Node)
            .map(|node| self.wanted_parent(node))
            .collect();
        let parents = self.parents.iter().enumerate();
        self.children = Links::of_all(parents.map(
            |(node, parent)| {
                if *parent == node as Node { NONE } else { *parent }
            },
        ));
    }

    /// The canonical node. In a circle of merges it is the one with the least id, whichever was entered first.
    pub(crate) fn root(&self, node: Node) -> Node {
        let (mut slow, mut fast) = (node, node);
        loop {
            for _ in 0..2 {
                let parent = self.parents[fast as usize];
                if parent == fast {
                    return fast;
                }
                fast = parent;
            }
            slow = self.parents[slow as usize];
            if slow == fast {
                return self.least_of_circle(slow);
            }
        }
    }

    fn least_of_circle(&self, start: Node) -> Node {
        let (mut least, mut node) = (start, self.parents[start as usize]);
        while node != start {
            if self.ids[node as usize] < self.ids[least as usize] {
                least = node;
            }
            node = self.parents[node as usize];
        }
        least
    }

    /// All nodes of an entity, root first, the others by id.
    pub(crate) fn members(&self, root: Node) -> Vec<Node> {
        let mut members = vec![root];
        if self.children.of(root).is_empty() {
            return members;
        }
        let mut seen: HashSet<Node> = HashSet::new();
        seen.insert(root);
        let mut next = 0;
        while let Some(node) = members.get(next).copied() {
            next += 1;
            for child in self.children.of(node) {
                if seen.insert(*child) {
                    members.push(*child);
                }
            }
        }
        members[1..].sort_by(|a, b| self.ids[*a as usize].cmp(&self.ids[*b as usize]));
        members
    }

    /// Every claimed address or domain with its claimants.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (Node, &[Node])> {
        self.claimants.iter()
    }

    /// The nodes whose entity may be another, or gain or lose members, once `node` is given `place`; none when that
    /// changes nothing.
    pub(crate) fn concerned(&self, node: Node, place: Place) -> Vec<Node> {
        let before = self.places[node as usize];
        if before == place {
            return Vec::new();
        }
        let mut concerned = vec![node];
        concerned.extend(
            [before.merged_into, place.merged_into]
                .iter()
                .filter(|node| **node != NONE),
        );
        for alias in [node, before.claim, place.claim] {
            if alias != NONE {
                concerned.push(alias);
                concerned.extend(self.claimants.of(alias));
            }
        }
        concerned.sort_unstable();
        concerned.dedup();
        concerned
    }

    /// Sets the facts of a node and derives the parents of the nodes concerned.
    pub(crate) fn update(&mut self, node: Node, place: Place, concerned: &[Node]) {
        let before = std::mem::replace(&mut self.places[node as usize], place);
        self.claimants.shift(before.claim, place.claim, node);
        for concerned in concerned {
            self.derive_parent(*concerned);
        }
    }

    fn derive_parent(&mut self, node: Node) {
        let parent = self.wanted_parent(node);
        let before = self.parents[node as usize];
        if parent == before {
            return;
        }
        if before != node {
            self.children.remove(before, node);
        }
        if parent != node {
            self.children.add(parent, node);
        }
        self.parents[node as usize] = parent;
    }

    fn wanted_parent(&self, node: Node) -> Node {
        let place = self.places[node as usize];
        if place.merged_into != NONE {
            return place.merged_into;
        }
        if !self.claimants.of(node).is_empty() {
            return self.best_of(node);
        }
        if place.standing == Standing::Unrecorded && place.claim != NONE {
            return self.best_of(place.claim);
        }
        node
    }

    /// Whose an address or domain is: its best claimant, the least id among equals. One that is a living CRM record in
    /// its own right stands with its claimants, after those of the same standing.
    fn best_of(&self, alias: Node) -> Node {
        let own = (self.places[alias as usize].standing == Standing::Live).then_some(alias);
        let claimants = self.claimants.of(alias).iter().copied();
        claimants
            .chain(own)
            .min_by_key(|node| {
                let standing = self.places[*node as usize].standing;
                (standing, *node == alias, &self.ids[*node as usize])
            })
            .unwrap_or(alias)
    }
}
