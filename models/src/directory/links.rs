//! Small one-to-many relations between numbered nodes.

use hashbrown::HashMap;

/// Number of a node within its table.
pub(crate) type Node = u32;
/// No node.
pub(crate) const NONE: Node = u32::MAX;

#[derive(Debug, Clone)]
#[expect(
    clippy::box_collection,
    reason = "a second pointer for the rare many keeps the common one small"
)]
enum Many {
    One(Node),
    /// Boxed, so that the usual single link costs 16 bytes.
    More(Box<Vec<Node>>),
}

/// From a node to the nodes that point at it. Most have one, which then needs no allocation of its own.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<Node, Many>);

impl Links {
    /// The nodes linked from `from`, in no order.
    pub(crate) fn of(&self, from: Node) -> &[Node] {
        match self.0.get(&from) {
            None => &[],
            Some(Many::One(to)) => std::slice::from_ref(to),
            Some(Many::More(all)) => all,
        }
    }

    /// Adds a link; a second one of the same pair is the same link.
    pub(crate) fn add(&mut self, from: Node, to: Node) {
        if from != NONE && !self.of(from).contains(&to) {
            self.add_new(from, to);
        }
    }

    /// The links to nodes 0, 1, ... from the origin that each names, which may be [`NONE`].
    pub(crate) fn of_all(origins: impl Iterator<Item = Node>) -> Self {
        let mut links = Self::default();
        for (to, from) in origins.enumerate() {
            if from != NONE {
                links.add_new(from, to as Node);
            }
        }
        links
    }

    /// Adds a link that is known not to be there.
    fn add_new(&mut self, from: Node, to: Node) {
        match self.0.get_mut(&from) {
            None => {
                self.0.insert(from, Many::One(to));
            }
            Some(Many::More(all)) => all.push(to),
            Some(one @ Many::One(_)) => {
                let Many::One(held) = *one else { return };
                *one = Many::More(Box::new(vec![held, to]));
            }
        }
    }

    /// Removes a link.
    pub(crate) fn remove(&mut self, from: Node, to: Node) {
        if from == NONE {
            return;
        }
        let emptied = match self.0.get_mut(&from) {
            None => false,
            Some(Many::One(held)) => *held == to,
            Some(Many::More(all)) => {
                all.retain(|held| *held != to);
                all.is_empty()
            }
        };
        if emptied {
            self.0.remove(&from);
        }
    }

    /// Moves a link from one origin to another.
    pub(crate) fn shift(&mut self, before: Node, after: Node, to: Node) {
        if before != after {
            self.remove(before, to);
            self.add(after, to);
        }
    }

    /// Every origin with its links.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Node, &[Node])> {
        self.0.keys().map(|from| (*from, self.of(*from)))
    }
}
